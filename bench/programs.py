"""Starts the programs of a benchmark and ends every one of them, however the benchmark ends."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from services.standalone.children import child_command

ROOT = Path(__file__).resolve().parent.parent
LONGEST_ANSWER_BYTES = 64 << 20


class BenchmarkFailed(Exception):
    """The benchmark cannot go on; the text says why."""


@asynccontextmanager
async def program(
    arguments: Sequence[str], *, log: Path, patience_seconds: float = 10
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs this Python with arguments for the time of the context; asks it to end, then makes it.

    Its input and output are pipes; what it complains of goes to `log`.
    """
    with log.open("ab") as complaints:
        process = await asyncio.create_subprocess_exec(
            *child_command([sys.executable, *arguments], ends_with=signal.SIGTERM),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=complaints,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            # Ctrl-C at the terminal reaches the benchmark only, which ends everything in order.
            start_new_session=True,
            limit=LONGEST_ANSWER_BYTES,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), patience_seconds)
            except TimeoutError:
                process.kill()
                await process.wait()


async def line_with(process: asyncio.subprocess.Process, words: str, *, log: Path, patience_seconds: float) -> str:
    """Reads on until a line has the words in it, and gives that line. Raises BenchmarkFailed."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(patience_seconds):
            while line := (await process.stdout.readline()).decode():
                if words in line:
                    return line.strip()
    except TimeoutError:
        raise BenchmarkFailed(f"no {words!r} after {patience_seconds:g} s") from None
    raise BenchmarkFailed(f"a program ended before it said {words!r}: {last_line(log)}")


def last_line(log: Path) -> str:
    """The last thing that a program complained of."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
