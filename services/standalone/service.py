"""One of the three services as a program to supervise."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.standalone.accounts import open_to_programs
from services.standalone.children import child_command
from services.standalone.probes import takes_connections


@dataclass(frozen=True, kw_only=True)
class Service:
    """`python -m services.<name>`, on a unix socket."""

    name: str
    socket: Path
    settings: Mapping[str, str]
    """What it reads from its environment; what is there already under another name stays."""
    stop_signal: signal.Signals = signal.SIGTERM

    def prepare(self) -> None:
        """Clears the way before each start."""
        self.socket.unlink(missing_ok=True)

    def command(self) -> Sequence[str]:
        """Gives the command line."""
        # -P: what lies in the directory that we were called in is no module of ours.
        return child_command([sys.executable, "-P", "-m", f"services.{self.name}"], ends_with=signal.SIGKILL)

    def popen_arguments(self) -> Mapping[str, Any]:
        """Says to subprocess.Popen what else it needs."""
        return {"env": {**os.environ, **self.settings}}

    async def is_ready(self) -> bool:
        """Tells whether it takes connections."""
        if not await takes_connections(self.socket):
            return False
        open_to_programs(self.socket)
        return True
