"""Starts the ingestion service."""

from contextlib import AsyncExitStack

import uvloop

from services.access.authorization import Authorizer
from services.access.identity import TokenVerifier
from services.access.policy import open_policy
from services.ingestion.actions import ActionStore
from services.ingestion.harvester import Harvester
from services.ingestion.ingestions import IngestionStore
from services.ingestion.packages import Packages
from services.ingestion.service import IngestionService
from services.ingestion.settings import Settings
from services.ingestion.submission import SubmissionClient, TokenFile
from services.records.schema import SchemaCheck
from services.serving.server import Layers, serve
from services.serving.settings import load
from services.shared.loop import Loop
from services.shared.names import IngestionName
from services.shared.postgres import Database
from services.shared.telemetry import open_telemetry
from workflow_runner.v1.ingestion_service_pb2_grpc import add_IngestionServiceServicer_to_server


async def run(settings: Settings) -> None:
    """Serves until told to stop."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            open_telemetry("ingestion", export=settings.telemetry, log_level=settings.log_level)
        )
        database = await stack.enter_async_context(
            Database.open(
                settings.database.get_secret_value(),
                application="ingestion",
                connections=settings.database_connections,
            )
        )
        policy = await stack.enter_async_context(open_policy(settings.policy))
        verifier = await stack.enter_async_context(TokenVerifier.open(settings.identity))
        submission = await stack.enter_async_context(
            SubmissionClient.open(
                settings.submission_address, TokenFile(settings.token_file), deadline=settings.call_deadline
            )
        )
        ingestions, packages = IngestionStore(database), Packages(settings.packages)
        harvester = Harvester(
            ActionStore(database), packages, submission, lease=settings.lease, give_up_after=settings.give_up_after
        )
        loops = [
            Loop(harvester.step, name=f"harvester-{number}", idle=settings.harvest_interval)
            for number in range(settings.harvesters)
        ]

        def wake() -> None:
            for loop in loops:
                loop.wake()

        service = IngestionService(ingestions, packages, wake=wake)
        await serve(
            lambda server: add_IngestionServiceServicer_to_server(service, server),
            Layers(
                verifier,
                Authorizer(policy, {IngestionName: ingestions.facts}),
                public_url=settings.public_root,
            ),
            serving=settings.serving,
            loops=loops,
            ready=SchemaCheck(database).is_ready,
        )


def main() -> None:
    """Reads the settings and serves."""
    uvloop.run(run(load(Settings)))


if __name__ == "__main__":
    main()
