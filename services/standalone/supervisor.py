"""Keeps programs running: starts them, starts them again when they end unasked, ends them in order.

What a program is, how it is started and when it is ready stands with the program. The promises here: a program never
runs twice, its end is noticed at once, and one that cannot stay up is tried less and less often, but for ever.
"""

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from services.standalone.logs import closed_to_others, how_it_ended, last_words
from services.standalone.refusals import CannotStart

FIRST_PAUSE = timedelta(seconds=0.2)
LONGEST_PAUSE = timedelta(seconds=30)
SETTLED = timedelta(seconds=60)
"""A program that ran so long is well: its next end is met with the first pause again."""
PATIENCE = timedelta(seconds=60)
"""How long a program may take to be ready."""


class Program(Protocol):
    """Something the supervisor keeps running."""

    @property
    def name(self) -> str:
        """What people call it; its log is `<name>.log`."""

    @property
    def stop_signal(self) -> signal.Signals:
        """The signal that asks it to end in good order."""

    def prepare(self) -> None:
        """Clears the way before each start. May block; raises CannotStart."""

    def command(self) -> Sequence[str]:
        """The command line."""

    def popen_arguments(self) -> Mapping[str, Any]:
        """What else subprocess.Popen needs."""

    async def is_ready(self) -> bool:
        """Whether the running program does its work."""


@dataclass
class _Kept:
    program: Program
    process: asyncio.subprocess.Process
    keeper: asyncio.Task[None] | None = None


class Supervisor:
    """Runs programs whose output goes to files in `logs`; `tell` takes sentences for the person watching."""

    def __init__(self, logs: Path, *, tell: Callable[[str], None]) -> None:
        self._logs = logs
        self._tell = tell
        self._kept: dict[str, _Kept] = {}

    async def start(self, program: Program) -> None:
        """Starts a program, waits until it is ready, and keeps it. Raises CannotStart with its last words."""
        kept = _Kept(program, await self._spawn(program))
        self._kept[program.name] = kept
        await self._until_ready(program, kept.process)
        kept.keeper = asyncio.create_task(self._keep(kept), name=f"keep {program.name}")

    async def stop(self, name: str, *, grace: timedelta) -> None:
        """Asks a program to end and waits; kills it when the grace is over. Nothing happens if it never started."""
        kept = self._kept.pop(name, None)
        if kept is None:
            return
        if kept.keeper is not None:
            kept.keeper.cancel()
            await asyncio.wait([kept.keeper])
        if kept.process.returncode is not None:
            return
        kept.process.send_signal(kept.program.stop_signal)
        try:
            await asyncio.wait_for(kept.process.wait(), grace.total_seconds())
        except TimeoutError:
            self._tell(f"{name} did not end within {grace.total_seconds():g} s and is killed.")
            kept.process.kill()
            await kept.process.wait()
        except asyncio.CancelledError:
            kept.process.kill()
            await kept.process.wait()
            raise

    def process_ids(self) -> Mapping[str, int]:
        """Tells which process is which program now."""
        return {name: kept.process.pid for name, kept in self._kept.items()}

    def log(self, name: str) -> Path:
        """Where a program's output goes."""
        return self._logs / f"{name}.log"

    async def _keep(self, kept: _Kept) -> None:
        pause = FIRST_PAUSE
        while True:
            born = time.monotonic()
            code = await kept.process.wait()
            if time.monotonic() - born > SETTLED.total_seconds():
                pause = FIRST_PAUSE
            self._tell(
                f"{kept.program.name} ended ({how_it_ended(code)}) and is started again; "
                f"see {self.log(kept.program.name)}."
            )
            await asyncio.sleep(pause.total_seconds())
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                kept.process = await self._spawn(kept.program)
                await self._until_ready(kept.program, kept.process)
                self._tell(f"{kept.program.name} is back.")
            except CannotStart as error:
                self._tell(str(error))

    async def _spawn(self, program: Program) -> asyncio.subprocess.Process:
        await asyncio.to_thread(program.prepare)
        try:
            # A local file, and nothing is read.
            with open(self.log(program.name), "ab", opener=closed_to_others) as log:  # noqa: ASYNC230
                return await asyncio.create_subprocess_exec(
                    *program.command(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C at the terminal reaches the supervisor only: it knows the order in which things end.
                    start_new_session=True,
                    **program.popen_arguments(),
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise CannotStart(f"{program.name} cannot be started: {error}.") from error

    async def _until_ready(self, program: Program, process: asyncio.subprocess.Process) -> None:
        give_up = time.monotonic() + PATIENCE.total_seconds()
        while not await program.is_ready():
            if process.returncode is not None:
                raise CannotStart(
                    f"{program.name} ended ({how_it_ended(process.returncode)}) while it started: "
                    f"{last_words(self.log(program.name))}"
                )
            if time.monotonic() > give_up:
                process.kill()
                await process.wait()
                raise CannotStart(
                    f"{program.name} was not ready after {PATIENCE.total_seconds():g} s; see {self.log(program.name)}."
                )
            await asyncio.sleep(0.02)
