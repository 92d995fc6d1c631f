"""One of the three services as a program to supervise.

Status and ingestion need nothing of root: where root starts them they run as somebody else, in a view with Python, the
code and what they are to read. Submission makes the boxes of jobs and stays root.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import services
import workflow_runner
from services.access.policy.files import policy_directory
from services.standalone.accounts import Account, open_to_programs, program_account
from services.standalone.children import child_command
from services.standalone.postgres import SERVICES
from services.standalone.probes import takes_connections


@dataclass(frozen=True, kw_only=True)
class Service:
    """`python -m services.<name>`, on a unix socket."""

    name: str
    socket: Path
    settings: Mapping[str, str]
    """What it reads from its environment; what is there already under another name stays."""
    shown: Sequence[Path] = ()
    """What it must reach beside its code and the sockets, where it gives up root."""
    keeps_root: str | None = None
    """Why it does not give up root, where it could."""
    stop_signal: signal.Signals = signal.SIGTERM

    def prepare(self) -> None:
        """Clears the way before each start."""
        self.socket.unlink(missing_ok=True)
        open_to_programs(self.socket.parent)

    def command(self) -> Sequence[str]:
        """Gives the command line."""
        # -P: what lies in the directory that we were called in is no module of ours.
        command = [sys.executable, "-P", "-m", f"services.{self.name}"]
        if self._account is None:
            # What it writes, the group of its directory may read: status reads artifacts.
            return child_command(command, ends_with=signal.SIGKILL, umask=0o027 if os.geteuid() == 0 else 0o077)
        return child_command(
            command,
            ends_with=signal.SIGKILL,
            account=self._account,
            shown=[*_code(self.socket.parent), *self.shown, self.socket.parent],
            # Its socket is for its group, as those of the others are.
            umask=0o007,
        )

    def popen_arguments(self) -> Mapping[str, Any]:
        """Says to subprocess.Popen what else it needs."""
        strange = ("WORKFLOW_RUNNER_DATABASE", *(f"{name.upper()}_" for name in SERVICES if name != self.name))
        known = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
        there = {} if self._account is None else {"cwd": "/"}
        return {"env": {**known, **self.settings}, **there}

    async def is_ready(self) -> bool:
        """Tells whether it takes connections."""
        if not await takes_connections(self.socket):
            return False
        # Nobody but root could have put there what is root's.
        if os.geteuid() == 0 and os.lstat(self.socket).st_uid == 0:
            open_to_programs(self.socket)
        return True

    @property
    def _account(self) -> Account | None:
        """The account it runs under in place of root's."""
        if os.geteuid() != 0 or self.keeps_root is not None:
            return None
        match self.name:
            case "status" | "ingestion":
                return program_account(self.name)
            case _:
                return None


def _code(state: Path) -> list[Path]:
    """Finds what Python reads to run a service: itself, the packages, our code and the policy.

    A directory that holds our state is none of it.
    """
    ours = {Path(services.__file__ or "").parent, Path(workflow_runner.__file__ or "").parent.parent}
    checkout = Path(services.__file__ or "").parent.parent
    # The directory in which somebody called us, or the whole of a checkout, is nothing to show.
    left_out = {Path.cwd(), Path(sys.executable).parent, checkout}
    places = [Path(place) for place in sys.path if place and Path(place) not in left_out]
    places = [place for place in places if place.exists() and not state.is_relative_to(place)]
    interpreter = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_prefix).resolve()]
    inner = [*places, *ours, policy_directory()]
    found = [*interpreter, *(place for place in inner if not any(place.is_relative_to(top) for top in interpreter))]
    return list(dict.fromkeys(found))
