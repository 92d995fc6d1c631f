"""What the engine writes down while a run goes on: step events, progress, and the log of each step.

The files lie in the box, one JSON object per line of `events.jsonl` and one file per step below `logs/`. Whoever reads
them must not trust them: the work of others can write there too.
"""

import json
import os
import threading
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO
from urllib.parse import quote

from services.shared.keys import key_segment, name_problem

EVENTS = "events.jsonl"
LOGS = "logs"
LONGEST_STEP = 200
"""In bytes, of a name before it is told apart from others by a number."""
DIGEST = 12


def is_step_name(name: object) -> bool:
    """Whether a name may name a step: what can name a file, on one line."""
    return isinstance(name, str) and name_problem(name) is None and name.isprintable() and name == name.strip()


def step_name(name: str) -> str:
    """The nearest name a step may have. What no name holds is percent-encoded; of a long one the end is a digest."""
    name = "".join(
        letter if letter.isprintable() and letter != "/" else quote(letter, safe="", errors="replace")
        for letter in name.strip()
    )
    if name in (".", ".."):
        name = name.replace(".", "%2E")
    if len(name.encode()) > LONGEST_STEP:
        start = name.encode()[: LONGEST_STEP - DIGEST - 1].decode("utf-8", "ignore").rstrip()
        name = f"{start}~{sha256(name.encode()).hexdigest()[:DIGEST]}"
    return name if is_step_name(name) else "main"


def log_path(step: str) -> str:
    """Where the log of a step is in the box."""
    return f"{LOGS}/{key_segment(step)}.log"


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
        return (self._box / log_path(step)).open("ab", buffering=0)

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
