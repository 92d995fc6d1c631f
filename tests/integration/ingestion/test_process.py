"""The ingestion service as a process of its own, as it is installed."""

import asyncio
import json
import tempfile
from pathlib import Path

from google.api.httpbody_pb2 import HttpBody

from services.standalone.postgres import DatabaseAddresses
from tests.integration.ingestion.fake_submission import package, serve_submission
from tests.support.services import RunningService, running
from tests.support.tokens import Tokens
from workflow_runner.v1.ingestion_pb2 import Ingestion
from workflow_runner.v1.ingestion_service_pb2 import GetIngestionRequest, IngestHarvestRequest
from workflow_runner.v1.ingestion_service_pb2_grpc import IngestionServiceStub


def settings(directory: Path) -> dict[str, str]:
    return {
        "INGESTION_SUBMISSION_ADDRESS": f"unix:{directory}/submission.sock",
        "INGESTION_TOKEN_FILE": str(Tokens(directory / "identity").ingestion_file()),
        "INGESTION_PACKAGES__URL": (directory / "harvest").as_uri(),
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


async def test_what_was_taken_in_before_a_kill_is_done_after_it(database: DatabaseAddresses) -> None:
    message = {"bucket_name": "packages", "source": "git", "target": "", "added_keys": ["ndvi.cwl"]}
    with tempfile.TemporaryDirectory(prefix="wr-") as name:
        directory = Path(name)
        (directory / "harvest" / "packages").mkdir(parents=True)
        (directory / "harvest" / "packages" / "ndvi.cwl").write_bytes(package("ndvi"))

        async with running("ingestion", directory, database.ingestion, settings(directory)) as service:
            accepted = await IngestionServiceStub(service.channel).IngestHarvest(
                IngestHarvestRequest(
                    parent="workspaces/ada",
                    message=HttpBody(content_type="application/json", data=json.dumps(message).encode()),
                ),
                metadata=service.token(),
            )
            await service.kill()
        async with (
            serve_submission(f"unix:{directory}/submission.sock") as submission,
            running("ingestion", directory, database.ingestion, settings(directory)) as service,
        ):
            ingestion = await ended(service, accepted.name)

    assert ingestion.state == Ingestion.successful
    assert list(submission.processes) == ["workspaces/ada/processes/ndvi"]
