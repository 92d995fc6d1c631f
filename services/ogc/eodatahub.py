"""What clients of the EO DataHub find under its paths and nowhere else (`docs/eodatahub.md`): pages that are counted,
the reason why a process is listed, and an answer for a job that failed. `stac.py` has their results."""

import orjson

from services.access.policy import ListFilter
from services.ogc.problems import TITLES, problem
from services.ogc.requests import RestRequest
from services.ogc.results.contents import Content, json_content
from services.ogc.results.documents import job_failed
from services.records.jobs import Job
from services.records.processes import Process
from services.shared.errors import InvalidArgument
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_QUERY_PARAMETER
from workflow_runner.v1.link_pb2 import Link

COUNTED = ("limit", "skip", "pageToken", "page_token")
FURTHEST = 100_000
"""As far as `skip` may go in the contract."""


def refuse_skip() -> InvalidArgument:
    """The refusal to count pages anywhere else: how long that takes grows with the number of the page."""
    return InvalidArgument(
        ERROR_REASON_INVALID_QUERY_PARAMETER,
        "The parameter {parameter} is for the paths of the EO DataHub. Here pages follow each other by `next`.",
        parameter="skip",
    )


def counted_links(rest: RestRequest, url: str, *, size: int, skip: int, more: bool) -> list[Link]:
    """Links a page of the list at `url` to itself and to its neighbors, which keep all that the client asked for."""
    kept = [part for part in rest.query().split("&") if part and part.partition("=")[0] not in COUNTED]

    def page(rel: str, first: int) -> Link:
        query = "&".join([*kept, f"limit={size}", f"skip={first}"])
        return rest.link(rel, f"{url}?{query}", title=f"The {rel} page")

    links = [rest.link("self", url, title="This list")]
    if skip > 0:
        links.append(page("prev", max(0, skip - size)))
    if more and skip + size <= FURTHEST:
        links.append(page("next", skip + size))
    return links


def access_reasoning(process: Process, visible: ListFilter) -> str:
    """Why a caller sees a process."""
    if process.backend != "builtin" and (visible.everything or process.workspace in visible.workspaces):
        return "Workspace owns this workflow"
    match process.visibility:
        case "user_service":
            return "Workflow is a user-service"
        case "shared":
            return "Workflow is shared with the workspace"
    return "Workflow is public"


def description_for_forms(document: bytes) -> bytes:
    """A process description whose inputs fit the forms of the QGIS plugin: it puts a default into a text field, and
    looks for lists in `extended-schema`."""
    description = orjson.loads(document)
    for about in description.get("inputs", {}).values():
        schema = about.get("schema", {})
        match schema.get("default"):
            case bool() | int() | float() as value:
                schema["default"] = orjson.dumps(value).decode()
        if schema.get("type") == "array":
            about["extended-schema"] = schema
    return orjson.dumps(description)


def failed_results(job: Job, rest: RestRequest) -> Content:
    """The results of a job that failed: the problem document, but as an answer that clients do not take for a fault of
    the service."""
    error = job_failed(job)
    status = error.http_status or 500
    document = problem(error, status=status, title=TITLES[status], rest=rest, trace_id=None)
    return json_content(orjson.loads(document))
