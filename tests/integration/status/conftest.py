"""Status behind its real layers, over a database of its own that is written as submission writes it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from services.shared.artifacts import ArtifactSettings, ArtifactStore
from services.shared.jobs import JobReader
from services.shared.loop import Loop
from services.shared.names import JobName, ProcessName
from services.shared.postgres import Database
from services.shared.processes import ProcessReader
from services.standalone.postgres import DatabaseAddresses
from services.status.events import EventStore
from services.status.jobs import JobListStore
from services.status.logs import LogReader, LogStore
from services.status.processes import ProcessListStore
from services.status.results import ResultReader
from services.status.service import StatusService, Stores
from services.status.tail import EventTail
from services.status.watch import Watcher
from tests.integration.status.records import Records
from tests.integration.status.serving import Status
from tests.support.rpc import open_channel
from tests.support.tokens import Tokens
from workflow_runner.v1.status_service_pb2_grpc import StatusServiceStub, add_StatusServiceServicer_to_server

KEEP_ALIVE = timedelta(seconds=0.3)


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.open(ArtifactSettings(url=f"file://{tmp_path}/artifacts"))


@pytest.fixture
async def records(database: DatabaseAddresses, artifacts: ArtifactStore) -> AsyncIterator[Records]:
    async with Database.open(database.submission, application="records", connections=12) as writing:
        yield Records(writing, artifacts)


@pytest.fixture
async def reading(database: DatabaseAddresses) -> AsyncIterator[Database]:
    """The database with the login of status."""
    async with Database.open(database.status, application="status") as opened:
        yield opened


@pytest.fixture
async def status(reading: Database, artifacts: ArtifactStore, tmp_path: Path) -> AsyncIterator[Status]:
    stores = Stores(
        processes=ProcessReader(reading),
        process_lists=ProcessListStore(reading),
        jobs=JobReader(reading),
        job_lists=JobListStore(reading),
        logs=LogStore(reading),
        artifacts=artifacts,
    )
    events = EventStore(reading)
    tail = EventTail(events)
    service = StatusService(
        stores,
        watcher=Watcher(stores.jobs, events, tail, keep_alive=KEEP_ALIVE),
        logs=LogReader(stores.logs, artifacts, tail, look_again=KEEP_ALIVE),
        results=ResultReader(artifacts),
    )
    tokens = Tokens(tmp_path / "issuer")
    loop = Loop(tail.step, name="tail", idle=timedelta(milliseconds=20))
    running = asyncio.create_task(loop.run())
    async with open_channel(
        lambda server: add_StatusServiceServicer_to_server(service, server),
        identity=tokens.identity,
        facts={ProcessName: stores.processes.facts, JobName: stores.jobs.facts},
    ) as channel:
        yield Status(StatusServiceStub(channel), tail, tokens)
    loop.stop()
    await running
