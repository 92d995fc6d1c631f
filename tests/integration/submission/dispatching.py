"""A dispatcher over a real database and a fake backend, moved by steps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from services.records.artifacts import ArtifactSettings, ArtifactStore
from services.records.jobs import Job
from services.records.processes import package_key
from services.shared.names import ProcessName
from services.shared.postgres import Database
from services.submission.acceptance import Caller, JobStore
from services.submission.backends import Limits
from services.submission.builtin.backend import Builtin
from services.submission.builtin.echo import ECHO, echo
from services.submission.dispatch.directories import DirectoryStore, Keeper
from services.submission.dispatch.dispatcher import Dispatcher, Pace
from services.submission.dispatch.executions import Executions, LimitsPolicy
from services.submission.dispatch.queue import Lane, Queue
from services.submission.execution.revisions import RevisionReader
from services.submission.processes import Deployable, ProcessStore
from services.submission.settings import DispatchSettings
from tests.fake_backend import FakeBackend

DIGEST = "sha256:" + "0" * 64
TAKES = Deployable(
    digest=DIGEST,
    media_type="application/cwl+yaml",
    workflow_id="",
    description={
        "id": "takes",
        "version": "1.0.0",
        "inputs": {"message": {"schema": {"type": "string"}, "minOccurs": 1, "maxOccurs": 1}},
        "outputs": {},
    },
    cwl_inputs={"message": {"type": "string"}},
)
DAYS = timedelta(days=7)


@dataclass
class Replica:
    """One process of submission, as far as it dispatches."""

    dispatcher: Dispatcher
    backend: FakeBackend
    keeper: Keeper
    lane: Lane
    time: list[float]

    async def step(self, name: str, backend: str = "") -> bool:
        """Takes one step of a stage, and waits until what it began is done."""
        worked = await self.begin(name, backend)
        await self.dispatcher.workers[backend, name].rest()
        return worked

    async def begin(self, name: str, backend: str = "") -> bool:
        """Takes one step of a stage, and waits for nothing."""
        return await self.dispatcher.workers[backend, name].step()


@dataclass
class Installation:
    """What the replicas have in common."""

    database: Database
    artifacts: ArtifactStore
    jobs: JobStore
    queue: Queue
    root: Path
    has_room: bool = True
    """Whether the disks have room for more jobs."""

    @asynccontextmanager
    async def replica(
        self, *, directory: str = "here", slots: int = 2, settings: DispatchSettings | None = None
    ) -> AsyncIterator[Replica]:
        """A process that serves a directory of runs."""
        backend = FakeBackend(self.root, directory=directory)
        settings = settings or DispatchSettings()
        executions = Executions(
            RevisionReader(self.database), self.artifacts, LimitsPolicy(Limits(), network_workspaces=frozenset())
        )
        dispatcher = Dispatcher(
            self.database,
            executions,
            self.artifacts,
            pace=Pace(slots=slots, look_interval=timedelta(0)),
            settings=settings,
            has_room=lambda: self.has_room,
        )
        time = [0.0]
        lane = Lane(backend="", directory=directory)
        keeper = Keeper(
            DirectoryStore(self.database),
            self.queue,
            lane,
            backend,
            host=f"host of {directory}",
            given_up_after=settings.given_up_after,
            clock=lambda: time[0],
        )
        async with dispatcher.open({"": backend, "builtin": Builtin()}):
            await keeper.step()
            yield Replica(dispatcher, backend, keeper, lane, time)

    async def accept(self, message: str, *, workspace: str = "ada", process: str = "takes") -> Job:
        """A job whose run follows the script of a name."""
        store = ProcessStore(self.database)
        name = ProcessName(workspace, process)
        if process == ECHO:
            await store.install(ECHO, echo())
        elif not await self.database.fetchval("SELECT true FROM processes WHERE workspace = $1", workspace):
            await store.deploy(name, TAKES, owner="ada")
        request = {"inputs": {"message": message}}
        caller = Caller(subject="ada", workspace=workspace)
        return await self.jobs.accept(await store.get(name), request, caller, idempotency_key=None)

    async def due(self, *, ago: timedelta = timedelta(0)) -> None:
        """Lets pauses and leases be over; and what began to fail, have begun so long ago."""
        await self.database.execute(
            "UPDATE dispatch SET due_time = now(), failing_since = failing_since - $1::interval", ago
        )

    async def stages(self) -> dict[str, str]:
        """Where each job in the queue stands, by the message of its input."""
        rows = await self.database.fetch(
            """
            SELECT request -> 'inputs' ->> 'message' AS message, stage FROM dispatch JOIN jobs USING (job_id)
            ORDER BY job_id
            """
        )
        return {row["message"]: row["stage"] for row in rows}

    async def ended(self, job: Job) -> Job:
        """How a job ended."""
        found = await self.jobs.get(job.name)
        assert found.ended, found
        return found


@asynccontextmanager
async def installed(address: str, root: Path) -> AsyncIterator[Installation]:
    """A database, an object store, and a package in it."""
    artifacts = ArtifactStore.open(ArtifactSettings(url=(root / "artifacts").as_uri()))
    await artifacts.put(package_key(DIGEST), b"cwlVersion: v1.2")
    async with Database.open(address, application="test", connections=10) as database:
        yield Installation(database, artifacts, JobStore(database), Queue(database), root)


async def settle() -> None:
    """Lets tasks that can go on go on."""
    for _ in range(50):
        await asyncio.sleep(0)


def always(error: Exception) -> list[Exception]:
    """A failure that comes back with every attempt."""
    error.always = True  # type: ignore[attr-defined]
    return [error]
