"""Control groups of one run: memory, number of processes and processor time, where the machine lets us make them.

Both layouts are known: version 1, with a hierarchy per controller, and version 2, with one for all. Where no group can
be made the limits of single processes remain.
"""

import contextlib
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONTROLLERS = ("memory", "pids", "cpu")
CPU_PERIOD_US = 100_000
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Share:
    """What the processes of a run may use together."""

    memory_bytes: int
    processes: int
    cores: float

    def settings(self, controller: str, version: int) -> dict[str, str]:
        """The files of a group and what is written there; a name with a question mark may be absent."""
        quota = max(1000, int(self.cores * CPU_PERIOD_US))
        if controller == "pids":
            return {"pids.max": str(self.processes)}
        if version == 1:
            if controller == "memory":
                return {
                    "memory.limit_in_bytes": str(self.memory_bytes),
                    "memory.memsw.limit_in_bytes?": str(self.memory_bytes),
                }
            return {"cpu.cfs_period_us": str(CPU_PERIOD_US), "cpu.cfs_quota_us": str(quota)}
        if controller == "memory":
            return {"memory.max": str(self.memory_bytes), "memory.swap.max?": "0"}
        return {"cpu.max": f"{quota} {CPU_PERIOD_US}"}


def find_parents(memberships: str, mounts: str) -> dict[str, tuple[int, Path]]:
    """Where a group may be made for each controller, from the texts of /proc/self/cgroup and /proc/self/mountinfo."""
    hierarchies: dict[str, tuple[int, Path]] = {}
    unified: Path | None = None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point, kind, options = before.split()[4], after.split()[0], after.split()[-1].split(",")
        if kind == "cgroup":
            hierarchies.update({name: (1, Path(point)) for name in CONTROLLERS if name in options})
        elif kind == "cgroup2":
            unified = Path(point)
    own: dict[str, str] = {}
    for line in memberships.splitlines():
        _, names, path = line.split(":", 2)
        own.update(dict.fromkeys(names.split(","), path))
    parents: dict[str, tuple[int, Path]] = {}
    for name in CONTROLLERS:
        if name in hierarchies and name in own:
            parents[name] = (1, hierarchies[name][1] / own[name].lstrip("/"))
        elif unified is not None and "" in own:
            parents[name] = (2, unified / own[""].lstrip("/"))
    return parents


class Cgroups:
    """The groups of one run, at most one for each controller."""

    def __init__(self, groups: Sequence[Path]) -> None:
        self.groups = tuple(groups)

    @classmethod
    def create(cls, name: str, share: Share, parents: dict[str, tuple[int, Path]]) -> "Cgroups":
        """Makes the groups that can be made and leaves out the others; may be repeated."""
        made: dict[Path, None] = {}
        for controller, (version, parent) in parents.items():
            group = parent / name
            try:
                if version == 2:
                    _delegate(parent, controller)
                group.mkdir(exist_ok=True)
                made[group] = None
                for file, value in share.settings(controller, version).items():
                    path = group / file.rstrip("?")
                    if file.endswith("?") and not path.exists():
                        continue
                    path.write_text(value)
            except OSError:
                if version == 1 and made.pop(group, "absent") is None:
                    with contextlib.suppress(OSError):
                        group.rmdir()
        return cls(list(made))

    @property
    def limits_memory(self) -> bool:
        """Whether the run as a whole is held to its memory."""
        return any((group / file).exists() for group in self.groups for file in ("memory.oom_control", "memory.max"))

    @property
    def limits_cores(self) -> bool:
        """Whether the run as a whole is held to its processor time."""
        return any((group / file).exists() for group in self.groups for file in ("cpu.cfs_quota_us", "cpu.max"))

    def add(self, pid: int) -> None:
        """Moves a process in; what it starts afterwards is born there."""
        for group in self.groups:
            (group / "cgroup.procs").write_text(str(pid))

    def count_out_of_memory(self) -> int:
        """How often the kernel ended a process of the run for want of memory."""
        for group in self.groups:
            for file in ("memory.oom_control", "memory.events"):
                with contextlib.suppress(OSError, ValueError):
                    for line in (group / file).read_text().splitlines():
                        key, _, value = line.partition(" ")
                        if key == "oom_kill":
                            return int(value)
        return 0

    def kill(self) -> None:
        """Kills whatever is still inside."""
        for group in self.groups:
            with contextlib.suppress(OSError):
                for pid in (group / "cgroup.procs").read_text().split():
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> bool:
        """Removes the groups and says whether all are gone; one that still holds a dying process stays."""
        for group in self.groups:
            with contextlib.suppress(OSError):
                group.rmdir()
        return not any(group.exists() for group in self.groups)


def _delegate(parent: Path, controller: str) -> None:
    available = (parent / "cgroup.subtree_control").read_text().split()
    if controller not in available:
        (parent / "cgroup.subtree_control").write_text(f"+{controller}")
