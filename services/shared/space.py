"""How much room is left on the disks of an installation, and what is refused when it gets scarce.

There is one mark to a disk, the smaller of a size and a part of the disk. Below it nothing new is taken; below a half
no outputs are stored; below a quarter the run that wrote most is ended; what is left then is the database's.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from services.shared.errors import Unavailable
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_STORAGE_FULL

MIB = 1 << 20
RETRY_IN = timedelta(seconds=30)
PUBLISHING = 0.5
RUNNING = 0.25


class SpaceSettings(BaseModel):
    """How much of each disk is kept free."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    free_mib: Annotated[int, Field(ge=0)] = 1024
    """Below this many MiB no packages and executions are taken, and no job starts; the smaller of the two marks counts.
    """
    free_percent: Annotated[float, Field(ge=0, le=50)] = 10.0
    """The same as a part of the disk, in percent."""
    paths: dict[str, Path] = {}
    """More places to watch beside runs and a local object store, such as `{"database": "/var/lib/postgresql"}`."""


@dataclass(frozen=True, kw_only=True)
class Shortage:
    """A disk with too little room."""

    place: str
    """What is kept there: `runs`, `object store`, `database`."""
    free_bytes: int
    mark_bytes: int


class Space:
    """Watches the disks."""

    def __init__(self, places: Mapping[str, Path], settings: SpaceSettings) -> None:
        self._places = {**places, **settings.paths}
        self._settings = settings

    def mark_bytes(self, path: Path) -> int:
        """How much is kept free on the disk of a directory."""
        status = os.statvfs(path)
        part = int(status.f_blocks * status.f_frsize * self._settings.free_percent / 100)
        return min(self._settings.free_mib * MIB, part)

    def shortage(self, *, part: float = 1.0, more_bytes: int = 0, place: str | None = None) -> Shortage | None:
        """The first disk on which less than a part of its mark is free, or would be when that much more is written."""
        for name, path in self._places.items():
            if place in (None, name):
                try:
                    status = os.statvfs(path)
                    mark = int(part * self.mark_bytes(path))
                except OSError:
                    # Whoever needs the place finds out what is wrong with it.
                    continue
                free = status.f_bavail * status.f_frsize
                if free - more_bytes < mark:
                    return Shortage(place=name, free_bytes=free, mark_bytes=mark)
        return None

    def require(self) -> None:
        """Raises STORAGE_FULL while nothing new is taken."""
        shortage = self.shortage()
        if shortage is not None:
            raise storage_full(
                "The disk of this installation ({place}) is nearly full: {free_mib} MiB are free, and below {mark_mib} "
                "MiB nothing new is taken. What is there can be read. Try again later; the operator can make room.",
                place=shortage.place,
                free_mib=shortage.free_bytes // MIB,
                mark_mib=shortage.mark_bytes // MIB,
            )

    def require_for_outputs(self, size_bytes: int) -> None:
        """Raises STORAGE_FULL when that much does not fit into a local object store."""
        shortage = self.shortage(part=PUBLISHING, more_bytes=size_bytes, place="object store")
        if shortage is not None:
            raise storage_full(
                "The outputs take {size_mib} MiB, and the object store of this installation has {free_mib} MiB left, "
                "{mark_mib} of which are kept free. The operator can make room.",
                size_mib=-(-size_bytes // MIB),
                free_mib=shortage.free_bytes // MIB,
                mark_mib=shortage.mark_bytes // MIB,
            )


def storage_full(message: str, **metadata: object) -> Unavailable:
    """The refusal for want of room."""
    return Unavailable(ERROR_REASON_STORAGE_FULL, message, retry_in=RETRY_IN, **metadata)  # type: ignore[arg-type]


def local_path(url: str) -> Path | None:
    """The directory that a `file:` URL names; None for a store elsewhere."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None
