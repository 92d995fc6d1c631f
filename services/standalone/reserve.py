"""A file that keeps room on the disk for the database, and gives it up when the disk is full."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

MIB = 1 << 20
LARGEST_BYTES = 256 * MIB
PART_OF_DISK = 0.02
LOOK_SECONDS = 0.25


class Reserve:
    """Holds the room while there is enough, and lets go of it before the database finds none.

    What else fills the disk, jobs and their outputs, is ended or refused well before; what is written faster than that
    is noticed meets this file, and not the files of the database.
    """

    def __init__(self, file: Path, *, tell: Callable[[str], None]) -> None:
        status = os.statvfs(file.parent)
        self._file = file
        self._size = min(LARGEST_BYTES, int(PART_OF_DISK * status.f_blocks * status.f_frsize))
        self._tell = tell

    async def run(self) -> None:
        """Looks four times a second, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Lets go when less is free than a quarter of what is held, and holds again when four times as much is."""
        status = os.statvfs(self._file.parent)
        free = status.f_bavail * status.f_frsize
        held = self._file.exists()
        if held and free < self._size // 4:
            self._file.unlink(missing_ok=True)
            self._tell(
                f"WARNING: the disk of {self._file.parent} is full. The room that is held for the database, "
                f"{self._size // MIB} MiB, was given up; make room."
            )
        elif not held and free > 4 * self._size:
            self._hold()

    def _hold(self) -> None:
        unfinished = self._file.with_suffix(".unfinished")
        try:
            with unfinished.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
            unfinished.replace(self._file)
        except OSError:
            # A disk that cannot set room aside, or that has none after all.
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
