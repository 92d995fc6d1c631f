"""Starts status: the wiring of its parts, in the order in which they are opened."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import grpc.aio
import uvloop

from services.access.authorization import Authorizer
from services.access.identity import TokenVerifier
from services.access.policy import open_policy
from services.records.artifacts import ArtifactStore
from services.records.jobs import JobReader
from services.records.processes import ProcessReader
from services.records.schema import SchemaCheck
from services.serving.server import Layers, serve
from services.serving.settings import load
from services.shared.loop import Loop
from services.shared.names import JobName, ProcessName
from services.shared.postgres import Database
from services.shared.telemetry import open_telemetry
from services.status.callbacks import CallbackListStore
from services.status.events import EventStore
from services.status.jobs import JobListStore
from services.status.logs import LogReader, LogStore
from services.status.processes import ProcessListStore
from services.status.results import ResultReader
from services.status.service import StatusService, Stores
from services.status.settings import Settings
from services.status.shared_reads import SharedReads
from services.status.tail import EventTail
from services.status.watch import Watcher
from services.web.service import PageService
from workflow_runner.v1.page_service_pb2_grpc import add_PageServiceServicer_to_server
from workflow_runner.v1.status_service_pb2_grpc import add_StatusServiceServicer_to_server


async def run(settings: Settings) -> None:
    """Serves until told to stop."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            open_telemetry("status", export=settings.telemetry, log_level=settings.log_level)
        )
        database = await stack.enter_async_context(
            Database.open(
                settings.database.get_secret_value(),
                application="workflow-runner-status",
                connections=settings.database_connections,
            )
        )
        verifier = await stack.enter_async_context(TokenVerifier.open(settings.identity))
        policy = await stack.enter_async_context(open_policy(settings.policy))
        stores = Stores(
            processes=ProcessReader(database),
            process_lists=ProcessListStore(database),
            jobs=JobReader(database),
            job_lists=JobListStore(database),
            callbacks=CallbackListStore(database),
            logs=LogStore(database),
            artifacts=ArtifactStore.open(settings.artifacts),
        )
        events = EventStore(database)
        tail = EventTail(events)
        reads = SharedReads(at_once=max(1, settings.database_connections // 2))
        logs = LogReader(stores.logs, stores.artifacts, tail, look_again=settings.keep_alive)
        service = StatusService(
            stores,
            watcher=Watcher(stores.jobs, events, tail, reads=reads, keep_alive=settings.keep_alive),
            logs=logs,
            results=ResultReader(stores.artifacts),
        )
        pages = PageService(service, stores, logs=logs)

        def register(server: grpc.aio.Server) -> None:
            add_StatusServiceServicer_to_server(service, server)
            add_PageServiceServicer_to_server(pages, server)

        authorizer = Authorizer(
            policy, {ProcessName: stores.processes.facts, JobName: reads.reader("facts", stores.jobs.facts)}
        )
        await serve(
            register,
            Layers(verifier, authorizer, public_url=settings.public_root),
            serving=settings.serving,
            loops=[
                Loop(tail.step, name="tail", idle=settings.event_interval, longest_pause=timedelta(seconds=2)),
            ],
            ready=SchemaCheck(database).is_ready,
            end_streams=tail.close,
        )


def main() -> None:
    """Reads the settings and serves."""
    uvloop.install()
    asyncio.run(run(load(Settings)))


if __name__ == "__main__":
    main()
