"""The machine as far as figures depend on it, and the CPU time its processes have used."""

import os
import platform
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


def describe(directory: Path) -> dict[str, Any]:
    """What a reader needs to know to compare: processors, how busy they are, what durability costs here."""
    return {
        "processors": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "fdatasync_ms": round(_fdatasync_seconds(directory) * 1000, 2),
    }


def cpu_seconds(process: int) -> float:
    """What a process with all its threads has used, in user and in system mode; 0 once it is gone."""
    user, system, _, _ = _times(process)
    return user + system


def family_cpu_seconds(parent: int) -> float:
    """What a process, its children and those of its children that have ended have used."""
    return sum(_times(parent)) + sum(cpu_seconds(child) for child in children(parent))


def children(parent: int) -> list[int]:
    """The processes whose parent this is."""
    found: list[int] = []
    for task in _entries(Path(f"/proc/{parent}/task")):
        try:
            found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def command_of(process: int) -> list[str]:
    """The command line of a process; empty once it is gone."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _times(process: int) -> tuple[float, float, float, float]:
    try:
        # The name of the program may have spaces and parentheses in it; what follows it has none.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0, 0.0, 0.0, 0.0
    user, system, children_user, children_system = (int(field) / _TICKS for field in fields[11:15])
    return user, system, children_user, children_system


def _entries(directory: Path) -> Iterable[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _fdatasync_seconds(directory: Path) -> float:
    """One durable write of 4 kB where the database of the benchmark lies."""
    spent = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(21):
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            spent.append(time.perf_counter() - began)
    return median(spent)
