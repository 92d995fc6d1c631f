"""Follows the logs of the parts: shows what a person should see, keeps the files small."""

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

SIZE_LIMIT_BYTES = 32 * 1024 * 1024

_LOUD = re.compile(r"\[(warning|error|critical)\]|\b(WARNING|ERROR|FATAL|PANIC):|^Traceback ")
# What is shown anyway, what the terminal does not need, and the stack, which stays in the file.
_NO_FIELDS = {"message", "msg", "level", "timestamp", "time", "exception"}
_LOUD_LEVELS = {"warning", "error", "critical"}


class LogFollower:
    """Shows warnings and worse, or everything, from every log in a directory; begins at their present ends."""

    def __init__(self, logs: Path, *, tell: Callable[[str], None], everything: bool) -> None:
        self._logs = logs
        self._tell = tell
        self._everything = everything
        self._positions = {log: log.stat().st_size for log in logs.glob("*.log")}

    async def run(self) -> None:
        """Looks twice a second, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(0.5)

    def look(self) -> None:
        """Shows what was added since the last look."""
        for log in sorted(self._logs.glob("*.log")):
            with open(log, "rb") as file:
                file.seek(self._positions.get(log, 0))
                added = file.read(1 << 20)
            whole = added[: added.rfind(b"\n") + 1] if len(added) < 1 << 20 else added
            self._positions[log] = self._positions.get(log, 0) + len(whole)
            for line in whole.decode(errors="replace").splitlines():
                if shown := self._shown(line):
                    self._tell(f"{log.stem}: {shown}")
            if self._positions[log] > SIZE_LIMIT_BYTES:
                self._turn(log)

    def _shown(self, line: str) -> str | None:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            return line if self._everything or _LOUD.search(line) else None
        if not self._everything and event.get("level") not in _LOUD_LEVELS:
            return None
        fields = {name: value for name, value in event.items() if name not in _NO_FIELDS}
        return " ".join(
            [str(event.get("message") or event.get("msg", "")), *(f"{name}={value}" for name, value in fields.items())]
        )

    def _turn(self, log: Path) -> None:
        """Empties a log and keeps what it held as `<name>.log.1`. Programs write at the end, wherever that is."""
        with open(log, "rb") as full, open(log.with_suffix(".log.1"), "wb", opener=closed_to_others) as kept:
            shutil.copyfileobj(full, kept)
        with open(log, "r+b") as file:
            file.truncate(0)
        self._positions[log] = 0


def closed_to_others(path: str, flags: int) -> int:
    """Opens a file for its owner alone, as an `opener` of open(); one that was open to others is closed to them."""
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def last_words(log: Path, *, lines: int = 3) -> str:
    """Gives the last lines of a program's log as one sentence for a person."""
    with open(log, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - 4096))
        found = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    return " / ".join([line for line in found if line][-lines:]) or f"it said nothing in {log}."


def how_it_ended(code: int) -> str:
    """Puts the exit code of a process in words."""
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}"
