"""Runs the built-in processes: nothing is kept anywhere but in the handle."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from services.submission.backends import Execution, Observation, Run, RunState


def _now() -> datetime:
    return datetime.now(UTC)


class Builtin:
    """Echoes its inputs, after `pause` seconds where the inputs have one."""

    def __init__(self, clock: Callable[[], datetime] = _now) -> None:
        self._clock = clock

    @property
    def directory(self) -> str:
        """Runs are nowhere."""
        return ""

    async def stage(self, execution: Execution) -> str:
        """There is nothing to bring."""
        return orjson.dumps(execution.inputs).decode()

    async def launch(self, staged: str) -> str:
        """Puts everything that the end will need into the handle."""
        started = self._clock()
        outputs: dict[str, Any] = orjson.loads(staged)
        handle = {
            "started": started.isoformat(),
            "ends": (started + timedelta(seconds=outputs.get("pause") or 0)).isoformat(),
            "outputs": outputs,
        }
        return orjson.dumps(handle).decode()

    async def observe(self, handle: str, cursor: str) -> Observation:
        """Looks at the clock."""
        run: dict[str, Any] = orjson.loads(handle)
        started, ends = datetime.fromisoformat(run["started"]), datetime.fromisoformat(run["ends"])
        now = self._clock()
        over = now >= ends
        percent = 100 if over else int(100 * (now - started) / (ends - started))
        return Observation(
            state=RunState.successful if over else RunState.running,
            progress=max(0, min(100, percent)),
            steps=(),
            logs=(),
            outputs=run["outputs"] if over else None,
            output_root=None,
            failure=None,
            cursor=cursor,
            drained=True,
        )

    async def dismiss(self, handle: str) -> None:
        """There is nothing to end."""

    async def find(self, job_id: str, attempt: int) -> str | None:
        """There is nothing to find."""
        return None

    async def runs(self) -> list[Run]:
        """There is nothing to remove."""
        return []
