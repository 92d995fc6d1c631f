"""What the engine writes down while a run goes on: step events, progress, and the log of each step.

The files lie in the box, one JSON object per line of `events.jsonl` and one file per step below `logs/`. Whoever reads
them must not trust them: the work of others can write there too.
"""

import json
import os
import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

EVENTS = "events.jsonl"
LOGS = "logs"
NAME_OF_STEP = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def is_step_name(name: object) -> bool:
    """Whether a name may name a step and its log file."""
    return isinstance(name, str) and NAME_OF_STEP.fullmatch(name) is not None and ".." not in name and name != "."


def step_name(name: str) -> str:
    """The nearest name a step may have."""
    cleaned = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9_.-]", "_", name))[:120]
    return cleaned if is_step_name(cleaned) else "main"


class Journal:
    """Writes the events of one run; several threads may share it."""

    def __init__(self, box: Path, steps: int) -> None:
        self._box = box
        self._lock = threading.Lock()
        self._events = os.open(box / EVENTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._known = steps
        self.ended = 0
        self._percent = -1
        self._names: dict[str, int] = {}
        (box / LOGS).mkdir(exist_ok=True)

    def name(self, wanted: str) -> str:
        """A name no other step of this run has: the wanted one, or that with `_2`, `_3` and so on."""
        wanted = step_name(wanted)
        with self._lock:
            name, count = wanted, self._names.get(wanted, 0) + 1
            while name in self._names:
                count = max(2, count)
                name = f"{wanted}_{count}"
                count += 1
            self._names[wanted] = max(1, count - 1)
            self._names.setdefault(name, 1)
        return name

    def expect(self, more: int) -> None:
        """Corrects the number of steps the run is known to have."""
        with self._lock:
            self._known += more

    def open_log(self, step: str) -> IO[bytes]:
        """The log of a step, to append to."""
        return (self._box / LOGS / f"{step}.log").open("ab", buffering=0)

    def begin(self, step: str) -> None:
        """A step begins."""
        with self._lock:
            self._write({"step": step, "state": "running"})
            self._advance()

    def end(self, step: str, state: str, exit_code: int | None = None) -> None:
        """A step ends: successful, failed or skipped."""
        with self._lock:
            self._write({"step": step, "state": state, "exit_code": exit_code})
            self.ended += 1
            self._advance()

    def _advance(self) -> None:
        percent = min(99, 100 * self.ended // max(1, self._known))
        if percent > self._percent:
            self._percent = percent
            self._write({"progress": percent})

    def _write(self, event: dict[str, object]) -> None:
        event["time"] = datetime.now(UTC).isoformat()
        os.write(self._events, json.dumps(event).encode() + b"\n")
