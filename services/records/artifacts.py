"""The object store: packages by digest, and the logs and outputs of jobs.

Submission writes, status reads. A key never comes from outside without having passed the grammar of names.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore, from_url
from pydantic import BaseModel, ConfigDict, SecretStr

from services.shared.errors import Unavailable
from services.shared.keys import key_segment
from services.shared.names import JobName
from services.shared.space import Space, storage_full
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_STORE_UNAVAILABLE

CHUNK_BYTES = 1024 * 1024


class ArtifactSettings(BaseModel):
    """Which object store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """`file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`."""
    options: dict[str, SecretStr] = {}
    """Options of the store by obstore's names, such as `endpoint`, `region`, `access_key_id`."""


@dataclass(frozen=True)
class Artifact:
    """An object in the store."""

    key: str
    size: int
    etag: str | None = None


class NoSuchArtifact(Exception):
    """The store has no object of that key."""


class ArtifactStore:
    """Puts and gets objects. Raises STORE_UNAVAILABLE when the store is away, STORAGE_FULL when it has no room."""

    def __init__(self, store: ObjectStore, space: Space | None = None) -> None:
        self._store = store
        self._space = space

    @classmethod
    def open(cls, settings: ArtifactSettings, space: Space | None = None) -> "ArtifactStore":
        """Opens the store that the settings name; a local folder is made. Who writes has `space` watched."""
        options: dict[str, Any] = {key: value.get_secret_value() for key, value in settings.options.items()}
        if settings.url.startswith("file://"):
            options |= {"mkdir": True, "automatic_cleanup": True}
        return cls(from_url(settings.url, **options), space)

    def require_room(self, size_bytes: int) -> None:
        """Raises STORAGE_FULL when that much more does not fit into the store, as far as that can be known."""
        if self._space is not None:
            self._space.require_for_outputs(size_bytes)

    async def put(self, key: str, content: bytes) -> None:
        """Stores an object; one that is there is replaced."""
        try:
            await obstore.put_async(self._store, key, content)
        except BaseError as error:
            raise _unavailable(error) from error

    async def put_file(self, key: str, path: Path) -> None:
        """Stores the content of a file, in parts where it is large."""
        try:
            await obstore.put_async(self._store, key, path)
        except BaseError as error:
            raise _unavailable(error) from error

    async def get(self, key: str) -> bytes:
        """Answers an object. Raises NoSuchArtifact."""
        try:
            return bytes(await (await obstore.get_async(self._store, key)).bytes_async())
        except (NotFoundError, FileNotFoundError) as error:
            raise NoSuchArtifact(key) from error
        except BaseError as error:
            raise _unavailable(error) from error

    async def head(self, key: str) -> Artifact:
        """Answers what is known of an object. Raises NoSuchArtifact."""
        try:
            found = await obstore.head_async(self._store, key)
        except (NotFoundError, FileNotFoundError) as error:
            raise NoSuchArtifact(key) from error
        except BaseError as error:
            raise _unavailable(error) from error
        return Artifact(found["path"], found["size"], found["e_tag"])

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Streams the bytes of an object from `start` to before `end`, or to where it ends. Raises NoSuchArtifact."""
        while end is None or start < end:
            following = start + CHUNK_BYTES if end is None else min(start + CHUNK_BYTES, end)
            try:
                piece = bytes(await obstore.get_range_async(self._store, key, start=start, end=following))
            except (NotFoundError, FileNotFoundError) as error:
                raise NoSuchArtifact(key) from error
            except BaseError as error:
                # No store has an error of its own for a range that begins where the object has ended.
                if start >= (await self.head(key)).size:
                    return
                raise _unavailable(error) from error
            yield piece
            if len(piece) < following - start:
                return
            start = following

    async def delete(self, keys: Sequence[str]) -> None:
        """Removes objects; those that are not there are fine."""
        try:
            try:
                await obstore.delete_async(self._store, keys)
            except (NotFoundError, FileNotFoundError):
                # A local store stops at the first that is not there.
                for key in keys:
                    with contextlib.suppress(NotFoundError, FileNotFoundError):
                        await obstore.delete_async(self._store, key)
        except BaseError as error:
            raise _unavailable(error) from error

    async def list(self, prefix: str) -> list[Artifact]:
        """Lists the objects whose keys begin with a prefix that ends in a slash, by key."""
        found: list[Artifact] = []
        try:
            async for batch in obstore.list(self._store, prefix=prefix):
                found += [Artifact(entry["path"], entry["size"], entry["e_tag"]) for entry in batch]
        except BaseError as error:
            raise _unavailable(error) from error
        return sorted(found, key=lambda artifact: artifact.key)

    async def remove(self, prefix: str) -> None:
        """Removes the objects whose keys begin with a prefix that ends in a slash. May be repeated."""
        await self.delete([artifact.key for artifact in await self.list(prefix)])


def job_folder(name: JobName) -> str:
    """Where the store keeps what belongs to a job, with a slash at the end."""
    return f"jobs/{name.workspace}/{name.job_id}/"


def log_prefix(folder: str, step: str) -> str:
    """Where a job keeps the log of a step: in parts, each named by the place of its first byte."""
    return f"{folder}logs/{key_segment(step)}/"


def log_part(folder: str, step: str, offset: int) -> str:
    """The key of a part of a log. Sorted by key, the parts are in order."""
    return f"{log_prefix(folder, step)}{offset:016d}"


def joined_log_part(folder: str, step: str, start: int, end: int) -> str:
    """The key of a part of a log into which smaller ones were joined, from its first byte to before `end`."""
    return f"{log_part(folder, step, start)}-{end:016d}"


def log_span(part: Artifact) -> tuple[int, int]:
    """Where a part of a log begins and ends."""
    start = int(part.key.rpartition("/")[2].partition("-")[0])
    return start, start + part.size


def output_key(folder: str, output: str, path: str = "") -> str:
    """Where a job keeps a file of an output whose record names no key, since the path says it."""
    return f"{folder}outputs/{output}" + (f"/{path}" if path else "")


def _unavailable(error: Exception) -> Unavailable:
    # obstore has no error of its own for this; the texts are those of its local store.
    if any(mark in str(error) for mark in ("StorageFull", "QuotaExceeded", "No space left on device")):
        return storage_full("The object store of this installation has no room left. The operator can make room.")
    return Unavailable(
        ERROR_REASON_STORE_UNAVAILABLE,
        "The object store cannot be reached. Try again.",
        retry_in=timedelta(seconds=5),
    )
