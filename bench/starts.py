"""How long a user waits: from the command to the first accepted job."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.programs import BenchmarkFailed
from bench.suite import START_SECONDS, Suite, open_suite

ECHO_INPUTS = b'{"inputs": {"message": "hello"}}'


@dataclass(frozen=True)
class Starts:
    """Seconds from the command to the first accepted job, in each round."""

    empty: list[float]
    warm: list[float]


async def measure_starts(directory: Path, *, rounds: int) -> Starts:
    """Starts suites from an empty directory, and each of them once more from what it left."""
    starts = Starts([], [])
    for number in range(rounds):
        for seconds in (starts.empty, starts.warm):
            async with first_job(directory / f"start-{number}", seconds):
                pass
    return starts


@asynccontextmanager
async def first_job(directory: Path, seconds: list[float]) -> AsyncIterator[Suite]:
    """Brings a suite up for the time of the context, and adds how long its first accepted job took to `seconds`."""
    began = time.monotonic()
    async with open_suite(directory) as suite:
        while True:
            try:
                await suite.accept("echo", ECHO_INPUTS)
                break
            except BenchmarkFailed:
                if time.monotonic() - began > START_SECONDS:
                    raise
                await asyncio.sleep(0.02)
        seconds.append(time.monotonic() - began)
        yield suite
