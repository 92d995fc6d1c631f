"""The supervisor, over small programs that behave badly."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.standalone.children import child_command
from services.standalone.refusals import CannotStart
from services.standalone.supervisor import Supervisor

GRACE = timedelta(seconds=5)


@dataclass
class Script:
    """A Python program that is ready once it has made its file."""

    text: str
    directory: Path
    name: str = "script"
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def ready_file(self) -> Path:
        return self.directory / f"{self.name}.ready"

    def prepare(self) -> None:
        self.ready_file.unlink(missing_ok=True)

    def command(self) -> Sequence[str]:
        return child_command([sys.executable, "-S", "-c", self.text, str(self.ready_file)], ends_with=signal.SIGKILL)

    def popen_arguments(self) -> Mapping[str, Any]:
        return {}

    async def is_ready(self) -> bool:
        return self.ready_file.exists()


STAYS = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(60)"
IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + STAYS
FAILS = "import sys; sys.exit('There is no hope.')"


class Heard:
    """What the supervisor said, to be waited for."""

    def __init__(self) -> None:
        self.sentences: asyncio.Queue[str] = asyncio.Queue()

    async def until(self, part: str) -> str:
        async with asyncio.timeout(10):
            while part not in (sentence := await self.sentences.get()):
                pass
            return sentence


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def supervisor(tmp_path: Path, heard: Heard) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(tmp_path, tell=heard.sentences.put_nowait)
    yield supervisor
    for name in supervisor.process_ids():
        await supervisor.stop(name, grace=GRACE)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_program_that_dies_is_started_again(tmp_path: Path, supervisor: Supervisor, heard: Heard) -> None:
    await supervisor.start(Script(STAYS, tmp_path))
    first = supervisor.process_ids()["script"]

    os.kill(first, signal.SIGKILL)

    assert "killed by SIGKILL" in await heard.until("ended")
    await heard.until("script is back.")
    assert first != supervisor.process_ids()["script"]
    assert is_alive(supervisor.process_ids()["script"])


async def test_a_program_that_cannot_start_is_reported_with_its_last_words(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    with pytest.raises(CannotStart, match=r"script ended \(exit code 1\) while it started: There is no hope\."):
        await supervisor.start(Script(FAILS, tmp_path))


async def test_a_stopped_program_is_gone_and_stays_gone(tmp_path: Path, supervisor: Supervisor) -> None:
    await supervisor.start(Script(STAYS, tmp_path))
    process = supervisor.process_ids()["script"]

    await supervisor.stop("script", grace=GRACE)

    assert not is_alive(process)
    assert {} == supervisor.process_ids()


async def test_a_program_that_does_not_listen_is_killed_when_its_grace_is_over(
    tmp_path: Path, supervisor: Supervisor, heard: Heard
) -> None:
    await supervisor.start(Script(IGNORES_SIGTERM, tmp_path))
    process = supervisor.process_ids()["script"]

    await supervisor.stop("script", grace=timedelta(seconds=0.1))

    assert not is_alive(process)
    assert "script did not end within 0.1 s and is killed." == await heard.until("killed")


async def test_a_program_that_is_being_started_again_can_be_stopped(
    tmp_path: Path, supervisor: Supervisor, heard: Heard
) -> None:
    await supervisor.start(Script(STAYS, tmp_path))
    os.kill(supervisor.process_ids()["script"], signal.SIGKILL)
    await heard.until("ended")

    await supervisor.stop("script", grace=GRACE)

    assert {} == supervisor.process_ids()
