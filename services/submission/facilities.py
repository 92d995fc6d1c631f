"""What this installation gives to jobs, held against what a package needs, so that nobody learns it from a failure."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIB = 1 << 20
LEAST_MEMORY_MIB = 1024
STEP_MIB = 256
SHARE = 0.8
"""How much of the machine's memory jobs get together; the rest is for the installation and the system."""
LIMITS_OF_CONTAINERS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_share_mib(slots: int) -> int:
    """The memory of a job when all slots are taken by equal ones, as this machine has it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in LIMITS_OF_CONTAINERS:
        try:
            total = min(total, int(Path(file).read_text()))
        except (OSError, ValueError):
            continue
    share = int(SHARE * total / slots) // MIB
    return max(LEAST_MEMORY_MIB, share - share % STEP_MIB)


@dataclass(frozen=True, kw_only=True)
class Facilities:
    """What jobs get here."""

    memory_mib: int
    cores: float
    network_workspaces: frozenset[str]
    """The workspaces whose jobs may reach the network; `*` for all."""
    network_lacks: str
    """Why no job can have a network here, as the end of a sentence; empty when one can."""

    def judge(self, needs: Sequence[dict[str, Any]], workspace: str) -> tuple[list[dict[str, Any]], list[str]]:
        """The needs of a package with what is missing for it in a workspace, and a warning for each that is.

        Each need gets `met`, and `missing` with a sentence when it is not.
        """
        judged = []
        warnings = []
        for need in needs:
            missing = self._missing(need, workspace)
            judged.append({**need, "met": missing is None})
            if missing is not None:
                judged[-1]["missing"] = missing
                warnings.append(missing)
        return judged, warnings

    def _missing(self, need: dict[str, Any], workspace: str) -> str | None:
        match need["kind"]:
            case "image" if need["required"]:
                return (
                    f"The package requires the image {need['image']}, and this installation runs no containers: jobs "
                    "that reach it fail."
                )
            case "image":
                return (
                    f"The package names the image {need['image']}, which this installation does not run: its programs "
                    "must be on this machine, or jobs fail."
                )
            case "gpu":
                return "The package asks for a GPU, and jobs have none here."
            case "network" if not self.network_workspaces & {workspace, "*"}:
                return (
                    f"The package asks for the network, and jobs of workspace {workspace} have none. The operator can "
                    "allow it (SUBMISSION_LIMITS__NETWORK_WORKSPACES)."
                )
            case "network" if self.network_lacks:
                return (
                    f"The package asks for the network, and this installation has none to give: {self.network_lacks}. "
                    "The operator can see to it."
                )
            case "memory" if need["mib"] > self.memory_mib:
                return (
                    f"The package asks for {need['mib']} MiB of memory, and a job may use {self.memory_mib} here: jobs "
                    "fail. The operator can allow more (SUBMISSION_LIMITS__MEMORY_MIB)."
                )
            case "cores" if need["count"] > max(1.0, self.cores):
                return (
                    f"The package asks for {need['count']} cores, and a job may use {self.cores:g} here: jobs fail. "
                    "The operator can allow more (SUBMISSION_LIMITS__CORES)."
                )
        return None
