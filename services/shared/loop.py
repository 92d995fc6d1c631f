"""Runs a `step()` for ever: the only endless loop there is."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

log = structlog.get_logger()

Step = Callable[[], Awaitable[bool]]


class Loop:
    """Calls `step` again and again, at once while there is work, otherwise when `idle` is over or `wake` was called.

    It stops between steps, never inside one. A step that fails is logged and tried again after a pause that grows to
    `longest_pause`.
    """

    def __init__(
        self, step: Step, *, name: str, idle: timedelta, longest_pause: timedelta = timedelta(seconds=10)
    ) -> None:
        self._step = step
        self._name = name
        self._idle = idle.total_seconds()
        self._longest_pause = longest_pause.total_seconds()
        self._woken = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """Says that there is work. May be called at any time, from the loop's own thread."""
        self._woken.set()

    def stop(self) -> None:
        """Lets the loop end after the step it is in."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Runs until `stop`."""
        failures = 0
        while not self._stopping:
            self._woken.clear()
            try:
                worked = await self._step()
            except Exception:
                failures += 1
                pause = min(self._longest_pause, 0.1 * 2 ** min(failures, 10))
                log.warning("A step failed and will be tried again.", loop=self._name, failures=failures, exc_info=True)
                await self._pause(pause * random.uniform(0.8, 1.2), woken=False)
                continue
            failures = 0
            if not worked:
                await self._pause(self._idle * random.uniform(0.9, 1.1), woken=True)

    async def _pause(self, seconds: float, *, woken: bool) -> None:
        if self._stopping:
            return
        if not woken:
            self._woken.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
