"""The ingestion service as a process of its own, as it is installed."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api.httpbody_pb2 import HttpBody

from services.standalone.postgres import DatabaseAddresses
from tests.integration.ingestion.fake_submission import package, serve_submission
from tests.support.services import RunningService, running
from tests.support.tokens import Tokens
from workflow_runner.v1.ingestion_pb2 import Ingestion, IngestionAction
from workflow_runner.v1.ingestion_service_pb2 import GetIngestionRequest, IngestHarvestRequest
from workflow_runner.v1.ingestion_service_pb2_grpc import IngestionServiceStub

GREET = b"""\
cwlVersion: v1.2
class: CommandLineTool
id: greet
doc: Says %s.
baseCommand: echo
inputs: {}
outputs: {}
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a path short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="wr-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def settings(directory: Path) -> dict[str, str]:
    return {
        "INGESTION_SUBMISSION_ADDRESS": f"unix:{directory}/submission.sock",
        "INGESTION_TOKEN_FILE": str(Tokens(directory / "identity").ingestion_file()),
        "INGESTION_PACKAGES__URL": (directory / "harvest").as_uri(),
        "INGESTION_PACKAGES__BUCKETS": '{"packages": ["*"]}',
        "INGESTION_HARVEST_INTERVAL": "PT0.1S",
        "INGESTION_LEASE": "PT5S",
    }


async def ended(service: RunningService, name: str) -> Ingestion:
    stub = IngestionServiceStub(service.channel)
    async with asyncio.timeout(20):
        while True:
            ingestion: Ingestion = await stub.GetIngestion(GetIngestionRequest(name=name), metadata=service.token())
            if ingestion.HasField("end_time"):
                return ingestion
            # Another process is at work, and has no way to tell.
            await asyncio.sleep(0.05)


async def send(service: RunningService, **members: Any) -> Ingestion:
    message = {"bucket_name": "packages", "source": "git", "target": "", **members}
    ingestion: Ingestion = await IngestionServiceStub(service.channel).IngestHarvest(
        IngestHarvestRequest(
            parent="workspaces/ada",
            message=HttpBody(content_type="application/json", data=json.dumps(message).encode()),
        ),
        metadata=service.token(),
    )
    return ingestion


def put(directory: Path, key: str, content: bytes) -> None:
    path = directory / "harvest" / "packages" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


async def test_what_was_taken_in_before_a_kill_is_done_after_it(database: DatabaseAddresses, directory: Path) -> None:
    put(directory, "ndvi.cwl", package("ndvi"))
    async with running("ingestion", directory, database.ingestion, settings(directory)) as service:
        accepted = await send(service, added_keys=["ndvi.cwl"])
        await service.kill()

    async with (
        serve_submission(f"unix:{directory}/submission.sock") as submission,
        running("ingestion", directory, database.ingestion, settings(directory)) as service,
    ):
        ingestion = await ended(service, accepted.name)

    assert ingestion.state == Ingestion.successful
    assert list(submission.processes) == ["workspaces/ada/processes/ndvi"]


async def test_submission_itself_deploys_replaces_and_undeploys(database: DatabaseAddresses, directory: Path) -> None:
    submission_settings = {"SUBMISSION_BACKEND__KIND": "cwltool", "SUBMISSION_BACKEND__RUNS_DIR": f"{directory}/runs"}
    async with (
        running("submission", directory, database.submission, submission_settings),
        running("ingestion", directory, database.ingestion, settings(directory)) as service,
    ):
        seen: list[tuple[Any, str, int]] = []
        for text, members in (
            ("one", {"added_keys": ["greet.cwl", "bad.cwl"]}),
            ("one", {"updated_keys": ["greet.cwl"]}),
            ("two", {"updated_keys": ["greet.cwl"]}),
            ("two", {"deleted_keys": ["greet.cwl"]}),
        ):
            put(directory, "greet.cwl", GREET % text.encode())
            put(directory, "bad.cwl", b"cwlVersion: v1.2\n- broken")
            ingestion = await ended(service, (await send(service, id=str(len(seen)), **members)).name)
            seen.append((ingestion.actions[0].state, ingestion.actions[0].process_id, ingestion.actions[0].revision))
            if len(ingestion.actions) > 1:
                refused = ingestion.actions[1]

    done = IngestionAction.successful
    assert seen == [(done, "greet", 1), (done, "greet", 1), (done, "greet", 2), (done, "greet", 0)]
    assert refused.state == IngestionAction.failed
    assert refused.message
