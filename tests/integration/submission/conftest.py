"""Submission as a process, over a database of its own."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.standalone.postgres import DatabaseAddresses
from tests.support.services import RunningService, running
from workflow_runner.v1.submission_service_pb2_grpc import SubmissionServiceStub


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a path short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="wr-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def submission_settings(directory: Path) -> dict[str, str]:
    return {
        "SUBMISSION_BACKEND__KIND": "cwltool",
        "SUBMISSION_BACKEND__RUNS_DIR": str(directory / "runs"),
        "SUBMISSION_SLOTS": "4",
    }


@pytest.fixture
async def submission(database: DatabaseAddresses, directory: Path) -> AsyncIterator[RunningService]:
    """The running service."""
    async with running("submission", directory, database.submission, submission_settings(directory)) as service:
        yield service


@pytest.fixture
def stub(submission: RunningService) -> SubmissionServiceStub:
    """A client of the service."""
    return SubmissionServiceStub(submission.channel)
