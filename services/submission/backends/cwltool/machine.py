"""Whether this machine can start a sandbox, found out once, before the first job is accepted."""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .cgroups import MIB
from .directory import give_away, make_directory, remove_tree
from .directory import identity as identity_of
from .network import Network, find_helper
from .sandbox import Identity, Sandbox, SandboxUnavailableError

LEFT_SECONDS = 600
NAMESPACES = (
    "Allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, or an AppArmor "
    "profile for bwrap); in a container, add the capability SYS_ADMIN and a seccomp profile that permits unshare."
)
ADVICE: dict[Identity, str] = {
    "self": NAMESPACES,
    "nobody": f"{NAMESPACES} Run as root, jobs work as the user nobody, who must be able to read this installation.",
}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What all runs on this machine have in common."""

    runs_dir: Path
    directory: str
    """The id of `runs_dir`."""
    bubblewrap: str
    identity: Identity
    readable: tuple[str, ...]
    """Directories a job may read beside the system's programs and this Python."""
    reserve_bytes: int = 0
    """When less than this is free on the disk of the runs, the one that has written most is ended."""
    network: Network | None = None
    """How runs reach the network, where this machine can give them one of their own."""
    network_lacks: str = ""
    """Why it cannot, as the end of a sentence."""

    @classmethod
    def prepare(
        cls, runs_dir: Path, bubblewrap: str, readable: Sequence[Path], *, private_networks: Sequence[str] = ()
    ) -> "Machine":
        """Makes the directory of all runs, cleans up after a crash, and finds out as whom the work can be done."""
        runs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        runs_dir = runs_dir.resolve()
        for left in runs_dir.glob(".gone-*"):
            # What is younger may be in the hands of another process of the service.
            if left.lstat().st_mtime < time.time() - LEFT_SECONDS:
                remove_tree(left)
        # Root inside a user namespace that stands for root outside could still write to /proc/sys.
        identity: Identity = "nobody" if os.getuid() == 0 else "self"
        helper, lacks = find_helper()
        machine = cls(
            network=Network(helper=helper, private=tuple(private_networks)) if helper else None,
            network_lacks=lacks,
            runs_dir=runs_dir,
            directory=identity_of(runs_dir),
            bubblewrap=bubblewrap,
            identity=identity,
            readable=tuple(str(path.resolve()) for path in readable),
        )
        error = machine.probe()
        if error is not None:
            raise SandboxUnavailableError(
                f"bubblewrap ({bubblewrap}) cannot start a sandbox: {error}. {ADVICE[identity]}"
            )
        return machine

    def sandbox(self, box: Path, *, memory_bytes: int, network: bool) -> Sandbox:
        """The sandbox of a run; it has a network only where this machine can give one."""
        return Sandbox(
            bubblewrap=self.bubblewrap,
            identity=self.identity,
            box=str(box),
            memory_bytes=memory_bytes,
            network=self.network if network else None,
            readable=self.readable,
        )

    def hand_over(self, box: Path) -> None:
        """Gives the box to whoever the work is done as, before anybody else has had a say in it."""
        if self.identity == "nobody":
            give_away(box)

    def probe(self) -> str | None:
        """Tries a sandbox with this Python in it, and returns why it does not work."""
        probe = Path(tempfile.mkdtemp(prefix=".gone-probe-", dir=self.runs_dir))
        try:
            make_directory(probe / "box")
            self.hand_over(probe / "box")
            return _try(self.sandbox(probe / "box", memory_bytes=64 * MIB, network=False))
        finally:
            remove_tree(probe)


def _try(sandbox: Sandbox) -> str | None:
    code = f"from {__package__}.confinement import drop_privileges; drop_privileges(); import quickjs; open('ok', 'w')"
    read, write = os.pipe()
    try:
        started = sandbox.start([sys.executable, "-I", "-c", code], stderr=write)
    except OSError as error:
        os.close(write)
        with open(read, "rb") as pipe:
            return _last_line(pipe.read(4000)) or str(error)
    os.close(write)
    with open(read, "rb") as pipe:
        said = _last_line(pipe.read(4000))
    status = started.process.wait()
    started.kill()
    if status == 0 and os.path.exists(f"{sandbox.box}/ok"):
        return None
    return said or f"it ended with exit code {status}"


def _last_line(said: bytes) -> str:
    return said.decode("utf-8", "replace").strip().rpartition("\n")[2]
