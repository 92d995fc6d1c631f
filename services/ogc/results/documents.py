"""Results as documents: what a job left, in the shape of OGC API - Processes 1.0, `results.yaml`."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from services.ogc.negotiation import JSON
from services.ogc.requests import RestRequest
from services.records.jobs import Job
from services.shared.errors import FailedPrecondition, NotFound
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_JOB_FAILED,
    ERROR_REASON_RESULT_NOT_AVAILABLE,
    ERROR_REASON_RESULT_NOT_READY,
)


def selected(job: Job) -> dict[str, Any]:
    """The results that the execute request asked for; all of them when it named none (requirement
    process-execute-default-outputs)."""
    results = job.results or {}
    wanted: Iterable[str] = job.request.get("outputs") or results
    return {output: results[output] for output in wanted if output in results}


def document(job: Job, rest: RestRequest | None) -> dict[str, Any]:
    """The results document: values inline, files by reference, directories as values that refer to their files. Without
    REST the references are resource names.

    An optional output that was not made is left out, since `results.yaml` knows no null.
    """
    base = rest.url(job.name) if rest else str(job.name)
    return {
        output: qualified(represent(entry, f"{base}/results/{quote(output, safe='')}"), entry)
        for output, entry in selected(job).items()
        if entry is not None and entry != {"value": None}
    }


def represent(entry: Mapping[str, Any] | None, url: str) -> Any:
    """One entry of `jobs.results` as the results document shows it; `url` is where the output can be read."""
    match entry:
        case None:
            return None
        case {"value": value}:
            return value
        case {"file": file}:
            return reference(entry, url) | beside(file, url)
        case {"directory": directory}:
            return {"value": _listed(directory, url), "mediaType": JSON}
        case {"list": entries}:
            return [represent(item, url) for item in entries]
        case {"record": members}:
            return {name: represent(item, url) for name, item in members.items()}
    raise ValueError(f"no such kind of result: {sorted(entry)}")


def reference(entry: Mapping[str, Any], url: str) -> dict[str, Any]:
    """Where a file or a directory is, and its media type; `url` is where its output can be read."""
    match entry:
        case {"file": file}:
            return {"href": _url(url, file.get("path") or file.get("name")), "type": file["media_type"]}
        case {"directory": directory}:
            return {"href": _url(url, directory.get("path")), "type": JSON}
    raise ValueError(f"no file and no directory: {sorted(entry)}")


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


USER_CAUSES = frozenset(
    {
        "STEP_FAILED",
        "MEMORY_EXCEEDED",
        "TIME_LIMIT_EXCEEDED",
        "OUTPUT_LIMIT_EXCEEDED",
        "OUTPUT_MISSING",
        "OUTPUT_REFUSED",
        "INPUT_UNAVAILABLE",
        "UNSUPPORTED_FEATURE",
        "INVALID_PACKAGE",
        "EXPRESSION_FAILED",
    }
)
"""Failures whose cause lies in the package or its inputs; the others are the installation's."""


def job_failed(job: Job) -> FailedPrecondition:
    """The refusal for results of a job that failed: an error by cause (requirement job-results-failed)."""
    failure = job.failure or {}
    problem = failure.get("message", "the reason is not known.")
    if log_tail := failure.get("log_tail"):
        problem += f" The last line of its log: {log_tail[-1][:500]}"
    return FailedPrecondition(
        ERROR_REASON_JOB_FAILED,
        "Job {job} failed: {problem}",
        http_status=422 if failure.get("reason") in USER_CAUSES else 500,
        job=job.job_id,
        failure=failure.get("reason", ""),
        problem=problem,
        **{key: failure[key] for key in ("step", "exit_code") if key in failure},
    )


def qualified(shown: Any, entry: Mapping[str, Any]) -> Any:
    """An object as a value of the document: only a bounding box may stand there without being qualified
    (`inputValueNoObject.yaml`)."""
    if not isinstance(shown, dict) or "file" in entry or "directory" in entry:
        return shown
    is_qualified = "value" in shown and set(shown) <= {"value", "mediaType", "encoding", "schema"}
    # What a record calls its members says nothing of itself.
    if "record" not in entry and ("bbox" in shown or is_qualified):
        return shown
    return {"value": shown, "mediaType": JSON}


def beside(file: Mapping[str, Any], url: str) -> dict[str, Any]:
    """What the results document says of a file beside where it is: its format, and the files that belong to it."""
    told: dict[str, Any] = {"format": file["format"]} if file.get("format") else {}
    if secondary := file.get("secondary"):
        told["secondaryFiles"] = [represent(entry, url) for entry in secondary]
    return told


def _listed(directory: Mapping[str, Any], url: str) -> dict[str, Any]:
    """A directory as its name and what lies in it. Paths are those in the directory."""
    path = directory.get("path") or ""
    cut = len(path) + 1 if path else 0
    listed: dict[str, Any] = {"name": directory["name"]} if directory.get("name") else {}
    listed["files"] = [
        {"href": _url(url, file["path"]), "type": file["media_type"], "path": file["path"][cut:]}
        for file in directory["files"]
    ]
    if empty := directory.get("empty"):
        listed["emptyDirectories"] = [folder[cut:] for folder in empty]
    return listed


def _url(url: str, path: str | None) -> str:
    return f"{url}/{quote(path)}" if path else url
