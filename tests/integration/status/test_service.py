"""Status as a process of its own: it starts, says what it needs, and stops in time."""

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest

from services.shared.postgres import Database
from services.standalone.postgres import DatabaseAddresses
from services.standalone.tokens import Issuer
from tests.integration.status.records import Records
from tests.support.rpc import error_info
from tests.support.services import environment, running
from workflow_runner.v1.status_service_pb2 import GetJobRequest, WatchJobRequest
from workflow_runner.v1.status_service_pb2_grpc import StatusServiceStub


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a path short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="wr-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


async def test_a_watch_ends_when_the_service_is_stopped(
    database: DatabaseAddresses, records: Records, directory: Path
) -> None:
    await records.process()
    job_id = await records.job(state="running")
    async with running("status", directory, database.status, {"STATUS_GRACE": "PT20S"}) as service:
        stub = StatusServiceStub(service.channel)
        name = f"workspaces/ada/jobs/{job_id}"
        stream = stub.WatchJob(WatchJobRequest(name=name), metadata=service.token())
        first = await anext(aiter(stream))
        job = await stub.GetJob(GetJobRequest(name=name), metadata=service.token())

        service.process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async for _ in stream:
                pass
        async with asyncio.timeout(5):
            ended = await service.process.wait()

    assert first.job.job_id == job.job_id
    assert "SHUTTING_DOWN" == error_info(refused.value).reason
    assert 0 == ended


async def test_a_watch_outlives_a_database_that_goes_away_for_a_while(
    database: DatabaseAddresses, reading: Database, records: Records, directory: Path
) -> None:
    await records.process()
    job_id = await records.job(state="running")
    async with running("status", directory, database.status) as service:
        stub = StatusServiceStub(service.channel)
        stream = stub.WatchJob(WatchJobRequest(name=f"workspaces/ada/jobs/{job_id}"), metadata=service.token())
        await anext(aiter(stream))
        await anext(aiter(stream))

        # Every connection of the service ends, as it does when the server is restarted. Other tests share the server.
        await reading.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = 'workflow-runner-status' AND datname = current_database()
            """
        )
        await records.move(job_id, "successful")
        async with asyncio.timeout(10):
            last = [message async for message in stream][-1]

    assert "successful" == last.events[-1].details["status"]


def test_the_settings_can_be_checked(directory: Path) -> None:
    settings = environment("status", directory, _issuer(directory), "postgresql://status:secret@host/name")

    checked = _check(settings)
    wrong = _check(settings | {"STATUS_KEEP_ALIVE": "PT0S", "STATUS_PAGES": "3"})

    assert 0 == checked.returncode
    assert "secret" not in checked.stdout
    assert 2 == wrong.returncode
    assert "STATUS_KEEP_ALIVE" in wrong.stderr
    assert "STATUS_PAGES is not a setting" in wrong.stderr


def _issuer(directory: Path) -> Issuer:
    (directory / "identity").mkdir()
    return Issuer(directory / "identity")


def _check(settings: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "services.status", "--check-config"],
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
