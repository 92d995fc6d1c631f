"""A backend for tests of the dispatcher: what its runs do is told by the test, and nothing is started."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from services.submission.backends import (
    Execution,
    Failure,
    FailureReason,
    LogChunk,
    NotStaged,
    Observation,
    Run,
    RunState,
    StepEvent,
)


@dataclass
class Script:
    """What a run does. Each look shows its next state; the last one stays."""

    states: list[RunState] = field(default_factory=lambda: [RunState.successful])
    outputs: dict[str, Any] | None = field(default_factory=dict)
    failure: Failure | None = None
    steps: tuple[StepEvent, ...] = ()
    logs: tuple[LogChunk, ...] = ()
    stage_fails: list[Exception] = field(default_factory=list)
    launch_fails: list[Exception] = field(default_factory=list)
    observe_fails: list[Exception] = field(default_factory=list)
    dismiss_fails: list[Exception] = field(default_factory=list)
    arrival: asyncio.Event | None = None
    """What stage-in waits for."""


class FakeBackend:
    """Keeps runs in memory, as one directory of them. Passes the contract suite of backends."""

    def __init__(self, root: Path, *, directory: str = "here") -> None:
        self.root = root
        self.scripts: defaultdict[str, Script] = defaultdict(Script)
        """By the input `message` of the job."""
        self.staged: dict[str, Execution] = {}
        self.started: dict[str, Execution] = {}
        self.ages: dict[str, timedelta] = {}
        self.calls: list[tuple[str, str]] = []
        self._directory = directory
        self._looks: defaultdict[str, int] = defaultdict(int)

    @property
    def directory(self) -> str:
        return self._directory

    def script_of(self, execution: Execution) -> Script:
        return self.scripts[str(execution.inputs.get("message"))]

    def called(self, call: str) -> list[str]:
        """The messages of the jobs that a call was made for."""
        return [message for name, message in self.calls if name == call]

    def _call(self, name: str, execution: Execution, fails: list[Exception]) -> None:
        self.calls.append((name, str(execution.inputs.get("message"))))
        if fails:
            raise fails.pop(0) if len(fails) > 1 or not getattr(fails[0], "always", False) else fails[0]

    async def stage(self, execution: Execution) -> str:
        handle = f"{execution.job_id}-{execution.attempt}"
        script = self.script_of(execution)
        if handle in self.started or handle in self.staged:
            return handle
        self.staged[handle] = execution
        try:
            self._call("stage", execution, script.stage_fails)
            if script.arrival is not None:
                await script.arrival.wait()
        except BaseException:
            del self.staged[handle]
            raise
        return handle

    async def launch(self, staged: str) -> str:
        if staged in self.started:
            return staged
        if staged not in self.staged:
            raise NotStaged(staged)
        execution = self.staged[staged]
        self._call("launch", execution, self.script_of(execution).launch_fails)
        self.started[staged] = self.staged.pop(staged)
        return staged

    async def observe(self, handle: str, cursor: str) -> Observation:
        if handle not in self.started:
            failure = Failure(reason=FailureReason.BACKEND_LOST_JOB, message="Nothing is left of the run of this job.")
            return self._seen(RunState.lost, cursor, failure=failure)
        execution = self.started[handle]
        script = self.script_of(execution)
        self._call("observe", execution, script.observe_fails)
        state = script.states[min(self._looks[handle], len(script.states) - 1)]
        self._looks[handle] += 1
        fresh = cursor == ""
        over = state is not RunState.running
        return self._seen(
            state,
            "seen",
            steps=script.steps if fresh else (),
            logs=script.logs if fresh else (),
            outputs=script.outputs if state is RunState.successful else None,
            failure=script.failure,
            drained=over,
        )

    def _seen(self, state: RunState, cursor: str, **fields: Any) -> Observation:
        known: dict[str, Any] = {"steps": (), "logs": (), "outputs": None, "failure": None, "drained": True}
        successful = state is RunState.successful
        return Observation(
            state=state,
            progress=100 if successful else 10,
            output_root=self.root if successful else None,
            cursor=cursor,
            **{**known, **fields},
        )

    async def dismiss(self, handle: str) -> None:
        execution = self.started.get(handle) or self.staged.get(handle)
        if execution is None:
            return
        self._call("dismiss", execution, self.script_of(execution).dismiss_fails)
        self.started.pop(handle, None)
        self.staged.pop(handle, None)

    async def find(self, job_id: str, attempt: int) -> str | None:
        handle = f"{job_id}-{attempt}"
        return handle if handle in self.started or handle in self.staged else None

    async def runs(self) -> list[Run]:
        return [
            Run(handle=handle, job_id=execution.job_id, age=self.ages.get(handle, timedelta(days=7)))
            for handle, execution in {**self.started, **self.staged}.items()
        ]


def step(name: str, state: Any, sequence: int, exit_code: int | None = None) -> StepEvent:
    return StepEvent(sequence=sequence, step=name, state=state, time=datetime.now(UTC), exit_code=exit_code)
