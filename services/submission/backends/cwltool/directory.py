"""The directory of a run, seen from the service: who has its lock, how it is made, and how nothing of it stays."""

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from services.submission.backends import Run

from .cgroups import Cgroups
from .sandbox import NOBODY_ID
from .supervisor import claim, is_alive, read_record, start_detached

HANDLE = re.compile(r"(?P<job>[0-9A-Za-z][0-9A-Za-z-]{0,100})-[0-9]{1,9}")
POLL_SECONDS = 0.02
END_SECONDS = 10.0


def try_lock(run: Path) -> int | None:
    """Takes the lock of a run, or returns None when somebody has it or there is no such run."""
    path = run / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it before may have removed the run meanwhile.
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def is_locked(run: Path) -> bool:
    """Whether somebody prepares or supervises the run."""
    lock = try_lock(run)
    if lock is None:
        return run.exists()
    os.close(lock)
    return False


def is_started(run: Path) -> bool:
    """Whether a supervisor has taken over the run, now or once."""
    return (run / "supervisor.json").exists()


def is_staged(run: Path) -> bool:
    """Whether everything is there that a supervisor needs: the plan is what is written last."""
    return read_record(run / "plan.json") is not None


def runs(runs_dir: Path) -> list[Run]:
    """What is in the directory of all runs. One that somebody prepares or supervises is not old."""
    found = []
    now = time.time()
    with os.scandir(runs_dir) as entries:
        for entry in entries:
            named = HANDLE.fullmatch(entry.name)
            if named is None:
                continue
            with contextlib.suppress(FileNotFoundError, ValueError):
                age = timedelta(seconds=max(0.0, now - entry.stat(follow_symlinks=False).st_mtime))
                found.append(Run(handle=entry.name, job_id=str(UUID(named["job"])), age=age))
    return found


def identity(runs_dir: Path) -> str:
    """The id of the directory of all runs, made when there is none yet. It stays with the directory, so that its runs
    are found again, and nobody else is taken for their owner."""
    path = runs_dir / ".directory.json"
    while True:
        record = read_record(path)
        if record is not None and isinstance(record.get("id"), str):
            return str(record["id"])
        if record is not None or path.exists():
            # A crash of the machine left it half written, before anything was launched here.
            path.unlink(missing_ok=True)
        claim(path, {"id": str(uuid4())})


def prepare(run: Path) -> None:
    """Makes an empty box, whatever an earlier attempt to launch left behind."""
    box = run / "box"
    if box.exists():
        remove_tree(box)
    for path in (box, box / "inputs", box / "work"):
        make_directory(path)


def make_directory(path: Path) -> None:
    """Makes a directory that everybody who gets so far can read, whatever this process keeps to itself otherwise."""
    path.mkdir()
    path.chmod(0o755)


def give_away(directory: Path) -> None:
    """Gives a directory, of which nobody else has had a say yet, to the user the work runs as."""
    for path, _, files in os.walk(directory):
        os.chown(path, NOBODY_ID, NOBODY_ID, follow_symlinks=False)
        for name in files:
            os.chown(os.path.join(path, name), NOBODY_ID, NOBODY_ID, follow_symlinks=False)


def remove_tree(path: Path) -> None:
    """Removes a directory of any depth and with any rights; a system tool does it without recursion."""
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        subprocess.run([*command, "--", os.fspath(path)], stdin=subprocess.DEVNULL, capture_output=True, check=False)


def remove(run: Path) -> None:
    """Removes all of a run that no longer runs; the caller has its lock."""
    record = read_record(run / "supervisor.json") or {}
    first = read_record(run / "sandbox.json")
    groups = Cgroups([Path(group) for group in record.get("groups", [])])
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        groups.kill()
        if groups.remove() and not (first and is_alive(first)):
            break
        # The kernel takes a moment to bury what was killed.
        time.sleep(POLL_SECONDS)
    gone = run.with_name(f".gone-{run.name}-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        run.rename(gone)
        remove_tree(gone)


def end_supervisor(run: Path, number: int) -> None:
    """Has the supervisor of a run end on request, by a signal, if it is the process it says it is."""
    record = read_record(run / "supervisor.json")
    if record is None:
        return
    (run / "dismissed").touch()
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(record["pid"])
        try:
            if is_alive(record):
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def start_and_wait(run: Path, lock: int) -> "subprocess.Popen[bytes]":
    """Starts a supervisor as a program of its own and waits until it has taken over; raises OSError when it fails."""
    read, write = os.pipe()
    try:
        process = start_detached(run, lock, write)
    finally:
        os.close(write)
    with open(read, "rb", buffering=0) as pipe:
        if pipe.read(1) != b"1":
            raise OSError("the supervisor of the run did not start")
    return process
