"""What tests of backends share: small packages, and a look at a run until it ends."""

import asyncio
import json
import textwrap
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from services.submission.backends import (
    Backend,
    Execution,
    Failure,
    Limits,
    Observation,
    RunState,
    StepEvent,
)

DEADLINE_SECONDS = 60.0
LIMITS = Limits(time=timedelta(minutes=2))
"""So that what a failed test leaves behind ends by itself."""


async def keep_inputs(inputs: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Stands for stage-in where a job has no files to bring."""
    return inputs


def package(text: str) -> bytes:
    return textwrap.dedent(text).encode()


def shell_tool(script: str, *, outputs: str = "[]", requirements: str = "{}", version: str = "v1.2") -> bytes:
    """A tool that runs a shell script."""
    return package(
        f"""\
        cwlVersion: {version}
        class: CommandLineTool
        id: main
        requirements: {requirements}
        baseCommand: [sh, -c]
        arguments:
          - valueFrom: {_quoted(script)}
        inputs: []
        outputs: {outputs}
        """
    )


def python_tool(code: str, *, outputs: str = "[]", requirements: str = "{}") -> bytes:
    """A tool that runs Python code."""
    return package(
        f"""\
        cwlVersion: v1.2
        class: CommandLineTool
        id: main
        requirements: {requirements}
        baseCommand: [python3, -c]
        arguments:
          - valueFrom: {_quoted(code)}
        inputs: []
        outputs: {outputs}
        """
    )


def _quoted(text: str) -> str:
    # These begin an expression of CWL.
    return json.dumps(textwrap.dedent(text).replace("$(", "\\$(").replace("${", "\\${"))


ECHO = package(
    """\
    cwlVersion: v1.2
    class: CommandLineTool
    id: echo
    baseCommand: echo
    inputs:
      message: {type: string, inputBinding: {}}
    stdout: said.txt
    outputs:
      said: {type: stdout}
    """
)


def execution(document: bytes, inputs: dict[str, Any] | None = None, **changes: Any) -> Execution:
    """An attempt of a new job; `limits` and the fields of Execution may be changed."""
    if isinstance(changes.get("limits"), Limits) and changes["limits"].time > LIMITS.time:
        changes["limits"] = replace(changes["limits"], time=LIMITS.time)
    fields: dict[str, Any] = {
        "job_id": str(uuid.uuid4()),
        "attempt": 1,
        "workspace": "tests",
        "process_id": "process",
        "package": document,
        "workflow_id": "",
        "inputs": inputs or {},
        "limits": LIMITS,
    }
    return Execution(**{**fields, **changes})


@dataclass(kw_only=True)
class Ended:
    """A run from its start to its end, as somebody who followed it saw it."""

    handle: str
    last: Observation
    steps: list[StepEvent] = field(default_factory=list)
    logs: dict[str, bytes] = field(default_factory=dict)
    progress: list[int] = field(default_factory=list)

    @property
    def state(self) -> RunState:
        return self.last.state

    @property
    def failure(self) -> Failure:
        assert self.last.failure is not None, self.last
        return self.last.failure

    @property
    def outputs(self) -> dict[str, Any]:
        assert self.last.outputs is not None, (self.last, self.logs)
        return self.last.outputs

    @property
    def states(self) -> list[tuple[str, str]]:
        return [(event.step, event.state) for event in self.steps]

    def text(self, output: str) -> str:
        return path_of(self.outputs[output]).read_text()


def path_of(file: dict[str, Any]) -> Path:
    return Path(file["location"].removeprefix("file://"))


async def follow(backend: Backend, handle: str, *, cursor: str = "") -> Ended:
    """Observes a run until it has ended and everything is read, and checks what holds for every run on the way."""
    ended: Ended | None = None
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        seen = await backend.observe(handle, cursor)
        cursor = seen.cursor
        ended = ended or Ended(handle=handle, last=seen)
        ended.last = seen
        ended.steps += seen.steps
        if seen.progress is not None:
            if not ended.progress or ended.progress[-1] != seen.progress:
                ended.progress.append(seen.progress)
            assert ended.progress == sorted(ended.progress)
        assert sum(len(chunk.data) for chunk in seen.logs) <= 1 << 20
        for chunk in seen.logs:
            assert len(ended.logs.get(chunk.step, b"")) == chunk.offset
            ended.logs[chunk.step] = ended.logs.get(chunk.step, b"") + chunk.data
        if seen.state is not RunState.running and seen.drained:
            first = ended.steps[0].sequence if ended.steps else 1
            assert [event.sequence for event in ended.steps] == list(range(first, first + len(ended.steps)))
            return ended
        assert time.monotonic() < deadline, f"{handle} did not end: {ended}"
        await asyncio.sleep(0.01)


async def launch(backend: Backend, execution: Execution) -> str:
    """Prepares and starts an attempt."""
    return await backend.launch(await backend.stage(execution))


async def run(backend: Backend, document: bytes, inputs: dict[str, Any] | None = None, **changes: Any) -> Ended:
    """Runs a job to its end; what is left of it stays."""
    return await follow(backend, await launch(backend, execution(document, inputs, **changes)))


async def until(condition: Any, what: str = "the condition") -> None:
    """Waits until a condition holds, and fails when it never does."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        await asyncio.sleep(0.01)
