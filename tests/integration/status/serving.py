"""Status as its callers have it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import grpc.aio

from services.records.artifacts import ArtifactStore
from services.records.jobs import JobReader
from services.records.processes import ProcessReader
from services.shared.loop import Loop
from services.shared.names import JobName, ProcessName
from services.shared.postgres import Database
from services.standalone.tokens import Role
from services.status.callbacks import CallbackListStore
from services.status.events import EventStore
from services.status.jobs import JobListStore
from services.status.logs import LogReader, LogStore
from services.status.processes import ProcessListStore
from services.status.results import ResultReader
from services.status.service import StatusService, Stores
from services.status.shared_reads import SharedReads
from services.status.tail import EventTail
from services.status.watch import Watcher
from services.web.service import PageService
from tests.support.rpc import bearer, open_channel, over_rest
from tests.support.tokens import Tokens
from workflow_runner.v1.page_service_pb2_grpc import PageServiceStub, add_PageServiceServicer_to_server
from workflow_runner.v1.status_service_pb2_grpc import StatusServiceStub, add_StatusServiceServicer_to_server

KEEP_ALIVE = timedelta(seconds=0.3)


@dataclass
class Status:
    """The service as its callers have it, and what is behind it."""

    stub: StatusServiceStub
    pages: PageServiceStub
    tail: EventTail
    tokens: Tokens

    def as_user(
        self, workspace: str = "ada", role: Role = "owner", *, user: str = "ada"
    ) -> tuple[tuple[str, str], ...]:
        """The metadata of a gRPC call."""
        return bearer(self.tokens.user(workspace, role, user=user))

    def over_rest(self, path: str, **headers: str) -> tuple[tuple[str, str], ...]:
        """The metadata of a call by ada that came over REST."""
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return (*self.as_user(), *over_rest(path), *named)


@asynccontextmanager
async def open_status(reading: Database, artifacts: ArtifactStore, tokens: Tokens) -> AsyncIterator[Status]:
    """Serves for the time of the context."""
    stores = Stores(
        processes=ProcessReader(reading),
        process_lists=ProcessListStore(reading),
        jobs=JobReader(reading),
        job_lists=JobListStore(reading),
        callbacks=CallbackListStore(reading),
        logs=LogStore(reading),
        artifacts=artifacts,
    )
    events = EventStore(reading)
    tail = EventTail(events)
    logs = LogReader(stores.logs, artifacts, tail, look_again=KEEP_ALIVE)
    service = StatusService(
        stores,
        watcher=Watcher(stores.jobs, events, tail, reads=SharedReads(at_once=2), keep_alive=KEEP_ALIVE),
        logs=logs,
        results=ResultReader(artifacts),
    )

    def register(server: grpc.aio.Server) -> None:
        add_StatusServiceServicer_to_server(service, server)
        add_PageServiceServicer_to_server(PageService(service, stores, logs=logs), server)

    loop = Loop(tail.step, name="tail", idle=timedelta(milliseconds=20))
    running = asyncio.create_task(loop.run())
    async with open_channel(
        register,
        identity=tokens.identity,
        facts={ProcessName: stores.processes.facts, JobName: stores.jobs.facts},
    ) as channel:
        yield Status(StatusServiceStub(channel), PageServiceStub(channel), tail, tokens)
    loop.stop()
    await running
