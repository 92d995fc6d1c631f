"""What is refused while a disk is nearly full, and that it comes back by itself. The disk is a small one in memory."""

import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from services.standalone.postgres import DatabaseAddresses
from tests.integration.submission.conftest import submission_settings
from tests.integration.submission.test_main_job import GREET, cwl, ended, inputs, reason
from tests.support.services import RunningService, running
from workflow_runner.v1.submission_service_pb2 import (
    DeployProcessRequest,
    ExecuteProcessRequest,
    ReplaceProcessRequest,
)
from workflow_runner.v1.submission_service_pb2_grpc import SubmissionServiceStub

ECHO = ExecuteProcessRequest(name="workspaces/ada/processes/echo", inputs=inputs(message="x"))
DEPLOY = DeployProcessRequest(parent="workspaces/ada", package=cwl(GREET))


@pytest.fixture
def disk(directory: Path) -> Iterator[Path]:
    """A disk of 20 MiB, 2 of which are the mark."""
    place = directory / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
async def service(database: DatabaseAddresses, directory: Path, disk: Path) -> AsyncIterator[RunningService]:
    settings = submission_settings(directory) | {
        "SUBMISSION_SPACE__PATHS": json.dumps({"database": str(disk)}),
        "SUBMISSION_SPACE__FREE_MIB": "2",
    }
    async with running("submission", directory, database.submission, settings) as opened:
        yield opened


async def test_nothing_new_is_taken_on_a_full_disk_and_all_of_it_later(
    service: RunningService, database: DatabaseAddresses, disk: Path
) -> None:
    stub = SubmissionServiceStub(service.channel)
    process = await stub.DeployProcess(DEPLOY, metadata=service.token())
    greet = ExecuteProcessRequest(name=process.name, inputs=inputs(whom="Ada"))
    (disk / "full").write_bytes(bytes(19 << 20))

    for call in (
        stub.ExecuteProcess(ECHO, metadata=service.token()),
        stub.ExecuteProcess(greet, metadata=service.token()),
        stub.ReplaceProcess(
            ReplaceProcessRequest(name=process.name, package=cwl(GREET.replace(b"Greets", b"Greets you"))),
            metadata=service.token(),
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call
        assert (grpc.StatusCode.UNAVAILABLE, "STORAGE_FULL") == (refusal.value.code(), reason(refusal.value))
        assert "(database) is nearly full: 1 MiB are free, and below 2 MiB nothing new is taken" in (
            refusal.value.details() or ""
        )
        assert 30 == _retry_seconds(refusal.value)
    checked = await stub.ExecuteProcess(
        ExecuteProcessRequest(name=process.name, inputs=inputs(whom="Ada"), validate_only=True),
        metadata=service.token(),
    )
    assert checked.document.data

    os.unlink(disk / "full")
    accepted = await stub.ExecuteProcess(greet, metadata=service.token())
    assert "successful" == (await ended(database, accepted.job.name)).state


def _retry_seconds(error: grpc.aio.AioRpcError) -> int | None:
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    retry = error_details_pb2.RetryInfo()
    return next((int(retry.retry_delay.seconds) for detail in status.details if detail.Unpack(retry)), None)
