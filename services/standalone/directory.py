"""The one directory that holds everything: what stands where in it, and who may use it now."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.standalone.refusals import CannotStart

# The address of a socket has 107 bytes; the longest name below the run directory is `postgres/.s.PGSQL.5432`.
_LONGEST_RUN_DIRECTORY = 75


def default_directory() -> Path:
    """Gives the place the XDG base directory specification has for state of a user's own."""
    home = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(home) / "workflow-runner"


class DataDirectory:
    """All state of one installation on one machine, and where in it what stands."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.postgres = self.path / "postgres"
        self.identity = self.path / "identity"
        self.logs = self.path / "logs"
        self.artifacts = self.path / "artifacts"
        self.runs = self.path / "runs"
        self.harvest = self.path / "harvest"
        """Where packages are put for an ingestion to take in."""
        self.reserve = self.path / "reserve"
        """Room that is held for the database."""
        self.policy_data = self.path / "policy.json"
        self.envoy_config = self.path / "envoy.yaml"

    def create(self) -> None:
        """Makes the directory, closed to others. Raises CannotStart where that is not possible."""
        try:
            if not self.path.exists():
                self.path.mkdir(mode=0o700, parents=True)
            for directory in (self.identity, self.logs, self.artifacts, self.runs, self.harvest):
                directory.mkdir(mode=0o700, exist_ok=True)
            for log in self.logs.glob("*.log*"):
                log.chmod(0o600)
        except OSError as error:
            raise CannotStart(f"The data directory {self.path} cannot be made: {error.strerror}.") from error
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise CannotStart(f"The data directory {self.path} cannot be written by this user.")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps the directory for this process alone; the lock ends with the process, however that ends."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                owner = file.read().strip() or "unknown"
                raise CannotStart(
                    f"Workflow Runner is already up on {self.path} (process {owner}): "
                    "stop it, or choose another --data-dir."
                ) from error
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    @contextmanager
    def run_directory(self) -> Iterator[Path]:
        """Lends an empty directory for sockets: `run` in the data directory, or a shorter name that `run` links to."""
        place = self.path / "run"
        if place.is_symlink():
            left = Path(os.readlink(place))
            if left.is_dir() and left.stat().st_uid == os.geteuid() and left.name.startswith("workflow-runner-"):
                shutil.rmtree(left)
            place.unlink()
        elif place.exists():
            shutil.rmtree(place)
        if len(os.fsencode(place)) <= _LONGEST_RUN_DIRECTORY:
            place.mkdir(mode=0o700)
            directory = place
        else:
            # TMPDIR may be as long as the data directory's name.
            short = os.environ.get("XDG_RUNTIME_DIR") or "/tmp"  # noqa: S108 - mkdtemp makes a name nobody has
            directory = Path(tempfile.mkdtemp(prefix="workflow-runner-", dir=short))
            place.symlink_to(directory)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            if place.is_symlink():
                place.unlink()


def write_atomically(path: Path, content: str | bytes, mode: int = 0o600, *, owner: int = -1, group: int = -1) -> None:
    """Puts a file in its place whole, so that a reader meets the old one or this one."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
        if (owner, group) != (-1, -1):
            os.fchown(file.fileno(), owner, group)
        os.fchmod(file.fileno(), mode)
    os.replace(name, path)
