"""The main job over gRPC: deploy, execute, end."""

import asyncio
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.struct_pb2 import Struct
from google.rpc import error_details_pb2, status_pb2

from services.records.jobs import Job, JobReader
from services.shared.names import JobName
from services.shared.postgres import Database
from services.standalone.postgres import DatabaseAddresses
from tests.support.services import RunningService
from workflow_runner.v1.submission_service_pb2 import (
    DeployProcessRequest,
    DismissJobRequest,
    ExecuteProcessRequest,
    ReplaceProcessRequest,
    UndeployProcessRequest,
)
from workflow_runner.v1.submission_service_pb2_grpc import SubmissionServiceStub

GREET = b"""
cwlVersion: v1.2
class: CommandLineTool
id: greet
label: Greets
baseCommand: [sh, -c, 'echo "hello $0" | tee greeting.txt; echo noise >&2']
inputs:
  whom: {type: string, inputBinding: {position: 1}}
outputs:
  greeting: {type: File, outputBinding: {glob: greeting.txt}}
"""


def cwl(document: bytes) -> HttpBody:
    return HttpBody(content_type="application/cwl+yaml", data=document)


def inputs(**values: Any) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


async def ended(database: DatabaseAddresses, name: str) -> Job:
    """Waits for the end of a job."""
    async with asyncio.timeout(60), Database.open(database.status, application="test") as opened:
        reader = JobReader(opened)
        while not (job := await reader.get(JobName.parse(name))).ended:
            await asyncio.sleep(0.05)
        return job


def reason(error: grpc.aio.AioRpcError) -> str:
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return info.reason


async def test_a_package_is_deployed_executed_and_leaves_its_outputs(
    submission: RunningService, stub: SubmissionServiceStub, database: DatabaseAddresses
) -> None:
    process = await stub.DeployProcess(
        DeployProcessRequest(parent="workspaces/ada", package=cwl(GREET)), metadata=submission.token()
    )
    answer = await stub.ExecuteProcess(
        ExecuteProcessRequest(name=process.name, inputs=inputs(whom="Ada")), metadata=submission.token()
    )

    job = await ended(database, answer.job.name)

    assert ("successful", 100) == (job.state, job.progress), job.failure
    assert job.results is not None
    key = job.results["greeting"]["file"]["key"]
    assert b"hello Ada\n" == (submission.directory / "artifacts" / key).read_bytes()


async def test_the_built_in_process_echoes(
    submission: RunningService, stub: SubmissionServiceStub, database: DatabaseAddresses
) -> None:
    answer = await stub.ExecuteProcess(
        ExecuteProcessRequest(name="workspaces/ada/processes/echo", inputs=inputs(message="x", numbers=[1, 2])),
        metadata=submission.token(),
    )

    job = await ended(database, answer.job.name)

    assert {"message": {"value": "x"}, "numbers": {"value": [1, 2]}} == job.results


async def test_a_failed_step_is_explained(
    submission: RunningService, stub: SubmissionServiceStub, database: DatabaseAddresses
) -> None:
    failing = GREET.replace(b"echo noise >&2", b"echo broken >&2; exit 3")
    process = await stub.DeployProcess(
        DeployProcessRequest(parent="workspaces/ada", package=cwl(failing)), metadata=submission.token()
    )
    answer = await stub.ExecuteProcess(
        ExecuteProcessRequest(name=process.name, inputs=inputs(whom="Ada")), metadata=submission.token()
    )

    job = await ended(database, answer.job.name)

    assert "failed" == job.state
    assert job.failure is not None
    assert ("STEP_FAILED", "greet", 3) == (job.failure["reason"], job.failure["step"], job.failure["exit_code"])
    assert "broken" in job.failure["log_tail"]


@pytest.mark.parametrize(
    ("request_inputs", "pointer"),
    [({}, "/inputs/whom"), ({"whom": 3}, "/inputs/whom"), ({"whom": "x", "more": 1}, "/inputs/more")],
)
async def test_inputs_that_do_not_fit_make_no_job(
    submission: RunningService,
    stub: SubmissionServiceStub,
    database: DatabaseAddresses,
    request_inputs: dict[str, Any],
    pointer: str,
) -> None:
    process = await stub.DeployProcess(
        DeployProcessRequest(parent="workspaces/ada", package=cwl(GREET)), metadata=submission.token()
    )

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ExecuteProcess(
            ExecuteProcessRequest(name=process.name, inputs=inputs(**request_inputs)), metadata=submission.token()
        )

    assert "INVALID_INPUTS" == reason(refused.value)
    assert pointer in refused.value.details()
    async with Database.open(database.owner, application="test") as opened:
        assert 0 == await opened.fetchval("SELECT count(*) FROM jobs")


async def test_a_job_dismissed_ends_and_leaves_no_process(
    submission: RunningService, stub: SubmissionServiceStub, database: DatabaseAddresses
) -> None:
    sleeping = GREET.replace(b"echo noise", b"sleep 600; echo noise")
    process = await stub.DeployProcess(
        DeployProcessRequest(parent="workspaces/ada", package=cwl(sleeping)), metadata=submission.token()
    )
    answer = await stub.ExecuteProcess(
        ExecuteProcessRequest(name=process.name, inputs=inputs(whom="Ada")), metadata=submission.token()
    )
    async with Database.open(database.owner, application="test") as opened, asyncio.timeout(30):
        while not await opened.fetchval("SELECT count(*) FROM job_steps WHERE state = 'running'"):
            await asyncio.sleep(0.05)

        job = await stub.DismissJob(DismissJobRequest(name=answer.job.name), metadata=submission.token())

        assert "dismissed" == job.State.Name(job.state)
        while await opened.fetchval("SELECT count(*) FROM dispatch"):
            await asyncio.sleep(0.05)
        assert [] == list((submission.directory / "runs").glob(f"{job.job_id}*"))


async def test_the_same_key_makes_one_job(submission: RunningService, stub: SubmissionServiceStub) -> None:
    request = ExecuteProcessRequest(
        name="workspaces/ada/processes/echo", inputs=inputs(message="x"), idempotency_key="one"
    )

    answers = await asyncio.gather(*(stub.ExecuteProcess(request, metadata=submission.token()) for _ in range(8)))

    assert 1 == len({answer.job.name for answer in answers})


async def test_a_key_used_for_another_request_is_refused(
    submission: RunningService, stub: SubmissionServiceStub
) -> None:
    request = ExecuteProcessRequest(
        name="workspaces/ada/processes/echo", inputs=inputs(message="x"), idempotency_key="one"
    )
    await stub.ExecuteProcess(request, metadata=submission.token())
    request.inputs.update({"message": "y"})

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ExecuteProcess(request, metadata=submission.token())

    assert "IDEMPOTENCY_KEY_REUSED" == reason(refused.value)


async def test_a_process_is_replaced_and_undeployed(submission: RunningService, stub: SubmissionServiceStub) -> None:
    metadata = submission.token()
    first = await stub.DeployProcess(
        DeployProcessRequest(parent="workspaces/ada", package=cwl(GREET)), metadata=metadata
    )
    same = await stub.ReplaceProcess(ReplaceProcessRequest(name=first.name, package=cwl(GREET)), metadata=metadata)
    second = await stub.ReplaceProcess(
        ReplaceProcessRequest(name=first.name, package=cwl(GREET.replace(b"Greets", b"Greets you"))), metadata=metadata
    )
    with pytest.raises(grpc.aio.AioRpcError) as duplicated:
        await stub.DeployProcess(DeployProcessRequest(parent="workspaces/ada", package=cwl(GREET)), metadata=metadata)
    await stub.UndeployProcess(UndeployProcessRequest(name=first.name), metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as gone:
        await stub.UndeployProcess(UndeployProcessRequest(name=first.name), metadata=metadata)

    assert [1, 1, 2] == [process.revision for process in (first, same, second)]
    assert ["DUPLICATED_PROCESS", "NO_SUCH_PROCESS"] == [reason(duplicated.value), reason(gone.value)]


async def test_validation_answers_what_would_happen_and_changes_nothing(
    submission: RunningService, stub: SubmissionServiceStub, database: DatabaseAddresses
) -> None:
    metadata = submission.token()
    request = DeployProcessRequest(parent="workspaces/ada", package=cwl(GREET), validate_only=True)
    would = await stub.DeployProcess(request, metadata=metadata)
    request.validate_only = False
    process = await stub.DeployProcess(request, metadata=metadata)
    checked = await stub.ExecuteProcess(
        ExecuteProcessRequest(name=process.name, inputs=inputs(whom="Ada"), validate_only=True), metadata=metadata
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ExecuteProcess(
            ExecuteProcessRequest(name=process.name, inputs=inputs(whom=1), validate_only=True), metadata=metadata
        )

    assert process.digest == would.digest
    assert b'"whom"' in would.document.data
    assert b'{"inputs":{"whom":"Ada"}}' == checked.document.data
    assert "INVALID_INPUTS" == reason(refused.value)
    async with Database.open(database.owner, application="test") as opened:
        assert 0 == await opened.fetchval("SELECT count(*) FROM jobs")
