"""What a job left, as bytes of a media type: values as they are, files from the object store, folders as listings."""

import base64
import binascii
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import orjson

from services.ogc.negotiation import JSON, quality
from services.ogc.preconditions import etag_of, is_unchanged
from services.ogc.requests import RestRequest
from services.ogc.results.documents import reference, represent
from services.records.artifacts import CHUNK_BYTES, ArtifactStore, NoSuchArtifact, output_key
from services.records.jobs import Job
from services.shared.errors import NotFound
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_NO_SUCH_FILE

TEXT = "text/plain"
LONGEST_LINKS = 8 * 1024
"""How long a header with links may be: all headers of an answer share one frame."""
MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;\s*[\w.-]+=([\w.+/-]+|\"[\w .+/-]*\"))*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Content:
    """An answer: what it says about itself, and its bytes."""

    media_type: str
    pieces: AsyncIterator[bytes]
    size: int | None = None
    """How many bytes there are, where that is known before they come."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    async def whole(self) -> bytes:
        """All bytes at once."""
        return b"".join([piece async for piece in self.pieces])


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of an output."""

    key: str
    name: str
    size: int
    media_type: str

    @property
    def etag(self) -> str:
        """An output never changes once its job has ended, so its key and size tell its content."""
        return etag_of(f"{self.key}:{self.size}".encode())


def unless_known(content: Content, headers: Mapping[str, str]) -> Content:
    """The content, or 304 for a caller who says that he has it. Raises PRECONDITION_FAILED."""
    etag = content.headers.get("etag")
    if etag is None or not is_unchanged(headers, etag):
        return content
    return Content(media_type=content.media_type, pieces=_cut(b""), size=0, status=304, headers={"etag": etag})


def output_url(job: Job, output: str, rest: RestRequest | None) -> str:
    """Where an output can be read; without REST a resource name."""
    tail = f"{job.name}/results/{quote(output, safe='')}"
    return rest.url(tail) if rest else tail


def files_of(job: Job, output: str, entry: Any) -> dict[str, File]:
    """The files of an output by their paths in it."""
    match entry:
        case {"file": file}:
            path = file.get("path") or file["name"]
            first = File(key=file["key"], name=file["name"], size=file["size"], media_type=file["media_type"])
            # The file itself comes first; what belongs to it lies beside it.
            return {path: first} | files_of(job, output, {"list": file.get("secondary") or []})
        case {"directory": {"files": files}}:
            return {
                file["path"]: File(
                    key=file.get("key") or output_key(job.folder, output, file["path"]),
                    name=file["path"].rpartition("/")[2],
                    size=file["size"],
                    media_type=file["media_type"],
                )
                for file in files
            }
        case {"list": entries}:
            return {path: file for item in entries for path, file in files_of(job, output, item).items()}
        case {"record": members}:
            return {path: file for item in members.values() for path, file in files_of(job, output, item).items()}
    return {}


def folders_of(entry: Any) -> dict[str, str]:
    """The names of the directories of an output by their paths in it, and of the empty ones among those below them."""
    match entry:
        case {"directory": directory}:
            path = directory.get("path") or ""
            empty = {folder: folder.rpartition("/")[2] for folder in directory.get("empty") or ()}
            return empty | {path: directory.get("name") or path.rpartition("/")[2]}
        case {"file": {"secondary": entries}}:
            return folders_of({"list": entries})
        case {"list": entries}:
            return {path: name for item in entries for path, name in folders_of(item).items()}
        case {"record": members}:
            return {path: name for item in members.values() for path, name in folders_of(item).items()}
    return {}


def media_type_of(entry: Any) -> str:
    """The media type that `content_of` gives an entry of `jobs.results`, where nothing else is preferred."""
    match entry:
        case {"file": {"media_type": media_type}}:
            return _fit(media_type)
        case {"value": {"value": str(), "mediaType": str(media_type)}} if MEDIA_TYPE.fullmatch(media_type):
            return media_type
        case {"value": str()}:
            return TEXT
    return JSON


def content_of(
    job: Job, output: str, entry: Any, rest: RestRequest | None, artifacts: ArtifactStore, *, accept: str = ""
) -> Content:
    """One output as it is."""
    match entry:
        case {"file": _}:
            content = file_content(next(iter(files_of(job, output, entry).values())), artifacts)
            return replace(
                content, headers={**content.headers, **secondary_links(entry, output_url(job, output, rest))}
            )
        case {"directory": _} if (listed := listing(job, output, entry, "", rest)) is not None:
            return listed
        case {"value": value}:
            return _value(value, accept)
    return json_content(represent(entry, output_url(job, output, rest)))


def file_content(file: File, artifacts: ArtifactStore) -> Content:
    """A file as a download: whatever a job wrote must not run in somebody's browser under our name."""
    return Content(
        media_type=_fit(file.media_type),
        pieces=file_pieces(file, artifacts, 0, file.size),
        size=file.size,
        headers={
            "accept-ranges": "bytes",
            "etag": file.etag,
            "content-disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
            "x-content-type-options": "nosniff",
        },
    )


def secondary_links(entry: Any, url: str) -> dict[str, str]:
    """The header that tells where the files are that belong to a file; `url` is where its output is."""
    links = ", ".join(
        f'<{link["href"]}>; rel="related"; type="{link["type"].replace(chr(34), "")}"'
        for link in (reference(beside, url) for beside in entry["file"].get("secondary") or ())
    )
    return {"link": links} if links and len(links) <= LONGEST_LINKS else {}


async def file_pieces(file: File, artifacts: ArtifactStore, start: int, end: int) -> AsyncIterator[bytes]:
    """The bytes of a file from `start` to before `end`, all of them. Raises NO_SUCH_FILE, STORE_UNAVAILABLE."""
    position = start
    try:
        async for piece in artifacts.read(file.key, start, end):
            position += len(piece)
            yield piece
    except NoSuchArtifact as error:
        raise NotFound(
            ERROR_REASON_NO_SUCH_FILE, "The file {path} is not there any more.", path=repr(file.name)
        ) from error
    if position < end:
        # Whoever waits for the rest would wait for ever.
        raise NotFound(
            ERROR_REASON_NO_SUCH_FILE,
            "Of the {size} bytes of the file {path} only {rest} are there any more.",
            size=file.size,
            path=repr(file.name),
            rest=position,
        )


def listing(job: Job, output: str, entry: Any, path: str, rest: RestRequest | None) -> Content | None:
    """The files of an output below a path, with where each is; None when there is nothing."""
    url = output_url(job, output, rest)
    folders = folders_of(entry)
    below = f"{path}/" if path else ""
    files = {name: file for name, file in files_of(job, output, entry).items() if name.startswith(below)}
    filled = {name[:end] for name in files for end, letter in enumerate(name) if letter == "/"}
    empty = [name for name in folders if name.startswith(below) and name not in filled and name != path]
    if path and not files and not empty and path not in folders:
        return None
    name = folders.get(path) or path.rpartition("/")[2]
    document: dict[str, Any] = {"name": name} if name else {}
    document["files"] = [
        {"href": f"{url}/{quote(path)}", "type": file.media_type, "path": path, "size": file.size}
        for path, file in files.items()
    ]
    if empty:
        document["emptyDirectories"] = empty
    document["links"] = [{"href": url.rpartition("/")[0], "rel": "up", "type": JSON, "title": "Results of the job"}]
    return json_content(document)


def json_content(document: Any) -> Content:
    """A JSON document."""
    return bytes_content(JSON, orjson.dumps(document))


def bytes_content(media_type: str, data: bytes, headers: Mapping[str, str] | None = None) -> Content:
    """Bytes that are here."""
    tag = {"etag": etag_of(media_type.encode(), data)}
    return Content(media_type=media_type, pieces=_cut(data), size=len(data), headers={**(headers or {}), **tag})


def _value(value: Any, accept: str) -> Content:
    """A value as it is: text as text unless JSON is preferred, a qualified value in its own media type."""
    match value:
        case {"value": str(text), "mediaType": str(media_type)} if MEDIA_TYPE.fullmatch(media_type):
            data = text.encode()
            if value.get("encoding") == "base64":
                try:
                    data = base64.b64decode(text, validate=True)
                except binascii.Error:
                    return json_content(value)
            # The media type is whatever somebody put into a request, so a browser must not show it either.
            headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
            return bytes_content(media_type, data, headers)
        case str(text) if not _prefers_json(accept):
            return bytes_content(f"{TEXT}; charset=utf-8", text.encode(), {"x-content-type-options": "nosniff"})
    return json_content(value)


def _prefers_json(accept: str) -> bool:
    as_json, as_text = quality(accept, JSON), quality(accept, TEXT)
    # Who names JSON and takes text only as one of everything wants JSON.
    return as_json > as_text or (JSON in accept.lower() and "text/" not in accept.lower() and as_json == as_text)


def _fit(media_type: str) -> str:
    return media_type if MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream"


async def _cut(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]
