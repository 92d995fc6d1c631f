"""Publishes the outputs of a job: files go to the object store, everything else into the row of the job.

What a run leaves behind is hostile: a location counts only when it lies inside of the run's outputs without following a
link, and a name only when it fits the grammar.
"""

import asyncio
import mimetypes
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from services.shared.artifacts import ArtifactStore, output_key
from services.submission.backends import Failure, FailureReason

MEDIA_TYPES = {
    ".tif": "image/tiff; application=geotiff",
    ".tiff": "image/tiff; application=geotiff",
    ".geojson": "application/geo+json",
    ".cwl": "application/cwl",
    ".jsonl": "application/x-ndjson",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".nc": "application/x-netcdf",
    ".parquet": "application/vnd.apache.parquet",
    ".pgm": "image/x-portable-graymap",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
UNSAFE = re.compile(r"[^A-Za-z0-9._+@=, -]")
MOST_FILES = 10_000


class PublicationRefused(Exception):
    """An output cannot be published; the job fails with this."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True)
class _Upload:
    key: str
    path: Path


class Publisher:
    """Publishes outputs. May be repeated: the same outputs make the same objects."""

    def __init__(self, artifacts: ArtifactStore, *, concurrency: int = 4) -> None:
        self._artifacts = artifacts
        self._slots = asyncio.Semaphore(concurrency)

    async def publish(self, folder: str, outputs: dict[str, Any], root: Path | None) -> dict[str, Any]:
        """Answers what `jobs.results` keeps of each output. Raises PublicationRefused, STORE_UNAVAILABLE."""
        uploads: list[_Upload] = []
        results = {
            output: await asyncio.to_thread(_entry, _Place(folder, output, root, uploads), value)
            for output, value in outputs.items()
        }
        async with asyncio.TaskGroup() as group:
            for upload in uploads:
                group.create_task(self._put(upload))
        return results

    async def _put(self, upload: _Upload) -> None:
        async with self._slots:
            await self._artifacts.put_file(upload.key, upload.path)


@dataclass(frozen=True)
class _Place:
    """Where in the outputs of a job a value stands."""

    folder: str
    output: str
    root: Path | None
    uploads: list[_Upload]
    path: str = ""

    def below(self, segment: str) -> "_Place":
        path = f"{self.path}/{segment}" if self.path else segment
        return _Place(self.folder, self.output, self.root, self.uploads, path)

    @property
    def key(self) -> str:
        return output_key(self.folder, self.output, self.path)


def media_type_of(name: str) -> str:
    """The media type that a file name tells."""
    suffix = os.path.splitext(name)[1].lower()
    return MEDIA_TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _entry(place: _Place, value: Any) -> dict[str, Any] | None:
    match value:
        case None:
            return None
        case {"class": "File"}:
            return _file_entry(place, value)
        case {"class": "Directory"}:
            return _directory_entry(place, value)
        case list(items) if _holds_files(items):
            return {"list": [_entry(place.below(str(position)), item) for position, item in enumerate(items)]}
        case dict(members) if _holds_files(list(members.values())):
            return {"record": {name: _entry(place.below(_safe(name)), item) for name, item in members.items()}}
    return {"value": value}


def _holds_files(values: list[Any]) -> bool:
    return any(
        (
            isinstance(value, dict)
            and (value.get("class") in ("File", "Directory") or _holds_files(list(value.values())))
        )
        or (isinstance(value, list) and _holds_files(value))
        for value in values
    )


def _file_entry(place: _Place, file: dict[str, Any]) -> dict[str, Any]:
    source = _source(place, file)
    name = _safe(str(file.get("basename") or source.name))
    at = place.below(name)
    place.uploads.append(_Upload(at.key, source))
    entry: dict[str, Any] = {
        "file": {
            "key": at.key,
            "path": at.path,
            "name": name,
            "size": source.stat().st_size,
            "media_type": media_type_of(name),
        }
    }
    if isinstance(checksum := file.get("checksum"), str):
        entry["file"]["checksum"] = checksum[:100]
    secondary = file.get("secondaryFiles")
    if isinstance(secondary, list) and secondary:
        return {"list": [entry, *(_entry(place, beside) for beside in secondary if isinstance(beside, dict))]}
    return entry


def _directory_entry(place: _Place, directory: dict[str, Any]) -> dict[str, Any]:
    source = _source(place, directory)
    files: list[dict[str, Any]] = []
    for folder, folders, names in os.walk(source, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if not stat.S_ISREG(path.lstat().st_mode):
                raise _refused(place, f"holds {name}, which is not a plain file")
            inner = "/".join(_safe(part) for part in path.relative_to(source).parts)
            at = place.below(inner)
            place.uploads.append(_Upload(at.key, path))
            files.append({"path": at.path, "size": path.stat().st_size, "media_type": media_type_of(name)})
            if len(place.uploads) > MOST_FILES:
                raise _refused(place, f"holds more than {MOST_FILES} files")
    return {"directory": {"prefix": place.key + "/", "files": files}}


def _source(place: _Place, entry: dict[str, Any]) -> Path:
    location = entry.get("location") or entry.get("path")
    if place.root is None or not isinstance(location, str):
        raise _refused(place, "has no content")
    path = Path(unquote(urlsplit(location).path) if location.startswith("file:") else location)
    root = place.root.resolve()
    # The path is resolved as a whole: a link anywhere on the way that leads out is found here.
    resolved = path.resolve()
    if not resolved.is_relative_to(root) or not resolved.exists():
        raise _refused(place, "points outside of the outputs of the job")
    return resolved


def _safe(name: str) -> str:
    """A name that can stand in a URL and in every object store."""
    cleaned = UNSAFE.sub("_", name)[:200].lstrip(".") or "_"
    return cleaned.replace("..", "__")


def _refused(place: _Place, problem: str) -> PublicationRefused:
    return PublicationRefused(Failure(reason=FailureReason.OUTPUT_REFUSED, message=f"Output {place.output} {problem}."))
