"""What a run has written, counted as the disk and the object store hold it.

A file in the box counts with the blocks it takes, once however many names it has. A log counts with its length if that
is more, since the store keeps every byte of it, holes included; so does an output, once for each time that it is
stored. A file that has no name any more counts as long as a process of the run has it open or mapped.
"""

import contextlib
import errno
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from .excess import Excess
from .journal import LOGS

LARGEST_LOG = 64 << 20
"""What is kept of the log of one step."""
LARGEST_LOGS = 1 << 30
"""What is kept of the logs of one job, if it may write so much."""
BLOCK = 512
DEEPEST = 200
"""How deep directories may be nested below the box; paths of this depth can still be opened by their name."""
MOST_DESCRIPTORS = 100_000
"""With more than this open at a time nobody can tell in time what the files hold."""
TICK_SECONDS = 0.1
REST_SECONDS = 0.5
LONGEST_REST_SECONDS = 5.0
WRITTEN = "written"
"""The file in which a run tells the others how much it has written."""
STALE_SECONDS = 20.0
RETURN_SECONDS = 10.0
HIDDEN_SECONDS = 2.0
"""How long a directory may be closed to those who measure: tools make some that they open a moment later."""


@dataclass(kw_only=True)
class Written:
    """What a walk over the box found."""

    bytes: int = 0
    files: int = 0
    excess: Excess | None = None
    hidden: bool = False


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a run may write."""

    bytes: int
    files: int


def walk(box: Path, allowed: Allowance, seen: set[int]) -> Written:
    """Counts what has a name in the box, and notes in `seen` which files that were; stops at the first excess."""
    found = Written()
    waiting = [(os.fspath(box), 0)]
    # The inputs can only be read, and do not count.
    inputs, logs = os.fspath(box / "inputs"), os.fspath(box / LOGS)
    while waiting:
        path, depth = waiting.pop()
        if depth > DEEPEST:
            found.excess = Excess.depth
            return found
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    _count(entry, found, seen, is_log=path == logs)
                    if entry.path != inputs and entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, depth + 1))
                    if found.bytes > allowed.bytes or found.files > allowed.files:
                        found.excess = Excess.bytes if found.bytes > allowed.bytes else Excess.files
                        return found
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                found.excess = Excess.depth
                return found
            found.hidden = True
    return found


def count_entries(directory: str, most: int) -> int:
    """How many files and directories are below a directory; stops counting at the first beyond `most`."""
    found, waiting = 0, [directory]
    while waiting:
        # What is closed or gone meanwhile is not counted.
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                found += 1
                if found > most:
                    return found
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return found


def _count(entry: "os.DirEntry[str]", found: Written, seen: set[int], *, is_log: bool) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    found.files += 1
    blocks = 0 if status.st_ino in seen else status.st_blocks * BLOCK
    seen.add(status.st_ino)
    found.bytes += max(blocks, min(status.st_size, LARGEST_LOG)) if is_log else blocks


def add_nameless(found: Written, box: Path, namespace: int, seen: set[int]) -> None:
    """Adds the files that processes of a pid namespace have open or mapped and that the walk did not see."""
    device, below = box.stat().st_dev, f"{box}/"
    descriptors = 0
    for pid in _processes(namespace):
        for name in _list(f"/proc/{pid}/fd"):
            descriptors += 1
            if descriptors > MOST_DESCRIPTORS:
                found.excess = found.excess or Excess.descriptors
                return
            link = f"/proc/{pid}/fd/{name}"
            with contextlib.suppress(OSError):
                status = os.stat(link)
                if (
                    status.st_dev == device
                    and status.st_ino not in seen
                    and stat.S_ISREG(status.st_mode)
                    and (not status.st_nlink or os.readlink(link).startswith(below))
                ):
                    seen.add(status.st_ino)
                    found.files += 1
                    found.bytes += status.st_blocks * BLOCK
        for inode, size in _mapped(pid, below):
            if inode not in seen:
                seen.add(inode)
                found.files += 1
                found.bytes += size


def _processes(namespace: int) -> Iterator[str]:
    for pid in _list("/proc"):
        if pid.isdecimal():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{pid}/ns/pid").st_ino == namespace:
                    yield pid


def _mapped(pid: str, below: str) -> Iterator[tuple[int, int]]:
    """The files without a name that a process maps, with their blocks, or what is mapped where those cannot be had."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        span, _, offset, _, inode, *path = line.split(None, 5)
        if path and path[0].startswith(below) and path[0].endswith(" (deleted)"):
            try:
                yield int(inode), os.stat(f"/proc/{pid}/map_files/{span}").st_blocks * BLOCK
            except OSError:
                start, _, end = span.partition("-")
                yield int(inode), int(offset, 16) + int(end, 16) - int(start, 16)


def _list(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


class Meter:
    """Measures one run, as often as it must to catch what writes fast, and seldom enough to cost little."""

    def __init__(self, run: Path, allowed: Allowance, *, first: int | None, reserve_bytes: int = 0) -> None:
        """`first` is a process of the run's pid namespace; `reserve_bytes` of the disk are no run's to fill."""
        self._run = run
        self._box = run / "box"
        self._allowed = allowed
        self._reserve_bytes = reserve_bytes
        self._namespace = _namespace_of(first)
        self.written = Written()
        self._walked = time.monotonic()
        self._took = 0.0
        self._free = free_room(self._box)
        self._hidden_since: float | None = None

    @property
    def is_scarce(self) -> bool:
        """Whether less is free on the disk than is kept from runs."""
        return free_room(self._box)[0] < self._reserve_bytes

    def look(self) -> Excess | None:
        """Measures if it is time, and says what there is too much of."""
        resting = time.monotonic() - self._walked
        free, files = free_room(self._box)
        scarce = free < self._reserve_bytes
        if resting < min(max(REST_SECONDS, 20 * self._took), LONGEST_REST_SECONDS):
            # The disk is shared, so what is gone of it is a reason to look, and no proof.
            grown = (
                self._free[0] - free >= self._allowed.bytes - self.written.bytes
                or self._free[1] - files >= self._allowed.files - self.written.files
            )
            if not (scarce or grown) or resting < max(TICK_SECONDS, 2 * self._took):
                return None
        excess = self.measure()
        return Excess.disk if excess is None and scarce and self._is_largest() else excess

    def measure(self, *, ended: bool = False) -> Excess | None:
        """Measures, and says what there is too much of; of a run that has ended no process holds anything."""
        began = time.monotonic()
        self._free = free_room(self._box)
        seen: set[int] = set()
        found = walk(self._box, self._allowed, seen)
        with contextlib.suppress(OSError):
            # The run can make this grow, too.
            found.bytes += (self._run / "engine.log").stat().st_blocks * BLOCK
        if self._namespace is not None and not ended and found.excess is None:
            with contextlib.suppress(OSError):
                add_nameless(found, self._box, self._namespace, seen)
        if found.excess is None and found.bytes > self._allowed.bytes:
            found.excess = Excess.bytes
        if found.excess is None and found.files > self._allowed.files:
            found.excess = Excess.files
        self._walked = time.monotonic()
        self._took = self._walked - began
        self._hidden_since = (self._hidden_since or began) if found.hidden else None
        if self._hidden_since is not None and self._walked > self._hidden_since + HIDDEN_SECONDS:
            found.excess = found.excess or Excess.hidden
        self.written = found
        with contextlib.suppress(OSError):
            self._tell()
        return found.excess

    def _tell(self) -> None:
        """Tells the other runs. Written in place, it takes no room that a full disk does not have."""
        descriptor = os.open(self._run / WRITTEN, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, b"%020d" % self.written.bytes, 0)
        finally:
            os.close(descriptor)

    def _is_largest(self) -> bool:
        """Whether no other run has written more; none is while the room of one that was ended has yet to come back."""
        own = (self.written.bytes, self._run.name)
        now = time.time()
        for told in self._run.parent.glob(f"*/{WRITTEN}"):
            verdict = told.with_name("verdict.json")
            with contextlib.suppress(OSError, ValueError):
                if verdict.exists():
                    ended = json.loads(verdict.read_bytes())
                    if ended.get("excess") and verdict.stat().st_mtime > now - RETURN_SECONDS:
                        return False
                elif told.stat().st_mtime > now - STALE_SECONDS and (int(told.read_bytes()), told.parent.name) > own:
                    return False
        return True


def _namespace_of(pid: int | None) -> int | None:
    with contextlib.suppress(OSError):
        return None if pid is None else os.stat(f"/proc/{pid}/ns/pid").st_ino
    return None


def free_room(path: Path) -> tuple[int, int]:
    """How many bytes and files the file system of a directory still takes."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize, status.f_favail


def stored_beyond(outputs: object, seen: set[int] | None = None) -> int:
    """How many bytes more than the blocks of its files the store will take for an output object.

    A copy costs the length of the file; the first copy of each file is paid for, as far as its blocks go.
    """
    seen = set() if seen is None else seen
    if isinstance(outputs, list):
        return sum(stored_beyond(one, seen) for one in outputs)
    if not isinstance(outputs, dict):
        return 0
    kind: Literal["File", "Directory"] | Any = outputs.get("class")
    if kind not in ("File", "Directory"):
        return sum(stored_beyond(one, seen) for one in outputs.values())
    path = Path(unquote(urlsplit(str(outputs.get("location", ""))).path))
    files = [path] if kind == "File" else (Path(at, name) for at, _, names in os.walk(path) for name in names)
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            status = file.lstat()
            total += status.st_size
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total -= min(status.st_size, status.st_blocks * BLOCK)
    return total + stored_beyond(outputs.get("secondaryFiles"), seen)
