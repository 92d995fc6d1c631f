"""Reads what a run left in its box. The work of others could write anything there, so nothing of it is trusted."""

import json
import os
import re
import stat
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from services.shared.keys import shown
from services.submission.backends import Failure, FailureReason, LogChunk, StepEvent
from services.submission.cwl.names import named_format

from .journal import EVENTS, is_step_name, log_path
from .measuring import LARGEST_LOG, LARGEST_LOGS

EVENTS_AT_ONCE = 256 << 10
CHANGES_AT_ONCE = 250
"""How many changes of steps one look takes: each look is a transaction, and a long one holds up every watcher."""
LOGS_AT_ONCE = 1 << 20
STEPS_AT_ONCE = 100
"""Of how many steps one look takes log lines."""
MOST_EVENTS = 20_000
"""A run that notes more is either ill or hostile; the rest is not read."""
LARGEST_EVENTS = 32 << 20
"""So many bytes of events are read at most, whatever stands in them: the file may be sparse."""
MOST_OPEN_STEPS = 1_000
"""More steps do not run at a time; a step that begins beside so many is not shown."""
CUT_OFF = b"\n[The log of this step goes on; what comes after 64 MiB is left out.]\n"
ALL_CUT_OFF = b"\n[The logs of this job are too large together; what comes after is left out.]\n"
LARGEST_RESULT = 4 << 20
DEEPEST_RESULT = 64
DEEPEST_OUTPUT = 128
MOST_OUTPUTS = 1_000_000
TAIL_BYTES = 16 << 10
TAIL_LINES = 20
LONGEST_LINE = 500
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")

State = Literal["running", "successful", "failed", "skipped"]


class OutputsRefusedError(Exception):
    """What the run left cannot be handed out; the message is a sentence."""


def read_piece(box: Path, path: str, offset: int, size: int) -> bytes:
    """Reads part of a regular file in the box, never through a link; empty when there is no such file."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(box, flags | os.O_DIRECTORY)
        for part in path.split("/"):
            parent = descriptor
            try:
                descriptor = os.open(part, flags | os.O_NONBLOCK, dir_fd=parent)
            finally:
                os.close(parent)
    except OSError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        return os.pread(descriptor, size, offset)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def size_of(box: Path, path: str) -> int:
    """The size of a file in the box, links not followed; 0 when there is none."""
    try:
        found = os.lstat(box / path)
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


@dataclass(kw_only=True)
class Cursor:
    """How far a run has been read."""

    events: int = 0
    sequence: int = 0
    progress: int = 0
    logs: dict[str, list[int]] = field(default_factory=dict)
    """For each step whose log is not read to its end: the offset, and 1 when the step has ended."""
    stored: int = 0
    """How much of all logs has been read."""
    cut: str | None = None
    """A step that ran when the run was ended from outside."""

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises ValueError for a text that no cursor has made."""
        if not text:
            return cls()
        members = json.loads(text)
        if not isinstance(members, dict):
            raise ValueError("the cursor of the run is not an object")
        return cls(**{name: value for name, value in members.items() if name in cls.__dataclass_fields__})

    def __str__(self) -> str:
        return json.dumps(
            {
                "events": self.events,
                "sequence": self.sequence,
                "progress": self.progress,
                "logs": self.logs,
                "stored": self.stored,
                "cut": self.cut,
            },
            separators=(",", ":"),
        )


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What one look added."""

    steps: tuple[StepEvent, ...]
    logs: tuple[LogChunk, ...]
    drained: bool


def read_on(box: Path, cursor: Cursor, *, final: bool, most_logs: int = LARGEST_LOGS) -> Piece:
    """Reads on from the cursor and moves it; at the end of the run the steps left open are closed as failed.

    Of all logs together `most_logs` bytes are read.
    """
    steps: list[StepEvent] = []
    more = _read_events(box, cursor, steps)
    if final and not more:
        more = _close_steps(cursor, steps)
    chunks, left = _read_logs(box, cursor, most_logs)
    return Piece(steps=tuple(steps), logs=tuple(chunks), drained=final and not more and not left)


def _read_events(box: Path, cursor: Cursor, steps: list[StepEvent]) -> bool:
    """Takes the complete lines that follow, as many as belong into one look; whether there may be more."""
    if cursor.sequence >= MOST_EVENTS or cursor.events >= LARGEST_EVENTS:
        return False
    data = read_piece(box, EVENTS, cursor.events, EVENTS_AT_ONCE)
    end = data.rfind(b"\n") + 1
    if not end and len(data) == EVENTS_AT_ONCE:
        # A line as long as this is not ours.
        cursor.events += len(data)
        return True
    for line in data[:end].splitlines(keepends=True):
        if len(steps) >= CHANGES_AT_ONCE:
            return True
        _take(line, cursor, steps)
        cursor.events += len(line)
    return len(data) == EVENTS_AT_ONCE


def _close_steps(cursor: Cursor, steps: list[StepEvent]) -> bool:
    """Closes steps that are open although the run is over, as many as belong into one look; whether there are more."""
    for step, place in cursor.logs.items():
        if place[1]:
            continue
        if len(steps) >= CHANGES_AT_ONCE:
            return True
        place[1] = 1
        cursor.cut = cursor.cut or step
        cursor.sequence += 1
        steps.append(StepEvent(sequence=cursor.sequence, step=step, state="failed", time=datetime.now(UTC)))
    return False


def _take(line: bytes, cursor: Cursor, steps: list[StepEvent]) -> None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(event, dict):
        return
    progress, step, state = event.get("progress"), event.get("step"), event.get("state")
    if isinstance(progress, int) and cursor.progress < progress < 100:
        cursor.progress = progress
    if state not in ("running", "successful", "failed", "skipped") or not is_step_name(step):
        return
    if cursor.sequence >= MOST_EVENTS:
        return
    step = cast(str, step)
    if state == "running":
        if step not in cursor.logs and len(cursor.logs) >= MOST_OPEN_STEPS:
            return
        cursor.logs.setdefault(step, [0, 0])
    elif step in cursor.logs:
        cursor.logs[step][1] = 1
    cursor.sequence += 1
    steps.append(
        StepEvent(
            sequence=cursor.sequence,
            step=step,
            state=cast(State, state),
            time=_time(event.get("time")),
            exit_code=_exit_code(event.get("exit_code")),
        )
    )


def _exit_code(found: object) -> int | None:
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= 255 else None


def _time(text: object) -> datetime:
    now = datetime.now(UTC)
    if isinstance(text, str) and len(text) < 64:
        try:
            found = datetime.fromisoformat(text)
            # A moment of the year 1 in another time zone may lie before all that a calendar has.
            return min(found.astimezone(UTC), now) if found.tzinfo is not None else now
        except (ValueError, OverflowError):
            return now
    return now


def _read_logs(box: Path, cursor: Cursor, most: int) -> tuple[list[LogChunk], bool]:
    chunks: list[LogChunk] = []
    budget = LOGS_AT_ONCE
    left = False
    for step, place in list(cursor.logs.items()):
        offset, ended = place
        if budget <= 0 or len(chunks) >= STEPS_AT_ONCE:
            left = True
            break
        room = min(LARGEST_LOG - offset, most - cursor.stored)
        data = read_piece(box, log_path(step), offset, min(budget, room + 1)) if room >= 0 else b""
        full = len(data) == budget
        place[0] += len(data)
        budget -= len(data)
        if len(data) > room >= 0:
            # What is cut off is told once; this log is not read on after that.
            data = data[:room] + (CUT_OFF if room == LARGEST_LOG - offset else ALL_CUT_OFF)
            full, place[0] = False, LARGEST_LOG + 1
        if data:
            chunks.append(LogChunk(step=step, offset=offset, data=data))
            # To the end of the line, so that every step has its turn.
            cursor.logs[step] = cursor.logs.pop(step)
        cursor.stored += min(len(data), max(room, 0))
        if full:
            left = True
        elif ended:
            del cursor.logs[step]
    return chunks, left


def tail(box: Path, step: str) -> tuple[str, ...]:
    """The last lines of the log of a step, without what a terminal would act on."""
    return tail_of(box, log_path(step))


def tail_of(box: Path, path: str) -> tuple[str, ...]:
    """The last lines of a file, likewise."""
    start = max(0, size_of(box, path) - TAIL_BYTES)
    text = read_piece(box, path, start, TAIL_BYTES).decode("utf-8", "replace")
    lines = [CONTROL.sub("", line.replace("\t", "    "))[:LONGEST_LINE] for line in text.splitlines()]
    return tuple(lines[1:] if start and len(lines) > 1 else lines)[-TAIL_LINES:]


def read_result(box: Path) -> dict[str, Any] | None:
    """What the worker left as its result: an object with outputs or with a failure; None when there is none."""
    data = read_piece(box, "result.json", 0, LARGEST_RESULT + 1)
    if len(data) > LARGEST_RESULT:
        raise OutputsRefusedError("The outputs are described by more than 4 MiB of JSON.")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    if too_deep(found, DEEPEST_RESULT):
        raise OutputsRefusedError(f"The outputs are nested more than {DEEPEST_RESULT} levels deep.")
    return found


def too_deep(value: object, levels: int) -> bool:
    """Whether a value nests deeper than it may."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [
            inner
            for one in layer
            for inner in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
        ]
        if not layer:
            return False
    return True


def failure_from(found: object) -> Failure | None:
    """A failure as the worker described it, as far as it makes sense."""
    if not isinstance(found, Mapping):
        return None
    try:
        reason = FailureReason(str(found.get("reason")))
    except ValueError:
        return None
    step, message = found.get("step"), found.get("message")
    return Failure(
        reason=reason,
        message=CONTROL.sub(" ", message)[:1000] if isinstance(message, str) and message else "The job failed.",
        step=step if is_step_name(step) else None,
        exit_code=_exit_code(found.get("exit_code")),
    )


def check_tree(root: Path) -> None:
    """Refuses a directory that holds links or anything but files and directories. Nothing may write there any more."""
    waiting = [(os.fspath(root), 0)]
    entries_seen = 0
    while waiting:
        path, depth = waiting.pop()
        if depth > DEEPEST_OUTPUT:
            raise OutputsRefusedError(f"The outputs are nested more than {DEEPEST_OUTPUT} directories deep.")
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    entries_seen += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, depth + 1))
                    elif not entry.is_file(follow_symlinks=False):
                        name = shown(os.path.relpath(entry.path, root))
                        raise OutputsRefusedError(f"The output {name} is neither a file nor a directory.")
        except OSError as error:
            name = shown(os.path.relpath(path, root))
            raise OutputsRefusedError(f"The directory {name} of the outputs cannot be read.") from error
        if entries_seen > MOST_OUTPUTS:
            raise OutputsRefusedError(f"There are more than {MOST_OUTPUTS} files in the outputs.")


def check_outputs(found: object, root: Path) -> dict[str, Any]:
    """The output object with every location checked to be inside the root; raises OutputsRefusedError."""
    if not isinstance(found, dict):
        raise OutputsRefusedError("The outputs are not an object.")
    # A link in place of a directory above would make the files of others those of this job.
    if os.path.realpath(root) != os.fspath(root) or not root.is_dir():
        raise OutputsRefusedError("The outputs are gone.")
    check_tree(root)
    return {str(name): _checked(value, root) for name, value in found.items()}


FILE_FIELDS = ("class", "basename", "checksum", "size", "format")


def _checked(value: Any, root: Path) -> Any:
    if isinstance(value, list):
        return [_checked(one, root) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("class") not in ("File", "Directory"):
        return {str(name): _checked(one, root) for name, one in value.items()}
    kind = value["class"]
    path = _path(value.get("location"), root)
    if (kind == "File") != path.is_file() or not path.exists():
        raise OutputsRefusedError(f"The output {path.name} is not there.")
    kept = {name: value[name] for name in FILE_FIELDS if name in value}
    if "format" in kept:
        kept["format"] = named_format(kept["format"])
    kept["location"] = path.as_uri()
    if kind == "File":
        kept["size"] = path.stat().st_size
    for name in ("secondaryFiles", "listing"):
        if isinstance(value.get(name), list):
            kept[name] = [_checked(one, root) for one in value[name]]
    return kept


def _path(location: object, root: Path) -> Path:
    if not isinstance(location, str):
        raise OutputsRefusedError("An output has no location.")
    parts = urllib.parse.urlsplit(location)
    path = urllib.parse.unquote(parts.path, errors="surrogateescape")
    if parts.scheme != "file" or parts.netloc or "\0" in path or os.path.normpath(path) != path:
        raise OutputsRefusedError("An output has a location that is not a file of the job.")
    if root not in Path(path).parents and Path(path) != root:
        raise OutputsRefusedError("An output lies outside of the outputs of the job.")
    return Path(path)
