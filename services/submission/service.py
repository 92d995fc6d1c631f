"""The RPCs of SubmissionService: names, one or two calls, an answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import orjson
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from services.ogc.preconditions import require_unchanged
from services.ogc.presenters import job_message, process_etag, process_message
from services.ogc.requests import RestRequest, respond
from services.ogc.results.contents import Content
from services.ogc.results.delivery import deliver
from services.ogc.results.documents import require_results
from services.records.artifacts import ArtifactStore
from services.records.jobs import Job
from services.serving.server import Context, current_call
from services.shared.errors import InvalidArgument, ServiceError
from services.shared.messages import json_body, to_json
from services.shared.names import JobName, ProcessName, WorkspaceName
from services.shared.space import Space
from services.shared.telemetry import jobs_accepted, trace_parent
from services.submission.acceptance import Caller, JobStore
from services.submission.callbacks.sender import read_subscriber
from services.submission.deployment import Deployer, parse
from services.submission.execution.eodatahub import read_leniently
from services.submission.execution.mode import check_media_type, choose_mode, read_request
from services.submission.execution.references import fetch_inputs
from services.submission.execution.revisions import RevisionReader
from services.submission.packages import Package
from services.submission.processes import ProcessStore
from services.submission.staging.fetcher import Fetcher
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_HEADER
from workflow_runner.v1.process_pb2 import Process as ProcessMessage
from workflow_runner.v1.submission_service_pb2 import (
    DeployProcessRequest,
    DismissJobRequest,
    ExecuteProcessRequest,
    ExecuteProcessResponse,
    ReplaceProcessRequest,
    ShareProcessRequest,
    UndeployProcessRequest,
)
from workflow_runner.v1.submission_service_pb2_grpc import SubmissionServiceServicer

FIRST_LOOK_SECONDS = 0.02
LONGEST_LOOK_SECONDS = 0.25
LARGEST_ANSWER = 6 * 1024 * 1024
"""How many bytes of results an execution answers: they come in one message."""


@dataclass(frozen=True, kw_only=True)
class Stores:
    """What the RPCs read and write."""

    processes: ProcessStore
    jobs: JobStore
    revisions: RevisionReader


class SubmissionService(SubmissionServiceServicer):
    """Deploys processes and accepts jobs."""

    def __init__(
        self,
        stores: Stores,
        deployer: Deployer,
        *,
        fetcher: Fetcher,
        artifacts: ArtifactStore,
        space: Space,
        wake: Callable[[str], None],
        longest_wait: timedelta,
    ) -> None:
        """`wake` tells the dispatcher that a job has come into a stage."""
        self._processes = stores.processes
        self._jobs = stores.jobs
        self._revisions = stores.revisions
        self._deployer = deployer
        self._fetcher = fetcher
        self._artifacts = artifacts
        self._space = space
        self._wake = wake
        self._longest_wait = longest_wait

    async def DeployProcess(self, request: DeployProcessRequest, context: Context) -> ProcessMessage:
        """Deploys a package."""
        call = current_call()
        workspace = WorkspaceName.parse(request.parent).workspace
        package = await self._deployer.read(
            parse(request.package, call.rest), workspace=workspace, workflow=request.w or None
        )
        name = ProcessName(workspace, package.process_id)
        # A package is stored before the process that needs it; one that is refused shall not be stored at all.
        await self._processes.check_deployable(name)
        if request.validate_only:
            return preview(name, package)
        self._space.require()
        process = await self._processes.deploy(name, await self._deployer.store(package), owner=call.subject.id)
        if call.rest:
            await respond(context, 201, {"location": call.rest.url(process.name)})
        return summarized(process_message(process, call.rest, warnings=package.warnings))

    async def ReplaceProcess(self, request: ReplaceProcessRequest, context: Context) -> ProcessMessage:
        """Replaces a package."""
        call = current_call()
        name = ProcessName.parse(request.name)
        # What is no package is refused before it matters whether there is a process (415 before 404); what has to be
        # fetched, read in a child or stored waits until it is known that there is one which may be replaced.
        deployment = parse(request.package, call.rest)
        await self._processes.check_mutable(name)
        await self._require_known(name, call.rest)
        package = await self._deployer.read(
            deployment, workspace=name.workspace, workflow=request.w or None, process_id=name.process_id
        )
        if request.validate_only:
            return preview(name, package)
        self._space.require()
        process = await self._processes.replace(name, await self._deployer.store(package), owner=call.subject.id)
        if call.rest:
            await respond(context, 204, {"location": call.rest.url(process.name)})
        return summarized(process_message(process, call.rest, warnings=package.warnings))

    async def UndeployProcess(self, request: UndeployProcessRequest, context: Context) -> Empty:
        """Removes a process."""
        name = ProcessName.parse(request.name)
        await self._require_known(name, current_call().rest)
        await self._processes.undeploy(name)
        if current_call().rest:
            await respond(context, 204)
        return Empty()

    async def ShareProcess(self, request: ShareProcessRequest, context: Context) -> ProcessMessage:
        """Says who may use a process."""
        name = ProcessName.parse(request.name)
        await self._require_known(name, current_call().rest)
        process = await self._processes.share(
            name,
            visibility=ProcessMessage.Visibility.Name(request.sharing.visibility),
            workspaces=list(request.sharing.shared_workspaces),
            groups=list(request.sharing.shared_groups),
        )
        return process_message(process, current_call().rest)

    async def ExecuteProcess(self, request: ExecuteProcessRequest, context: Context) -> ExecuteProcessResponse:
        """Accepts a job; waits for it where the process and the caller want that."""
        call = current_call()
        name = ProcessName.parse(request.name)
        if call.rest:
            check_media_type(call.rest.content_type)
        process = await self._processes.get(name)
        mode = choose_mode(call.rest, process.description["jobControlOptions"], self._longest_wait)
        wanted = await read_request(request)
        if call.rest and call.rest.alias:
            wanted = read_leniently(wanted, process.description, process.cwl_inputs)
        inputs = self._revisions.inputs_of(process)
        inputs.check_outputs(wanted.outputs)
        fetched, order = await fetch_inputs(inputs, wanted.inputs, self._fetcher, size_bytes=request.ByteSize())
        root = call.rest.root if call.rest else ""
        subscriber = await read_subscriber(wanted.subscriber, root, self._fetcher)
        if request.validate_only:
            return ExecuteProcessResponse(document=json_body(orjson.dumps({"inputs": order})))
        self._space.require()
        document: dict[str, Any] = {"inputs": wanted.inputs} | ({"fetched": fetched} if fetched else {})
        document |= {key: value for key in ("outputs", "response") if (value := getattr(wanted, key)) is not None}
        job = await self._jobs.accept(
            process,
            document,
            Caller(subject=call.subject.id, workspace=call.decision.calling_workspace, trace_parent=trace_parent()),
            idempotency_key=request.idempotency_key or _idempotency_key(call.header("idempotency-key")),
            subscriber=subscriber,
        )
        self._wake("waiting")
        jobs_accepted.add(1)
        if call.rest is None:
            return ExecuteProcessResponse(job=job.to_message())
        if mode.wait is not None:
            job = await self._ended(job.name, mode.wait)
        if mode.wait is not None and job.ended:
            results = await self._results(job, call.rest)
            if results is not None:
                body = HttpBody(content_type=results.media_type, data=await results.whole())
                await respond(context, results.status, {**results.headers, **_applied(mode.when_done)})
                return ExecuteProcessResponse(job=job_message(job, call.rest), document=body)
        # A job that outlasts the wait, or whose results one message cannot hold, is answered asynchronously.
        answer = job_message(job, call.rest)
        await respond(context, 201, {"location": call.rest.url(job.name)} | _applied(mode.when_accepted))
        return ExecuteProcessResponse(job=answer, document=json_body(to_json(answer)))

    async def DismissJob(self, request: DismissJobRequest, context: Context) -> Any:
        """Ends a job, or removes one that has ended."""
        job = await self._jobs.dismiss(JobName.parse(request.name))
        self._wake("releasing")
        return job_message(job, current_call().rest)

    async def _require_known(self, name: ProcessName, rest: RestRequest | None) -> None:
        """Raises PRECONDITION_FAILED when the caller wants to change another state of the process than the one that is,
        and NO_SUCH_PROCESS."""
        if rest and not rest.headers.keys().isdisjoint(("if-match", "if-none-match")):
            process = await self._processes.get(name)
            require_unchanged(rest.headers, process_etag(process, rest))

    async def _results(self, job: Job, rest: RestRequest) -> Content | None:
        """What a job left, for a caller who waited; None when it is too large for that. Raises JOB_FAILED,
        RESULT_NOT_AVAILABLE."""
        # Permission process-execute-sync-job: an execution that made a job says where it is.
        monitor = f'<{rest.url(job.name)}>; rel="monitor"'
        try:
            require_results(job)
        except ServiceError as refusal:
            refusal.headers["link"] = monitor
            raise
        results = await deliver(job, rest, self._artifacts, accept=rest.headers.get("accept", ""))
        if results.size is None or results.size > LARGEST_ANSWER:
            return None
        links = ", ".join(filter(None, (results.headers.get("link"), monitor)))
        # A tag would be that of the process, whose address this is.
        about = {key: value for key, value in results.headers.items() if key not in ("etag", "accept-ranges")}
        return replace(results, headers={**about, "link": links})

    async def _ended(self, name: JobName, wait: timedelta) -> Job:
        """Waits until a job has ended, or until the time is over."""
        pause = FIRST_LOOK_SECONDS
        job = await self._jobs.get(name)
        try:
            async with asyncio.timeout(wait.total_seconds()):
                while not job.ended:
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, LONGEST_LOOK_SECONDS)
                    job = await self._jobs.get(name)
        except TimeoutError:
            pass
        return job


def summarized(process: ProcessMessage) -> ProcessMessage:
    """The same with its summary as the document, which is the answer over REST."""
    process.document.CopyFrom(json_body(to_json(process)))
    return process


def preview(name: ProcessName, package: Package) -> ProcessMessage:
    """The process that a package would become; nothing of it is kept."""
    described = orjson.dumps(package.description | {"warnings": package.warnings})
    return ProcessMessage(
        name=str(name),
        process_id=name.process_id,
        version=package.description["version"],
        digest=package.digest,
        warnings=package.warnings,
        document=json_body(described),
    )


def _idempotency_key(header: str | None) -> str | None:
    """The key of the header, which a structured field may have put into quotes. Raises INVALID_HEADER."""
    key = (header or "").strip().strip('"')
    if len(key) > 255:
        raise InvalidArgument(
            ERROR_REASON_INVALID_HEADER, "An idempotency key has at most 255 characters.", header="idempotency-key"
        )
    return key or None


def _applied(preference: str | None) -> dict[str, str]:
    return {"preference-applied": preference} if preference else {}
