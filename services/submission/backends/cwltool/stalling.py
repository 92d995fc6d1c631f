"""Whether a run has been stopped from inside, so that nothing would ever end it before its time is over."""

import contextlib
import os
import time
from pathlib import Path

LOOK_SECONDS = 2.0
STALL_SECONDS = 10.0
"""How long the engine, or everything, may stand still: a debugger stops what it looks at for moments."""
STOPPED = "Tt"


class StallWatch:
    """Watches the states of the processes of one run."""

    def __init__(self, first: int) -> None:
        """`first` is the first process of the run's pid namespace, which only waits."""
        self._first = first
        self._looked = self._moving = time.monotonic()

    def look(self) -> bool:
        """Looks if it is time, and says whether the run stands still for good."""
        now = time.monotonic()
        if now < self._looked + LOOK_SECONDS:
            return False
        self._looked = now
        if not is_stopped(self._first, _states(self._first)):
            self._moving = now
        return now > self._moving + STALL_SECONDS


def is_stopped(first: int, states: dict[int, tuple[str, int, int]]) -> bool:
    """Whether the engine is stopped, or all that could go on; `states` has state, parent and start of each process."""
    others = {pid: seen for pid, seen in states.items() if pid != first and seen[0] not in "ZX"}
    # Orphans become children of the first process, too, but the engine is older than all of them. One that joined from
    # outside has its parent there, and the oldest child of the first process then is a shell that only waits.
    oldest = min((pid for pid in others if others[pid][1] == first), key=lambda pid: others[pid][2], default=0)
    joined = next((pid for pid in others if others[pid][1] not in states), 0)
    if joined:
        others.pop(oldest, None)
    engine = joined or oldest
    return (
        engine in others
        and (
            others[engine][0] in STOPPED
            or all(state in STOPPED for pid, (state, _, _) in others.items() if pid != engine)
        )
        and len(others) > 1
    )


def _states(first: int) -> dict[int, tuple[str, int, int]]:
    found = {}
    with contextlib.suppress(OSError):
        namespace = os.stat(f"/proc/{first}/ns/pid").st_ino
        for name in filter(str.isdecimal, os.listdir("/proc")):
            with contextlib.suppress(OSError, ValueError, IndexError):
                if os.stat(f"/proc/{name}/ns/pid").st_ino == namespace:
                    fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                    found[int(name)] = (fields[0], int(fields[1]), int(fields[19]))
    return found
