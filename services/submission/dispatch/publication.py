"""Publishes the outputs of a job: files go to the object store, everything else into the row of the job.

What a run leaves behind is hostile: a location counts only when it lies inside of the run's outputs without following a
link. Names are kept bit for bit; what cannot be kept, or would share a name with something else, fails the job.
"""

import asyncio
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from services.records.artifacts import ArtifactStore, output_key
from services.shared.errors import Unavailable
from services.shared.keys import name_problem, object_key, shown
from services.shared.storable import readable
from services.submission.backends import Failure, FailureReason
from services.submission.media_types import media_type_of
from services.submission.packages.description import media_types
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_STORAGE_FULL

MOST_FILES = 10_000


class PublicationRefused(Exception):
    """An output cannot be published; the job fails with this."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True, kw_only=True)
class _Upload:
    key: str
    source: Path
    entry: dict[str, Any]
    """What the results say of the file. Its size is filled in once the file is stored."""


class Publisher:
    """Publishes outputs. May be repeated: the same outputs make the same objects."""

    def __init__(self, artifacts: ArtifactStore, *, concurrency: int = 4) -> None:
        self._artifacts = artifacts
        self._concurrency = concurrency

    async def publish(self, folder: str, outputs: dict[str, Any], root: Path | None) -> dict[str, Any]:
        """Answers what `jobs.results` keeps of each output, all of which is stored, or else nothing.

        Raises PublicationRefused, also when there is no room: the files of the job itself may be what takes it, so
        waiting would not help. Raises STORE_UNAVAILABLE.
        """
        try:
            return await self._publish(folder, outputs, root)
        except Unavailable as error:
            if error.reason != ERROR_REASON_STORAGE_FULL:
                raise
            raise PublicationRefused(Failure(reason=FailureReason.STORAGE_FULL, message=error.message)) from error

    async def _publish(self, folder: str, outputs: dict[str, Any], root: Path | None) -> dict[str, Any]:
        plan = _Plan(folder=folder, root=await asyncio.to_thread(root.resolve) if root is not None else None)
        results = {
            output: await asyncio.to_thread(_entry, _Place(plan=plan, output=output), value)
            for output, value in outputs.items()
        }
        self._artifacts.require_room(await asyncio.to_thread(_size, plan.uploads))
        uploads = iter(plan.uploads)
        workers = [asyncio.create_task(self._store(uploads)) for _ in range(self._concurrency)]
        try:
            await asyncio.gather(*workers)
        except Exception:
            # The store completes what it has begun, also for a caller who is gone, so that comes first.
            plan.uploads.clear()
            await asyncio.gather(*workers, return_exceptions=True)
            await self._artifacts.remove(f"{folder}outputs/")
            raise
        finally:
            for worker in workers:
                worker.cancel()
        return results

    async def _store(self, uploads: Iterator[_Upload]) -> None:
        for upload in uploads:
            await self._artifacts.put_file(upload.key, upload.source)
            # Whoever fetches the file is told this size before its bytes, so it is that of the object.
            upload.entry["size"] = (await self._artifacts.head(upload.key)).size


def _size(uploads: list[_Upload]) -> int:
    return sum(upload.source.stat().st_size for upload in uploads)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is to be stored for a job, and where."""

    folder: str
    root: Path | None
    uploads: list[_Upload] = field(default_factory=list)
    taken: dict[tuple[str, str], Path] = field(default_factory=dict)
    """What is at a path of an output: a file, or an empty directory."""
    opened: dict[tuple[str, str], Path] = field(default_factory=dict)
    """Something that lies below a path of an output."""

    def name(self, source: Path) -> str:
        """A file as the job knows it, for messages."""
        return shown(os.path.relpath(source, self.root) if self.root is not None else source.name)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where in the outputs of a job a value stands."""

    plan: _Plan
    output: str
    path: str = ""

    def below(self, segment: str) -> "_Place":
        return replace(self, path=f"{self.path}/{segment}" if self.path else segment)

    def member(self, name: str) -> "_Place":
        """The place of a member of a record, whose name may be no file name."""
        segment = name.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")
        return self.below(segment.replace(".", "%2E") if segment in (".", "..") else segment or "%")

    @cached_property
    def key(self) -> str:
        return object_key(self.plan.folder, self.output, self.path)

    def store(self, source: Path, entry: dict[str, Any]) -> None:
        """Notes a file for upload. Raises PublicationRefused when something else has its path."""
        self.take(source)
        if not os.access(source, os.R_OK):
            raise self.refused(f"holds {self.plan.name(source)}, which cannot be read")
        self.plan.uploads.append(_Upload(key=self.key, source=source, entry=entry))

    def take(self, source: Path) -> None:
        """Notes that the path is that of a file, or of an empty directory."""
        plan, at = self.plan, (self.output, self.path)
        self._require_same(source, plan.taken.setdefault(at, source))
        self._require_same(source, plan.opened.get(at, source))
        parent = self.path.rpartition("/")[0]
        # What is below a directory that was seen before is below all around it, too.
        while parent and (self.output, parent) not in plan.opened:
            self._require_same(source, plan.taken.get((self.output, parent), source))
            plan.opened[self.output, parent] = source
            parent = parent.rpartition("/")[0]
        if len(plan.taken) > MOST_FILES:
            raise self.refused(f"holds more than {MOST_FILES} files")

    def _require_same(self, source: Path, other: Path) -> None:
        if source != other:
            first, second = self.plan.name(other), self.plan.name(source)
            raise self.refused(
                f"holds both {first} and {second}, and there is room for one of them at {shown(self.path)}"
            )

    def unreadable(self, error: OSError) -> None:
        """Refuses a directory that cannot be read."""
        name = self.plan.name(Path(os.fsdecode(error.filename)))
        raise self.refused(f"holds {name}, which cannot be read") from error

    def refused(self, problem: str) -> PublicationRefused:
        """The refusal of this output; the problem goes on after its name."""
        message = f"Output {shown(self.output)} {problem}."
        return PublicationRefused(Failure(reason=FailureReason.OUTPUT_REFUSED, message=message))


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
            return {"record": {name: _entry(place.member(name), item) for name, item in members.items()}}
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
    if not stat.S_ISREG(source.stat().st_mode):
        raise place.refused(f"holds {place.plan.name(source)}, which is not a plain file")
    name = _basename(place, file, source)
    at = place.below(name)
    described: dict[str, Any] = {
        "key": at.key,
        "path": at.path,
        "name": name,
        "size": 0,
        "media_type": media_type_of(name),
    }
    at.store(source, described)
    if isinstance(checksum := file.get("checksum"), str):
        described["checksum"] = checksum[:100]
    if isinstance(form := file.get("format"), str) and form:
        described["format"] = readable(form)[:1000]
        # What the package says is known better than what a name tells.
        described["media_type"] = next(iter(media_types(form, None)), described["media_type"])
    secondary = file.get("secondaryFiles")
    if isinstance(secondary, list) and secondary:
        entries = (_beside(place, beside) for beside in secondary if isinstance(beside, dict))
        described["secondary"] = [entry for entry in entries if entry is not None]
    return {"file": described}


def _beside(place: _Place, secondary: dict[str, Any]) -> dict[str, Any] | None:
    """A secondary file or directory, which lies beside its primary file."""
    if secondary.get("class") == "Directory":
        return _directory_entry(place, secondary, beside=True)
    return _entry(place, secondary)


def _directory_entry(place: _Place, directory: dict[str, Any], *, beside: bool = False) -> dict[str, Any]:
    source = _source(place, directory)
    name = _basename(place, directory, source)
    # The one directory of an output is where the output is; others lie there under their names.
    at = place.below(name) if place.path or beside else place
    files: list[dict[str, Any]] = []
    folders: list[str] = []
    for folder, inner_folders, names in os.walk(source, onerror=at.unreadable):
        inner_folders.sort()
        place_of_folder = at
        for part in Path(folder).relative_to(source).parts:
            place_of_folder = place_of_folder.below(part)
        if not names and not inner_folders:
            place_of_folder.take(Path(folder))
            if place_of_folder.path != at.path:
                folders.append(place_of_folder.path)
        for inner in sorted((*inner_folders, *names)):
            _require_name(at, inner, Path(folder, inner))
        for inner in sorted(names):
            path = Path(folder, inner)
            if not stat.S_ISREG(path.lstat().st_mode):
                raise at.refused(f"holds {at.plan.name(path)}, which is not a plain file")
            where = place_of_folder.below(inner)
            described: dict[str, Any] = {"path": where.path, "size": 0, "media_type": media_type_of(inner)}
            if where.key != output_key(at.plan.folder, at.output, where.path):
                described["key"] = where.key
            where.store(path, described)
            files.append(described)
    return {"directory": {"name": name, "path": at.path, "prefix": at.key + "/", "files": files, "empty": folders}}


def _basename(place: _Place, entry: dict[str, Any], source: Path) -> str:
    name = str(entry.get("basename") or source.name)
    _require_name(place, name, source)
    return name


def _require_name(place: _Place, name: str, source: Path) -> None:
    if (problem := name_problem(name)) is not None:
        where = place.plan.name(source)
        told = f"the name {shown(name)} of {where}" if name != source.name else f"the name of {where}"
        raise place.refused(f"cannot be kept: {told} {problem}")


def _source(place: _Place, entry: dict[str, Any]) -> Path:
    location = entry.get("location") or entry.get("path")
    if place.plan.root is None or not isinstance(location, str):
        raise place.refused("has no content")
    path = Path(
        unquote(urlsplit(location).path, errors="surrogateescape") if location.startswith("file:") else location
    )
    root = place.plan.root
    # The path is resolved as a whole: a link anywhere on the way that leads out is found here.
    resolved = path.resolve()
    if not resolved.is_relative_to(root) or not resolved.exists():
        raise place.refused("points outside of the outputs of the job")
    return resolved
