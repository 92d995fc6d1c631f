"""The RPCs of PageService: what StatusService answers, as a page."""

from typing import Any
from urllib.parse import quote, urlsplit

import orjson
from google.api.httpbody_pb2 import HttpBody

from services.ogc.requests import respond
from services.ogc.results.documents import require_results
from services.records.jobs import Job
from services.serving.server import Call, Context, current_call
from services.shared.names import JobName, ProcessName, WorkspaceName
from services.status.jobs import STATES
from services.status.logs import LogReader
from services.status.service import StatusService, Stores
from services.web import outputs, words
from services.web.forms import fields, note_of
from services.web.reference import operations
from services.web.rendering import headers, render
from services.web.views import JobView, ProcessView
from services.web.words import in_words
from workflow_runner.v1.link_pb2 import Link
from workflow_runner.v1.page_service_pb2_grpc import PageServiceServicer
from workflow_runner.v1.status_service_pb2 import (
    GetApiRequest,
    GetConformanceRequest,
    GetJobRequest,
    GetLandingPageRequest,
    GetProcessRequest,
    GetResultsRequest,
    ListJobsRequest,
    ListLogsRequest,
    ListProcessesRequest,
)

JOBS_ON_A_PAGE = 25
LOGS_ON_A_PAGE = 50
LONGEST_LOG = 64 * 1024
"""How many bytes of the end of each log stand in a page."""


class PageService(PageServiceServicer):
    """Shows what StatusService tells."""

    def __init__(self, status: StatusService, stores: Stores, *, logs: LogReader) -> None:
        self._status = status
        self._stores = stores
        self._logs = logs

    async def ShowLandingPage(self, request: GetLandingPageRequest, context: Context) -> HttpBody:
        """Shows the landing page."""
        workspace = WorkspaceName.parse(request.name).workspace
        return await _page(context, "landing.html", workspace, origin=_origin(current_call()))

    async def ShowConformance(self, request: GetConformanceRequest, context: Context) -> HttpBody:
        """Shows the conformance classes."""
        workspace = WorkspaceName.parse(request.parent).workspace
        kept = await self._status.GetConformance(request, context)
        return await _page(context, "conformance.html", workspace, classes=list(kept.conforms_to))

    async def ShowApi(self, request: GetApiRequest, context: Context) -> HttpBody:
        """Shows the API definition."""
        workspace = WorkspaceName.parse(request.parent).workspace
        definition = orjson.loads(await self._status.definition(request))
        return await _page(context, "api.html", workspace, definition=definition, groups=operations(definition))

    async def ShowProcesses(self, request: ListProcessesRequest, context: Context) -> HttpBody:
        """Shows the processes."""
        workspace = WorkspaceName.parse(request.parent).workspace
        found = await self._status.ListProcesses(request, context)
        return await _page(
            context,
            "processes.html",
            workspace,
            processes=[ProcessView.of(process) for process in found.processes],
            pages=_pages(found.links),
            origin=_origin(current_call()),
        )

    async def ShowProcess(self, request: GetProcessRequest, context: Context) -> HttpBody:
        """Shows a process."""
        workspace = ProcessName.parse(request.name).workspace
        process = await self._status.described(request)
        description = orjson.loads(process.document.data)
        return await _page(
            context,
            "process.html",
            workspace,
            process=ProcessView.of(process),
            is_of_revision=request.HasField("revision"),
            fields=fields(description),
            missing=[need["missing"] for need in description.get("needs") or () if not need["met"]],
            needs=[in_words(need) for need in description.get("needs") or ()],
            outputs=[
                (name, about, note_of(about.get("schema") or {}))
                for name, about in (description.get("outputs") or {}).items()
            ],
            metadata=[entry for entry in process.metadata if entry.title or entry.value],
            origin=_origin(current_call()),
        )

    async def ShowJobs(self, request: ListJobsRequest, context: Context) -> HttpBody:
        """Shows jobs."""
        workspace = WorkspaceName.parse(request.parent).workspace
        if not request.HasField("page_size"):
            request.page_size = JOBS_ON_A_PAGE
        found = await self._status.ListJobs(request, context)
        return await _page(
            context,
            "jobs.html",
            workspace,
            jobs=[JobView.of(job) for job in found.jobs],
            pages=_pages(found.links),
            is_first=not request.page_token,
            states=STATES,
            chosen_states={state for value in request.states for state in value.split(",")},
            chosen_processes=",".join(request.process_ids),
        )

    async def ShowJob(self, request: GetJobRequest, context: Context) -> HttpBody:
        """Shows a job."""
        workspace = JobName.parse(request.name).workspace
        job = JobView.of(await self._status.GetJob(request, context))
        return await _page(context, "job.html", workspace, job=job)

    async def ShowLogs(self, request: ListLogsRequest, context: Context) -> HttpBody:
        """Shows the logs of a job."""
        job = await self._stores.jobs.get(JobName.parse(request.parent))
        listed = await self._stores.logs.list(job.job_id)
        logs = [
            (log, await self._end_of_log(job, log.step, log.size_bytes), log.size_bytes > LONGEST_LOG)
            for log in listed[-LOGS_ON_A_PAGE:]
        ]
        left_out = [log.step for log in listed[:-LOGS_ON_A_PAGE]]
        return await _page(context, "logs.html", job.workspace, job=_view(job), logs=logs, left_out=left_out)

    async def ShowResults(self, request: GetResultsRequest, context: Context) -> HttpBody:
        """Shows the results of a job."""
        job = await self._stores.jobs.get(JobName.parse(request.name))
        require_results(job)
        url = f"{_prefix(current_call())}/{quote(str(job.name))}/results"
        shown = await outputs.outputs_of(job, self._stores.artifacts, url)
        return await _page(context, "results.html", job.workspace, job=_view(job), outputs=shown)

    async def _end_of_log(self, job: Job, step: str, size_bytes: int) -> str:
        offset = max(0, size_bytes - LONGEST_LOG)
        pieces = self._logs.read(job, step, offset=offset, follow=False, until=None)
        # What was written since it was measured is left for the next look.
        return words.log_text(b"".join([piece async for piece in pieces])[:LONGEST_LOG])


async def _page(context: Context, template: str, workspace: str, **values: Any) -> HttpBody:
    call = current_call()
    body = render(template, call, workspace, **values)
    await respond(context, 200, headers(call))
    return body


def _view(job: Job) -> JobView:
    return JobView.of(job.to_message())


def _pages(links: Any) -> dict[str, str]:
    """The queries of the pages before and after this one."""
    found: list[Link] = list(links)
    queries = {link.rel: "?" + urlsplit(link.href).query for link in found}
    return {rel: queries.get(rel, "") for rel in ("prev", "next")}


def _origin(call: Call) -> str:
    """Where programs find us, for commands to copy."""
    return call.rest.root if call.rest else ""


def _prefix(call: Call) -> str:
    return urlsplit(call.rest.root).path if call.rest else ""
