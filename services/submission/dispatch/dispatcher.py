"""Puts the stages together: for each backend the workers that move its jobs, and what wakes them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from services.records.artifacts import ArtifactStore
from services.shared.loop import Loop
from services.shared.postgres import Database
from services.submission.backends import Backend
from services.submission.dispatch.directories import DirectoryStore, Keeper, RunSweeper
from services.submission.dispatch.executions import Executions
from services.submission.dispatch.launch import ImmediateLauncher, Launcher
from services.submission.dispatch.logs import LogKeeper
from services.submission.dispatch.observe import Observer
from services.submission.dispatch.patience import Patience
from services.submission.dispatch.publish import Ender
from services.submission.dispatch.queue import Lane, Queue
from services.submission.dispatch.release import Releaser
from services.submission.dispatch.stage import Stager
from services.submission.dispatch.worker import Leases, Step, Worker
from services.submission.settings import DispatchSettings

IDLE = timedelta(seconds=1)
"""How often a stage looks for work that nobody here has told it of."""
SEEN_INTERVAL = timedelta(seconds=5)
SWEEP_INTERVAL = timedelta(minutes=1)
LAUNCH_FAULTS = 12
FAULTS = 5

# Which workers have work when a job comes into a stage: the next one, and the launcher where a slot has become free.
WOKEN = {
    "waiting": ("stage", "launch"),
    "staged": ("launch",),
    "running": ("look",),
    "publishing": ("publish", "launch", "stage"),
    "releasing": ("release", "launch", "stage"),
}


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How many jobs run at a time, and how often they are looked at."""

    slots: int
    look_interval: timedelta


class Dispatcher:
    """Moves the jobs of all backends."""

    def __init__(
        self,
        database: Database,
        executions: Executions,
        artifacts: ArtifactStore,
        *,
        pace: Pace,
        settings: DispatchSettings,
        has_room: Callable[[], bool],
    ) -> None:
        self._database = database
        self._executions = executions
        self._artifacts = artifacts
        self._pace = pace
        self._settings = settings
        self._has_room = has_room
        self._queue = Queue(database)
        self.leases = Leases(self._queue)
        self.workers: dict[tuple[str, str], Worker] = {}
        self._loops: list[Loop] = [self.leases.loop]

    @asynccontextmanager
    async def open(self, backends: Mapping[str, Backend]) -> AsyncIterator["Dispatcher"]:
        """Serves backends by their names, the configured one under the empty name; what is under way when the context
        ends is put back."""
        for name, backend in backends.items():
            lane = Lane(backend=name, directory=backend.directory)
            if lane.directory:
                self._add_place(lane, backend)
            self._add_workers(lane, backend)
        try:
            yield self
        finally:
            await asyncio.gather(*(worker.close() for worker in self.workers.values()))

    @property
    def loops(self) -> list[Loop]:
        """Everything that has to run."""
        return [*self._loops, *(worker.loop for worker in self.workers.values())]

    def wake(self, stage: str = "waiting") -> None:
        """Says that jobs have come into a stage."""
        if stage == "releasing":
            # What was being done for them ends with their claims.
            self.leases.loop.wake()
        for (_, name), worker in self.workers.items():
            if name in WOKEN[stage]:
                worker.loop.wake()

    def _add_place(self, lane: Lane, backend: Backend) -> None:
        store = DirectoryStore(self._database)
        keeper = Keeper(
            store,
            self._queue,
            lane,
            backend,
            host=socket.gethostname(),
            given_up_after=self._settings.given_up_after,
        )
        sweeper = RunSweeper(store, lane, backend, kept_for=self._settings.unknown_runs_kept)
        self._loops.append(Loop(keeper.step, name="directories", idle=SEEN_INTERVAL))
        self._loops.append(Loop(sweeper.step, name="sweep-runs", idle=SWEEP_INTERVAL))

    def _add_workers(self, lane: Lane, backend: Backend) -> None:
        settings, queue = self._settings, self._queue
        launches = Patience(faults=LAUNCH_FAULTS, outage=settings.outage)
        patience = Patience(faults=FAULTS, outage=settings.outage)
        if lane.directory:
            stager = Stager(
                queue,
                lane,
                backend,
                self._executions,
                places=settings.stagings,
                places_each=settings.stagings_each,
                slots=self._pace.slots,
                time_limit=settings.staging_time,
                patience=launches,
                has_room=self._has_room,
            )
            self._add(lane, "stage", stager)
            launcher: Step = Launcher(
                queue, lane, backend, slots=self._pace.slots, patience=launches, has_room=self._has_room
            )
        else:
            launcher = ImmediateLauncher(queue, lane, backend, self._executions, patience=launches)
        self._add(lane, "launch", launcher)
        interval = self._pace.look_interval
        logs = LogKeeper(self._artifacts)
        observer = Observer(queue, lane, backend, logs, interval=interval, patience=patience)
        self._add(lane, "look", observer, idle=interval / 2)
        ender = Ender(
            queue,
            lane,
            backend,
            self._artifacts,
            logs,
            places=settings.publications,
            time_limit=settings.publication_time,
            patience=patience,
        )
        self._add(lane, "publish", ender)
        self._add(lane, "release", Releaser(queue, lane, backend, patience=patience))

    def _add(self, lane: Lane, name: str, step: Step, *, idle: timedelta = IDLE) -> None:
        title = f"{lane.backend or 'run'}-{name}"
        self.workers[lane.backend, name] = Worker(step, self._queue, self.leases, name=title, idle=idle, wake=self.wake)
