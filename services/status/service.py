"""The RPCs of StatusService: names, one or two calls, an answer."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import quote

from google.api.httpbody_pb2 import HttpBody

from services.access.policy import ListFilter
from services.ogc.eodatahub import access_reasoning, counted_links, description_for_forms, refuse_skip
from services.ogc.landing import conformance, landing_page
from services.ogc.openapi.definition import MOST_PROCESSES, Definitions
from services.ogc.paging import (
    CALLBACKS_ON_A_PAGE,
    JOBS_ON_A_PAGE,
    LARGEST_PAGE,
    PROCESSES_ON_A_PAGE,
    decode_token,
    encode_token,
    page_links,
    page_size,
)
from services.ogc.preconditions import etag_of, is_unchanged
from services.ogc.presenters import job_message, process_message
from services.ogc.requests import OPENAPI, RestRequest, respond
from services.ogc.results.contents import Content
from services.records.artifacts import CHUNK_BYTES, ArtifactStore
from services.records.jobs import JobReader
from services.records.processes import ProcessReader
from services.serving.server import Call, Context, current_call
from services.shared.errors import InvalidArgument, NotFound, ServiceError
from services.shared.names import JobName, ProcessName, WorkspaceName
from services.status.callbacks import CallbackListStore
from services.status.job_pages import turn_to
from services.status.jobs import JobFilter, JobListStore, callback_states, parse_job_token
from services.status.logs import LogReader, LogStore
from services.status.processes import ProcessListStore
from services.status.results import Conditions, ResultReader
from services.status.watch import Watcher, interruption
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_HEADER, ERROR_REASON_NO_SUCH_PROCESS
from workflow_runner.v1.job_pb2 import Job as JobMessage
from workflow_runner.v1.link_pb2 import Link
from workflow_runner.v1.process_pb2 import Process as ProcessMessage
from workflow_runner.v1.status_service_pb2 import (
    Conformance,
    GetApiRequest,
    GetConformanceRequest,
    GetJobRequest,
    GetLandingPageRequest,
    GetPackageRequest,
    GetProcessRequest,
    GetResultsRequest,
    LandingPage,
    ListCallbacksRequest,
    ListCallbacksResponse,
    ListJobCallbacksRequest,
    ListJobsRequest,
    ListJobsResponse,
    ListLogsRequest,
    ListLogsResponse,
    ListProcessesRequest,
    ListProcessesResponse,
    Log,
    ReadLogRequest,
    ReadResultRequest,
    WatchJobRequest,
    WatchJobResponse,
)
from workflow_runner.v1.status_service_pb2_grpc import StatusServiceServicer

LARGEST_SEQUENCE = 2**31 - 1
EVENT_STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
LOG_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-cache"}


@dataclass(frozen=True, kw_only=True)
class Stores:
    """What the RPCs read."""

    processes: ProcessReader
    process_lists: ProcessListStore
    jobs: JobReader
    job_lists: JobListStore
    callbacks: CallbackListStore
    logs: LogStore
    artifacts: ArtifactStore


class StatusService(StatusServiceServicer):
    """Tells how processes and jobs stand."""

    def __init__(self, stores: Stores, *, watcher: Watcher, logs: LogReader, results: ResultReader) -> None:
        self._stores = stores
        self._watcher = watcher
        self._logs = logs
        self._results = results
        self._definitions = Definitions()

    async def GetLandingPage(self, request: GetLandingPageRequest, context: Context) -> LandingPage:
        """Answers the root of a workspace."""
        return landing_page(WorkspaceName.parse(request.name), current_call().rest)

    async def GetConformance(self, request: GetConformanceRequest, context: Context) -> Conformance:
        """Lists conformance classes."""
        return conformance()

    async def GetApi(self, request: GetApiRequest, context: Context) -> HttpBody:
        """Answers the API definition."""
        data = await self.definition(request)
        known = await _tell_state(context, etag_of(data))
        return HttpBody() if known else HttpBody(content_type=OPENAPI, data=data)

    async def definition(self, request: GetApiRequest) -> bytes:
        """The API definition."""
        rest = current_call().rest
        name = WorkspaceName.parse(request.parent)
        # Whoever may read the workspace sees all of its processes.
        visible = ListFilter(everything=False, workspaces=(name.workspace,), subject=None, visibilities=(), groups=())
        processes = await self._stores.process_lists.page(name.workspace, visible, after=None, size=MOST_PROCESSES)
        return self._definitions.get(rest.url(name) if rest else f"/{name}", processes)

    async def ListProcesses(self, request: ListProcessesRequest, context: Context) -> ListProcessesResponse:
        """Lists processes by id."""
        call = current_call()
        name = WorkspaceName.parse(request.parent)
        alias = call.rest is not None and call.rest.alias is not None
        # Clients of the EO DataHub read one page and take it for all.
        default = LARGEST_PAGE if alias else PROCESSES_ON_A_PAGE
        size = page_size(request.page_size if request.HasField("page_size") else None, default)
        scope = ("processes", name.workspace)
        after = decode_token(request.page_token, scope)
        found = await self._stores.process_lists.page(name.workspace, _visible(call), after=after, size=size + 1)
        next_token = encode_token(found[size - 1].process_id, scope) if len(found) > size else None
        listed = [process_message(process, call.rest) for process in found[:size]]
        if alias:
            for message, process in zip(listed, found, strict=False):
                message.access_reasoning = access_reasoning(process, _visible(call))
        return ListProcessesResponse(
            processes=listed,
            links=_list_links(call.rest, call.rest.url(name, "processes"), next_token) if call.rest else (),
            next_page_token=next_token,
        )

    async def GetProcess(self, request: GetProcessRequest, context: Context) -> ProcessMessage:
        """Answers a process."""
        rest = current_call().rest
        message = await self.described(request)
        if await _tell_state(context, etag_of(message.document.data)):
            return ProcessMessage()
        if rest and rest.alias:
            message.document.data = description_for_forms(message.document.data)
        return message

    async def described(self, request: GetProcessRequest) -> ProcessMessage:
        """A process with its description."""
        process = await self._stores.processes.get(ProcessName.parse(request.name), _revision(request))
        return process_message(process, current_call().rest, document=True)

    async def GetPackage(self, request: GetPackageRequest, context: Context) -> HttpBody:
        """Answers a package."""
        process = await self._stores.processes.get(ProcessName.parse(request.name), _revision(request))
        if process.backend == "builtin":
            raise NotFound(
                ERROR_REASON_NO_SUCH_PROCESS,
                "Process {process} is built in and has no package.",
                process=process.process_id,
                workspace=process.workspace,
            )
        rest, etag = current_call().rest, etag_of(process.media_type.encode(), process.digest.encode())
        if rest and is_unchanged(rest.headers, etag):
            await _answer(context, status=304, headers={"etag": etag})
            return HttpBody()
        package = await self._stores.artifacts.get(process.package_key)
        await _answer(
            context,
            headers={
                "content-disposition": f"attachment; filename*=UTF-8''{quote(process.process_id, safe='')}.cwl",
                "etag": etag,
                "x-content-type-options": "nosniff",
            },
        )
        return HttpBody(content_type=process.media_type, data=package)

    async def ListJobs(self, request: ListJobsRequest, context: Context) -> ListJobsResponse:
        """Lists jobs, newest first."""
        call = current_call()
        wanted = JobFilter.of(request)
        size = page_size(request.page_size if request.HasField("page_size") else None, JOBS_ON_A_PAGE)
        url = call.rest.url(request.parent, "jobs") if call.rest else ""
        jobs, visible = self._stores.job_lists, _visible(call)
        if call.rest and call.rest.alias and not request.page_token:
            wanted = wanted.as_shown_under_alias()
            found = await jobs.page(wanted, visible, after=None, skip=request.skip, size=size + 1)
            return ListJobsResponse(
                jobs=[job_message(job, call.rest) for job in found[:size]],
                links=counted_links(call.rest, url, size=size, skip=request.skip, more=len(found) > size),
                number_total=await jobs.count(wanted, visible),
            )
        if request.HasField("skip"):
            raise refuse_skip()
        page = await turn_to(jobs, wanted, visible, token=request.page_token, size=size)
        return ListJobsResponse(
            jobs=[job_message(job, call.rest) for job in page.jobs],
            links=_list_links(call.rest, url, page.next_token, page.prev_token) if call.rest else (),
            next_page_token=page.next_token,
            prev_page_token=page.prev_token,
        )

    async def GetJob(self, request: GetJobRequest, context: Context) -> JobMessage:
        """Answers a job."""
        name = JobName.parse(request.name)
        job = await self._stores.jobs.get(name)
        return job_message(job, current_call().rest, steps=await self._stores.jobs.steps(name))

    async def WatchJob(self, request: WatchJobRequest, context: Context) -> AsyncIterator[WatchJobResponse]:
        """Streams what happens to a job."""
        call = current_call()
        after = _resume_after(request, call)
        begun = False
        try:
            updates = self._watcher.watch(JobName.parse(request.name), after=after, until=call.subject.token_expiry)
            async with aclosing(updates):
                async for update in updates:
                    if call.rest is None:
                        if not update.silent:
                            yield update.to_message()
                        continue
                    if not begun:
                        begun = True
                        await _answer(context, headers=EVENT_STREAM_HEADERS)
                    yield update.to_event_stream(call.rest)
        except ServiceError as error:
            # HTTP/1.1 cannot say that a stream failed once it has begun, so the stream itself has to.
            if begun:
                yield interruption(error)
            raise

    async def ListJobCallbacks(self, request: ListJobCallbacksRequest, context: Context) -> ListCallbacksResponse:
        """Lists the callbacks of a job."""
        rest = current_call().rest
        name = JobName.parse(request.parent)
        await self._stores.jobs.get(name)
        return ListCallbacksResponse(
            callbacks=await self._stores.callbacks.of_job(name),
            links=[rest.link("self", rest.url(name, "callbacks")), rest.link("up", rest.url(name))] if rest else (),
            public_keys=await self._stores.callbacks.public_keys(),
        )

    async def ListCallbacks(self, request: ListCallbacksRequest, context: Context) -> ListCallbacksResponse:
        """Lists the callbacks of a workspace's jobs, newest first."""
        call = current_call()
        name = WorkspaceName.parse(request.parent)
        states = callback_states(request.states)
        size = page_size(request.page_size if request.HasField("page_size") else None, CALLBACKS_ON_A_PAGE)
        scope = ("callbacks", name.workspace, ",".join(sorted(states)))
        found = await self._stores.callbacks.page(
            name,
            _visible(call),
            states=states,
            after=parse_job_token(decode_token(request.page_token, scope)),
            size=size + 1,
        )
        next_token = encode_token(found[size - 1].callback_id, scope) if len(found) > size else None
        return ListCallbacksResponse(
            callbacks=found[:size],
            links=page_links(call.rest, call.rest.url(name, "callbacks"), next_token) if call.rest else (),
            next_page_token=next_token,
            public_keys=await self._stores.callbacks.public_keys(),
        )

    async def ListLogs(self, request: ListLogsRequest, context: Context) -> ListLogsResponse:
        """Lists logs."""
        rest = current_call().rest
        job = await self._stores.jobs.get(JobName.parse(request.parent))
        url = rest.url(job.name, "logs") if rest else ""
        return ListLogsResponse(
            logs=[
                Log(
                    step=log.step,
                    size_bytes=log.size_bytes,
                    state=log.state,
                    links=[rest.link("item", f"{url}/{quote(log.step, safe='')}", media_type="text/plain")]
                    if rest
                    else (),
                )
                for log in await self._stores.logs.list(job.job_id)
            ],
            links=[
                rest.link("self", url, title="This list"),
                rest.link("up", rest.url(job.name), title="The job"),
            ]
            if rest
            else (),
        )

    async def ReadLog(self, request: ReadLogRequest, context: Context) -> AsyncIterator[HttpBody]:
        """Streams a log."""
        call = current_call()
        job = await self._stores.jobs.get(JobName.parse(request.name))
        pieces = self._logs.read(
            job, request.step, offset=request.offset, follow=request.follow, until=call.subject.token_expiry
        )
        async for body in _stream(
            context, Content(media_type="text/plain; charset=utf-8", pieces=pieces, headers=LOG_HEADERS)
        ):
            yield body

    async def GetResults(self, request: GetResultsRequest, context: Context) -> AsyncIterator[HttpBody]:
        """Streams results."""
        call = current_call()
        job = await self._stores.jobs.get(JobName.parse(request.name))
        async for body in _stream(context, await self._results.whole(job, call.rest, _conditions(call))):
            yield body

    async def ReadResult(self, request: ReadResultRequest, context: Context) -> AsyncIterator[HttpBody]:
        """Streams an output."""
        call = current_call()
        job = await self._stores.jobs.get(JobName.parse(request.name))
        content = self._results.one(job, request.output, request.path, call.rest, _conditions(call))
        async for body in _stream(context, content):
            yield body


async def _stream(context: Context, content: Content) -> AsyncIterator[HttpBody]:
    """Streams content; nothing is sent before its first piece is there, so that until then an error is a whole one."""
    pieces, length, rest = content.pieces, {}, current_call().rest
    if content.size is not None:
        # The edge makes a content-length of it, so that a stream which breaks does not look whole.
        length["x-content-length"] = str(content.size)
    if content.size is not None and content.size <= CHUNK_BYTES:
        first = await content.whole()
    else:
        first = await anext(pieces, b"")
    await _answer(context, status=content.status, headers={**content.headers, **length})
    if rest and rest.head:
        # The first piece shows that the rest is there; nobody would read it.
        yield HttpBody(content_type=content.media_type)
        return
    yield HttpBody(content_type=content.media_type, data=first)
    async for piece in pieces:
        yield HttpBody(content_type=content.media_type, data=piece)


async def _answer(context: Context, *, status: int = 200, headers: Mapping[str, str]) -> None:
    await respond(context, status, headers)


async def _tell_state(context: Context, etag: str) -> bool:
    """Begins an answer with its entity tag: 304 for a caller who says that he has it. Raises PRECONDITION_FAILED."""
    rest = current_call().rest
    if rest is None:
        return False
    known = is_unchanged(rest.headers, etag)
    await _answer(context, status=304 if known else 200, headers={"etag": etag})
    return known


def _list_links(rest: RestRequest, url: str, next_token: str | None, prev_token: str | None = None) -> list[Link]:
    return [*page_links(rest, url, next_token, prev_token), *rest.page_for_people(url, rest.query())]


def _visible(call: Call) -> ListFilter:
    # The policy layer takes no list without one.
    assert call.decision.filter is not None
    return call.decision.filter


def _revision(request: GetProcessRequest | GetPackageRequest) -> int | None:
    return request.revision if request.HasField("revision") else None


def _conditions(call: Call) -> Conditions:
    headers = call.rest.headers if call.rest else {}
    return Conditions(accept=headers.get("accept", ""), headers=headers)


def _resume_after(request: WatchJobRequest, call: Call) -> int:
    """The sequence of the last event that the caller has seen. Raises INVALID_HEADER."""
    if request.HasField("after_sequence"):
        return request.after_sequence
    header = (call.header("last-event-id") or "").strip()
    if not header:
        return 0
    if not header.isascii() or not header.isdigit() or len(header) > 10:
        raise InvalidArgument(
            ERROR_REASON_INVALID_HEADER,
            "The header {header} has to be the id of an event of this stream.",
            header="last-event-id",
        )
    return min(int(header), LARGEST_SEQUENCE)
