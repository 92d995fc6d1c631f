"""Single processes and jobs, the landing page, and the package."""

from pathlib import Path

import grpc.aio
import orjson
import pytest

from services.records.artifacts import ArtifactStore
from services.records.schema import SchemaCheck
from services.shared.postgres import Database
from tests.integration.status.records import DESCRIPTION, DIGEST, PACKAGE, Records
from tests.integration.status.serving import Status, open_status
from tests.support.rpc import error_info, trailing
from tests.support.tokens import Tokens
from workflow_runner.v1.job_pb2 import Job, JobFailure, JobStep
from workflow_runner.v1.process_pb2 import Process
from workflow_runner.v1.status_service_pb2 import (
    GetConformanceRequest,
    GetJobRequest,
    GetLandingPageRequest,
    GetPackageRequest,
    GetProcessRequest,
    ListJobsRequest,
)


async def test_the_landing_page_links_to_everything_else(status: Status) -> None:
    page = await status.stub.GetLandingPage(
        GetLandingPageRequest(name="workspaces/ada"), metadata=status.over_rest("/workspaces/ada")
    )

    relations = {link.rel.removeprefix("http://www.opengis.net/def/rel/ogc/1.0/"): link.href for link in page.links}
    assert {
        "self": "https://runner.example/workspaces/ada",
        "alternate": "https://runner.example/workspaces/ada?f=html",
        "service-desc": "https://runner.example/workspaces/ada/api",
        "service-doc": "https://runner.example/workspaces/ada/api?f=html",
        "conformance": "https://runner.example/workspaces/ada/conformance",
        "processes": "https://runner.example/workspaces/ada/processes",
        "job-list": "https://runner.example/workspaces/ada/jobs",
    } == relations


async def test_a_landing_page_is_for_members(status: Status) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await status.stub.GetLandingPage(
            GetLandingPageRequest(name="workspaces/ada"), metadata=status.as_user("grace", user="grace")
        )

    assert "ACTION_NOT_ALLOWED" == error_info(refused.value).reason


async def test_conformance_names_the_classes_that_are_kept(status: Status) -> None:
    answer = await status.stub.GetConformance(GetConformanceRequest(parent="workspaces/ada"), metadata=status.as_user())

    assert "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/job-list" in answer.conforms_to
    assert "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/oas30" in answer.conforms_to
    assert len(set(answer.conforms_to)) == len(answer.conforms_to)


async def test_a_process_is_answered_with_its_description_as_it_was_deployed(status: Status, records: Records) -> None:
    await records.process()

    process = await status.stub.GetProcess(
        GetProcessRequest(name="workspaces/ada/processes/sample"),
        metadata=status.over_rest("/workspaces/ada/processes/sample"),
    )
    document = orjson.loads(process.document.data)

    assert ("sample", 1, DIGEST, True) == (process.process_id, process.revision, process.digest, process.mutable)
    assert DESCRIPTION["inputs"] == document["inputs"]
    assert b'"zeta":{"schema":{"maximum":9007199254740993}},"alpha"' in process.document.data
    assert "https://runner.example/workspaces/ada/processes/sample/execution" in [
        link["href"] for link in document["links"]
    ]


async def test_an_earlier_revision_can_be_had(status: Status, records: Records) -> None:
    await records.process()
    await records.process()
    name = "workspaces/ada/processes/sample"

    now = await status.stub.GetProcess(GetProcessRequest(name=name), metadata=status.as_user())
    then = await status.stub.GetProcess(GetProcessRequest(name=name, revision=1), metadata=status.as_user())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await status.stub.GetProcess(GetProcessRequest(name=name, revision=3), metadata=status.as_user())

    assert (2, 1) == (now.revision, then.revision)
    assert "NO_SUCH_REVISION" == error_info(refused.value).reason


async def test_an_earlier_revision_of_a_built_in_process_can_be_had(status: Status, records: Records) -> None:
    await records.process("echo", workspace="*", visibility="public", backend="builtin")
    await records.process("echo", workspace="*", visibility="public", backend="builtin")

    process = await status.stub.GetProcess(
        GetProcessRequest(name="workspaces/ada/processes/echo", revision=1), metadata=status.as_user()
    )

    assert ("workspaces/ada/processes/echo", 1) == (process.name, process.revision)


async def test_a_private_process_of_another_workspace_looks_like_one_that_does_not_exist(
    status: Status, records: Records
) -> None:
    await records.process()
    refusals = []
    for process_id in ("sample", "nothing"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await status.stub.GetProcess(
                GetProcessRequest(name=f"workspaces/ada/processes/{process_id}"),
                metadata=status.as_user("grace", user="grace"),
            )
        refusals.append((error_info(refused.value).reason, refused.value.details().replace(process_id, "")))

    assert "NO_SUCH_PROCESS" == refusals[0][0]
    assert refusals[0] == refusals[1]


async def test_a_package_is_answered_byte_for_byte(status: Status, records: Records) -> None:
    await records.process(visibility="public")
    call = status.stub.GetPackage(
        GetPackageRequest(name="workspaces/ada/processes/sample"), metadata=status.as_user("grace", user="grace")
    )

    body = await call
    headers = dict(await call.initial_metadata())

    assert (PACKAGE, "application/cwl+yaml") == (body.data, body.content_type)
    assert "attachment; filename*=UTF-8''sample.cwl" == headers["content-disposition"]


async def test_a_built_in_process_has_no_package(status: Status, records: Records) -> None:
    await records.process("echo", workspace="*", visibility="public", backend="builtin")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await status.stub.GetPackage(GetPackageRequest(name="workspaces/ada/processes/echo"), metadata=status.as_user())

    assert "NO_SUCH_PROCESS" == error_info(refused.value).reason


async def test_the_package_of_a_user_service_is_not_shown_to_its_users(status: Status, records: Records) -> None:
    await records.process(visibility="user_service")
    stranger = status.as_user("grace", user="grace")
    name = "workspaces/ada/processes/sample"

    process = await status.stub.GetProcess(GetProcessRequest(name=name), metadata=stranger)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await status.stub.GetPackage(GetPackageRequest(name=name), metadata=stranger)

    assert Process.Visibility.user_service == process.visibility
    assert grpc.StatusCode.PERMISSION_DENIED == refused.value.code()


async def test_a_job_is_answered_with_its_steps_and_why_it_failed(status: Status, records: Records) -> None:
    await records.process()
    failure = {
        "reason": "STEP_FAILED",
        "message": "Step merge ended with exit code 3.",
        "step": "merge",
        "exit_code": 3,
        "log_tail": ["one", "two"],
    }
    job_id = await records.job(state="failed", failure=failure)
    await records.step(job_id, "tile", "successful", 0)
    await records.step(job_id, "merge", "failed", 3)

    job = await status.stub.GetJob(
        GetJobRequest(name=f"workspaces/ada/jobs/{job_id}"), metadata=status.over_rest(f"/workspaces/ada/jobs/{job_id}")
    )

    assert (Job.State.failed, str(job_id), str(job_id)) == (job.state, job.job_id, job.id)
    assert (JobFailure.Reason.STEP_FAILED, 3, ["one", "two"]) == (
        job.failure.reason,
        job.failure.exit_code,
        list(job.failure.log_tail),
    )
    assert [("tile", JobStep.State.successful, 0), ("merge", JobStep.State.failed, 3)] == [
        (step.step, step.state, step.exit_code) for step in job.steps
    ]
    assert "http://www.opengis.net/def/rel/ogc/1.0/exceptions" in [link.rel for link in job.links]


async def test_a_job_of_another_workspace_looks_like_one_that_does_not_exist(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job()

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await status.stub.GetJob(
            GetJobRequest(name=f"workspaces/ada/jobs/{job_id}"), metadata=status.as_user("grace", user="grace")
        )
    with pytest.raises(grpc.aio.AioRpcError) as elsewhere:
        # The id is right, the workspace in the name is the caller's own.
        await status.stub.GetJob(
            GetJobRequest(name=f"workspaces/grace/jobs/{job_id}"), metadata=status.as_user("grace", user="grace")
        )

    assert "NO_SUCH_JOB" == error_info(refused.value).reason == error_info(elsewhere.value).reason


async def test_without_a_database_every_call_about_it_hears_the_reason(
    artifacts: ArtifactStore, tmp_path: Path
) -> None:
    name = "workspaces/ada/jobs/01a2074c-05c4-72fb-95ea-0757414701cb"
    refusals = []
    async with (
        Database.open(f"postgresql://status@/runner?host={tmp_path}", application="status") as away,
        open_status(away, artifacts, Tokens(tmp_path / "issuer")) as status,
    ):
        for call in (
            status.stub.GetJob(GetJobRequest(name=name), metadata=status.over_rest("/")),
            status.stub.ListJobs(ListJobsRequest(parent="workspaces/ada"), metadata=status.over_rest("/")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            refusals.append((error_info(refused.value).reason, trailing(refused.value)["x-http-status"]))
        ready = await SchemaCheck(away).is_ready()

    assert [("DATABASE_UNAVAILABLE", "503")] * 2 == refusals
    assert not ready
