"""What pages say in words: moments, durations, sizes, and what a failure means."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SIZES = ("bytes", "kB", "MB", "GB", "TB")

FAILURES: dict[str, tuple[str, str]] = {
    "STEP_FAILED": (
        "A step of the workflow ended with an error",
        "The last lines of its log usually say what it did not like. Look at the inputs first, then at the tool.",
    ),
    "MEMORY_EXCEEDED": (
        "A step needed more memory than it may use",
        "Give it smaller inputs, or ask for more in the package (ResourceRequirement, ramMin).",
    ),
    "TIME_LIMIT_EXCEEDED": (
        "The job took longer than it may",
        "Give it smaller inputs, split them over several jobs, or ask for more time in the package (ToolTimeLimit).",
    ),
    "OUTPUT_LIMIT_EXCEEDED": (
        "The job wrote more than it may",
        "Have it write less, or remove what it needs only while it runs.",
    ),
    "OUTPUT_MISSING": (
        "A step did not leave what it promised",
        "Compare the package's outputs (names, glob) with what the tool writes, as its log may tell. The type of an "
        "output that may be missing ends in a question mark (File?).",
    ),
    "OUTPUT_REFUSED": (
        "An output is not what the package declares, or may not leave the sandbox",
        "The message tells which: correct its type or what gives it, and have the tool copy files that it links to.",
    ),
    "INPUT_UNAVAILABLE": (
        "An input could not be fetched",
        "Open its address yourself: it has to answer without a login, and over https.",
    ),
    "UNSUPPORTED_FEATURE": (
        "The package needs something that this installation does not have",
        "Ask whoever runs the installation, or change the package.",
    ),
    "INVALID_PACKAGE": ("The package cannot be run as it is", "Whoever deployed it has to correct and replace it."),
    "EXPRESSION_FAILED": (
        "An expression of the package failed",
        "The package computes something with the inputs that did not work out. Check the inputs, then the expression.",
    ),
    "BACKEND_LOST_JOB": (
        "The job was lost on the way",
        "Nothing is wrong with your inputs. Execute the process once more.",
    ),
    "BACKEND_FAILED": (
        "The installation failed",
        "Nothing is wrong with your inputs. Execute the process once more; if that fails too, tell its operators.",
    ),
    "STORAGE_FULL": (
        "The installation had no room left",
        "Remove jobs that you need no more, or tell the operators; then execute the process once more.",
    ),
}


def in_words(need: dict[str, Any]) -> str:
    """What a package needs of the installation."""
    match need["kind"]:
        case "image":
            return f"the image {need['image']}"
        case "memory":
            return f"{need['mib']:g} MiB of memory"
        case "cores":
            return f"{need['count']:g} cores" if need["count"] != 1 else "1 core"
        case "gpu":
            return "a GPU"
    return f"the {need['kind']}"


# Colors and movements of the cursor (ECMA-48), and what no browser can show.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def full(moment: datetime) -> str:
    """A moment to the second: `23 Nov 2026, 07:29:14 UTC`."""
    moment = moment.astimezone(UTC)
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M:%S} UTC"


def age(moment: datetime, now: datetime | None = None) -> str:
    """How long ago a moment is, as one says it; `page.js` says it in the same words."""
    seconds = int(((now or datetime.now(UTC)) - moment).total_seconds())
    if seconds < 10:
        return "just now"
    if seconds < 60:
        return f"{seconds} s ago"
    if seconds < 3600:
        return f"{seconds // 60} min ago"
    if seconds < 86400:
        return f"{seconds // 3600} h ago"
    days = seconds // 86400
    return f"{days} day{'s' if days > 1 else ''} ago"


def duration(time: timedelta) -> str:
    """A duration in its two largest units; `page.js` says it in the same words."""
    seconds = max(0.0, time.total_seconds())
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def size(size_bytes: float) -> str:
    """A size in the unit that fits."""
    amount, unit = float(size_bytes), 0
    while amount >= 1000 and unit < len(SIZES) - 1:
        amount, unit = amount / 1000, unit + 1
    if unit == 0:
        return "1 byte" if amount == 1 else f"{amount:.0f} bytes"
    return f"{amount:.{1 if amount < 100 else 0}f} {SIZES[unit]}"


def log_text(log: bytes) -> str:
    """The bytes of a log as text that a page can hold."""
    text = _ESCAPES.sub("", log.decode("utf-8", "replace")).replace("\r\n", "\n")
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)
