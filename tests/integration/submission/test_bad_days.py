"""What stays true when a process dies or something is away."""

import asyncio
from pathlib import Path

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct

from services.shared.postgres import Database
from services.standalone.postgres import DatabaseAddresses
from tests.integration.submission.conftest import submission_settings
from tests.integration.submission.test_main_job import GREET, cwl, ended, inputs, reason
from tests.support.services import RunningService, running
from workflow_runner.v1.submission_service_pb2 import DeployProcessRequest, ExecuteProcessRequest
from workflow_runner.v1.submission_service_pb2_grpc import SubmissionServiceStub

JOBS = 10


async def test_ten_jobs_end_as_they_would_have_when_submission_is_killed(
    database: DatabaseAddresses, directory: Path
) -> None:
    settings = submission_settings(directory)
    # The last one fails, and has to fail with its own reason whoever sees it end.
    document = GREET.replace(b"echo noise >&2", b'sleep 1; echo noise >&2; test "$0" != nobody || exit 3')
    async with running("submission", directory, database.submission, settings) as first:
        stub = SubmissionServiceStub(first.channel)
        process = await stub.DeployProcess(
            DeployProcessRequest(parent="workspaces/ada", package=cwl(document)), metadata=first.token()
        )
        names = [
            (
                await stub.ExecuteProcess(
                    ExecuteProcessRequest(name=process.name, inputs=inputs(whom="nobody" if number == 9 else "Ada")),
                    metadata=first.token(),
                )
            ).job.name
            for number in range(JOBS)
        ]
        async with Database.open(database.owner, application="test") as opened, asyncio.timeout(30):
            while not await opened.fetchval("SELECT count(*) FROM dispatch WHERE launched"):
                await asyncio.sleep(0.02)
        await first.kill()

    async with running("submission", directory, database.submission, settings):
        jobs = [await ended(database, name) for name in names]

    assert ["successful"] * 9 + ["failed"] == [job.state for job in jobs], [job.failure for job in jobs]
    assert jobs[-1].failure is not None
    assert 3 == jobs[-1].failure["exit_code"]
    assert {1} == {job.attempt for job in jobs}


async def test_a_database_that_is_away_is_said_and_comes_back(
    submission: RunningService, stub: SubmissionServiceStub, database: DatabaseAddresses
) -> None:
    request = ExecuteProcessRequest(name="workspaces/ada/processes/echo", inputs=inputs(message="x"))
    async with (
        Database.open(database.owner, application="test") as opened,
        Database.open(database.submission, application="test") as same_role,
    ):
        name = await same_role.fetchval("SELECT current_database()")
        # No new connections, and the ones there are cut: for this service the server is away.
        await opened.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')
        await same_role.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = $1 AND usename = current_user AND pid <> pg_backend_pid()
            """,
            name,
        )

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ExecuteProcess(request, metadata=submission.token())

        assert grpc.StatusCode.UNAVAILABLE is refused.value.code()
        assert "DATABASE_UNAVAILABLE" == reason(refused.value)
        await opened.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')
        answer = await stub.ExecuteProcess(request, metadata=submission.token())
        assert 1 == await opened.fetchval("SELECT count(*) FROM jobs")
    assert "successful" == (await ended(database, answer.job.name)).state


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ((), grpc.StatusCode.UNAUTHENTICATED),
        ((("authorization", "Bearer nonsense"),), grpc.StatusCode.UNAUTHENTICATED),
    ],
)
async def test_nothing_is_done_for_a_caller_that_nobody_knows(
    stub: SubmissionServiceStub, metadata: tuple[tuple[str, str], ...], code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ExecuteProcess(
            ExecuteProcessRequest(name="workspaces/ada/processes/echo", inputs=Struct()), metadata=metadata
        )

    assert code is refused.value.code()


async def test_a_foreign_workspace_is_refused_alike_for_what_exists_and_what_does_not(
    submission: RunningService, stub: SubmissionServiceStub
) -> None:
    await stub.DeployProcess(
        DeployProcessRequest(parent="workspaces/ada", package=cwl(GREET)), metadata=submission.token()
    )
    refusals = []
    for process in ("greet", "nothing"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ExecuteProcess(
                ExecuteProcessRequest(name=f"workspaces/ada/processes/{process}", inputs=inputs(whom="x")),
                metadata=submission.token(workspace="bob", user="bob"),
            )
        refusals.append((refused.value.code(), refused.value.details().replace(process, "it")))

    assert refusals[0] == refusals[1]


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("", (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_NAME")),
        ("workspaces/ada/processes/../x", (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_NAME")),
        ("workspaces/A_B/processes/echo", (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_NAME")),
        ("workspaces/ada/processes/" + "x" * 300, (grpc.StatusCode.NOT_FOUND, "NO_SUCH_PROCESS")),
        ("workspaces/ada/processes/a b", (grpc.StatusCode.NOT_FOUND, "NO_SUCH_PROCESS")),
    ],
)
async def test_a_name_that_is_none_is_refused(
    submission: RunningService, stub: SubmissionServiceStub, name: str, refusal: tuple[grpc.StatusCode, str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ExecuteProcess(ExecuteProcessRequest(name=name, inputs=Struct()), metadata=submission.token())

    assert refusal == (refused.value.code(), reason(refused.value))
