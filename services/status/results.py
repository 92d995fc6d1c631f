"""Results of jobs: the document, and single outputs with their files.

What a caller names is looked up in what the job recorded; no part of a request becomes part of a key of the object
store.
"""

import base64
import binascii
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote

import orjson

from services.shared.artifacts import CHUNK_BYTES, ArtifactStore, NoSuchArtifact, output_key
from services.shared.errors import NotFound
from services.shared.jobs import Job
from services.shared.rest import RestRequest, media_types
from services.shared.results import document, job_failed, represent, selected
from services.status.ranges import ByteRange, parse_range
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_NO_SUCH_FILE,
    ERROR_REASON_NO_SUCH_OUTPUT,
    ERROR_REASON_RESULT_NOT_AVAILABLE,
    ERROR_REASON_RESULT_NOT_READY,
)

JSON = "application/json"
MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;\s*[\w.-]+=([\w.+/-]+|\"[\w .+/-]*\"))*", re.ASCII)
LARGEST_INLINE = 4 * 1024 * 1024
"""How large a file may be to be the answer to a call that answers with one message."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """An answer: what it says about itself, and its bytes."""

    media_type: str
    pieces: AsyncIterator[bytes]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of an output."""

    key: str
    name: str
    size: int
    media_type: str


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a caller says about the representation that it wants, in the words of HTTP."""

    accept: str = ""
    range: str | None = None
    if_range: str | None = None


class ResultReader:
    """Reads the results of jobs."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    def whole(self, job: Job, rest: RestRequest | None, conditions: Conditions) -> Content:
        """The results as the execute request asked for them; the results document when it did not say.

        Raises RESULT_NOT_READY, RESULT_NOT_AVAILABLE, JOB_FAILED.
        """
        require_results(job)
        outputs = selected(job)
        if job.request.get("response") == "raw" and len(outputs) == 1:
            return self._only(job, *next(iter(outputs.items())), rest, conditions)
        return _json(document(job, rest))

    def one(self, job: Job, output: str, path: str, rest: RestRequest | None, conditions: Conditions) -> Content:
        """One output, or one file of it; a folder of an output is listed.

        Raises as `whole` does, and NO_SUCH_OUTPUT, NO_SUCH_FILE, RANGE_NOT_SATISFIABLE.
        """
        results = require_results(job)
        if output not in results:
            raise NotFound(
                ERROR_REASON_NO_SUCH_OUTPUT,
                "Job {job} has no output {output}. It has: {available}.",
                job=job.job_id,
                output=repr(output[:100]),
                available=", ".join(results) or "none",
            )
        entry = results[output]
        files = _files(job, output, entry)
        path = path.removesuffix("/")
        if path:
            if (file := _find(files, path)) is not None:
                return self._file(file, conditions)
            below = {name: file for name, file in files.items() if name.startswith(f"{path}/")}
            if not below:
                raise NotFound(
                    ERROR_REASON_NO_SUCH_FILE,
                    "Output {output} of job {job} has no file {path}.",
                    job=job.job_id,
                    output=output,
                    path=repr(path[:200]),
                )
            return _listing(job, output, below, rest)
        match entry:
            case {"file": _}:
                return self._file(next(iter(files.values())), conditions)
            case {"directory": _}:
                return _listing(job, output, files, rest)
            case {"value": value}:
                return _value(value, conditions)
        return _json(represent(entry, _url(job, output, rest)))

    def _only(self, job: Job, output: str, entry: Any, rest: RestRequest | None, conditions: Conditions) -> Content:
        files = _files(job, output, entry)
        if "file" in (entry or {}) and (size := next(iter(files.values())).size) > LARGEST_INLINE:
            # One message cannot hold it, so the caller is sent to where it is streamed.
            url = _url(job, output, rest)
            return _json({"href": url, "size": size}, status=303, headers={"location": url})
        return self.one(job, output, "", rest, Conditions(accept=conditions.accept))

    def _file(self, file: File, conditions: Conditions) -> Content:
        # An output never changes once its job has ended, so its key and size tell its content.
        etag = f'"{sha256(f"{file.key}:{file.size}".encode()).hexdigest()[:32]}"'
        part: ByteRange | None = None
        if conditions.if_range is None or conditions.if_range == etag:
            part = parse_range(conditions.range, file.size)
        headers = {
            "accept-ranges": "bytes",
            "etag": etag,
            # Whatever a job wrote must not run in somebody's browser under our name.
            "content-disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
            "x-content-type-options": "nosniff",
        }
        if part is not None:
            headers["content-range"] = part.content_range
        return Content(
            media_type=file.media_type if MEDIA_TYPE.fullmatch(file.media_type) else "application/octet-stream",
            pieces=self._pieces(file, part),
            status=206 if part else 200,
            headers=headers,
        )

    async def _pieces(self, file: File, part: ByteRange | None) -> AsyncIterator[bytes]:
        try:
            if part is None:
                async for piece in self._artifacts.read(file.key):
                    yield piece
            else:
                async for piece in self._artifacts.read(file.key, part.start, part.end):
                    yield piece
        except NoSuchArtifact as error:
            raise NotFound(
                ERROR_REASON_NO_SUCH_FILE, "The file {path} is not there any more.", path=file.name
            ) from error


def require_results(job: Job) -> dict[str, Any]:
    """The results of a job that has some. Raises RESULT_NOT_READY, RESULT_NOT_AVAILABLE, JOB_FAILED."""
    match job.state:
        case "successful":
            return job.results or {}
        case "failed":
            raise job_failed(job)
        case "dismissed":
            raise NotFound(
                ERROR_REASON_RESULT_NOT_AVAILABLE, "Job {job} was dismissed; it has no results.", job=job.job_id
            )
    raise NotFound(
        ERROR_REASON_RESULT_NOT_READY,
        "Job {job} is {status}; it has no results yet.",
        job=job.job_id,
        status=job.state,
    )


def _files(job: Job, output: str, entry: Any) -> dict[str, File]:
    """The files of an output by their paths in it."""
    match entry:
        case {"file": file}:
            path = file.get("path") or file["name"]
            return {path: File(key=file["key"], name=file["name"], size=file["size"], media_type=file["media_type"])}
        case {"directory": {"files": files}}:
            return {
                file["path"]: File(
                    key=output_key(job.folder, output, file["path"]),
                    name=file["path"].rpartition("/")[2],
                    size=file["size"],
                    media_type=file["media_type"],
                )
                for file in files
            }
        case {"list": entries}:
            return {path: file for item in entries for path, file in _files(job, output, item).items()}
        case {"record": members}:
            return {path: file for item in members.values() for path, file in _files(job, output, item).items()}
    return {}


def _find(files: Mapping[str, File], path: str) -> File | None:
    if (file := files.get(path)) is not None:
        return file
    # The transcoder leaves reserved characters of a path encoded. A slash that came encoded is part of no name.
    return None if "%2f" in path.lower() else files.get(unquote(path))


def _listing(job: Job, output: str, files: Mapping[str, File], rest: RestRequest | None) -> Content:
    url = _url(job, output, rest)
    results = url.rpartition("/")[0]
    return _json(
        {
            "files": [
                {"href": f"{url}/{quote(path)}", "type": file.media_type, "path": path, "size": file.size}
                for path, file in files.items()
            ],
            "links": [{"href": results, "rel": "up", "type": JSON, "title": "Results of the job"}],
        }
    )


def _value(value: Any, conditions: Conditions) -> Content:
    """A value as it is: text as text unless JSON is preferred, a qualified value in its own media type."""
    match value:
        case {"value": str(text), "mediaType": str(media_type)} if MEDIA_TYPE.fullmatch(media_type):
            data = text.encode()
            if value.get("encoding") == "base64":
                try:
                    data = base64.b64decode(text, validate=True)
                except binascii.Error:
                    return _json(value)
            # The media type is whatever somebody put into a request, so a browser must not show it either.
            headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
            return Content(media_type=media_type, pieces=_cut(data), headers=headers)
        case str(text) if not _prefers_json(conditions.accept):
            return Content(
                media_type="text/plain; charset=utf-8",
                pieces=_cut(text.encode()),
                headers={"x-content-type-options": "nosniff"},
            )
    return _json(value)


def _prefers_json(accept: str) -> bool:
    for media_type in media_types(accept):
        if media_type in (JSON, "text/plain", "text/*", "*/*"):
            return media_type == JSON
    return False


def _json(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Content:
    return Content(media_type=JSON, pieces=_cut(orjson.dumps(content)), status=status, headers=headers or {})


async def _cut(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


def _url(job: Job, output: str, rest: RestRequest | None) -> str:
    tail = f"{job.name}/results/{quote(output)}"
    return rest.url(tail) if rest else tail
