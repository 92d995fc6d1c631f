"""Results of jobs: all of them as they were asked for, and single outputs with their files.

What a caller names is looked up in what the job recorded; no part of a request becomes part of a key of the object
store.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from services.ogc.eodatahub import failed_results
from services.ogc.negotiation import JSON, not_acceptable, quality
from services.ogc.preconditions import same_range
from services.ogc.ranges import parse_range
from services.ogc.requests import RestRequest
from services.ogc.results.contents import (
    Content,
    File,
    content_of,
    file_content,
    file_pieces,
    files_of,
    listing,
    output_url,
    secondary_links,
    unless_known,
)
from services.ogc.results.delivery import deliver
from services.ogc.results.documents import require_results
from services.ogc.results.stac import result_collection
from services.records.artifacts import ArtifactStore
from services.records.jobs import Job
from services.shared.errors import NotFound
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_NO_SUCH_FILE,
    ERROR_REASON_NO_SUCH_OUTPUT,
)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a caller says about the representation that it wants, in the words of HTTP."""

    accept: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class ResultReader:
    """Reads the results of jobs."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    async def whole(self, job: Job, rest: RestRequest | None, conditions: Conditions) -> Content:
        """The results as the execute request asked for them.

        Raises RESULT_NOT_READY, RESULT_NOT_AVAILABLE, JOB_FAILED, NOT_ACCEPTABLE.
        """
        if rest and rest.alias and job.state == "failed":
            return failed_results(job, rest)
        require_results(job)
        if rest and rest.alias and (collection := await result_collection(job, rest, self._artifacts)) is not None:
            return unless_known(collection, conditions.headers)
        content = await deliver(job, rest, self._artifacts, accept=conditions.accept)
        if content.status != 204 and not quality(conditions.accept, content.media_type):
            raise not_acceptable(conditions.accept, content.media_type, JSON)
        return unless_known(content, conditions.headers) if content.status == 200 else content

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
        entry: Any = results[output]
        files = files_of(job, output, entry)
        path = path.removesuffix("/")
        if not path and "file" in (entry or {}):
            whole = self._file(next(iter(files.values())), conditions)
            links = secondary_links(entry, output_url(job, output, rest))
            return replace(whole, headers={**whole.headers, **links})
        if not path:
            content = content_of(job, output, entry, rest, self._artifacts, accept=conditions.accept)
            return unless_known(content, conditions.headers)
        if (file := _find(files, path)) is not None:
            return self._file(file, conditions)
        listed = listing(job, output, entry, path, rest)
        if listed is None:
            raise NotFound(
                ERROR_REASON_NO_SUCH_FILE,
                "Output {output} of job {job} has no file {path}.",
                job=job.job_id,
                output=output,
                path=repr(path[:200]),
            )
        return unless_known(listed, conditions.headers)

    def _file(self, file: File, conditions: Conditions) -> Content:
        content = unless_known(file_content(file, self._artifacts), conditions.headers)
        if content.status == 304 or not same_range(conditions.headers.get("if-range"), file.etag):
            return content
        part = parse_range(conditions.headers.get("range"), file.size)
        if part is None:
            return content
        return replace(
            content,
            status=206,
            pieces=file_pieces(file, self._artifacts, part.start, part.end),
            size=part.end - part.start,
            headers={**content.headers, "content-range": part.content_range},
        )


def _find(files: Mapping[str, File], path: str) -> File | None:
    if (file := files.get(path)) is not None:
        return file
    # Who calls by gRPC may have copied the path out of a URL. A slash that came encoded is part of no name.
    return None if "%2f" in path.lower() else files.get(unquote(path))
