"""An OPA server of our own as a program to supervise, where one is asked for in place of the embedded engine."""

import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from services.access.policy.files import PolicyDataError, policy_directory, read_data, read_modules
from services.standalone.accounts import open_to_programs, program_account
from services.standalone.children import child_command, plain_environment
from services.standalone.directory import write_atomically
from services.standalone.probes import http_status
from services.standalone.refusals import CannotStart


@dataclass(frozen=True, kw_only=True)
class Opa:
    """`opa run --server` over the policy that comes with the package and the data of this installation."""

    program: Path
    socket: Path
    bundle: Path
    """A directory that is written anew for each start."""
    overlay: Path
    """Policy data to lay over that of the package."""
    name: Literal["opa"] = "opa"
    stop_signal: signal.Signals = signal.SIGTERM

    def prepare(self) -> None:
        """Clears the way before each start."""
        self.socket.unlink(missing_ok=True)
        open_to_programs(self.socket.parent)
        shutil.rmtree(self.bundle, ignore_errors=True)
        self.bundle.mkdir(mode=0o700)
        try:
            modules, data = read_modules(policy_directory()), read_data(policy_directory(), self.overlay)
        except PolicyDataError as error:
            raise CannotStart(str(error)) from error
        for name, module in modules.items():
            (self.bundle / name).write_text(module)
        write_atomically(self.bundle / "data.json", json.dumps(data))
        program_account(self.name).take(self.bundle)

    def command(self) -> Sequence[str]:
        """Gives the command line."""
        command = [
            str(self.program),
            "run",
            "--server",
            f"--addr=unix://{self.socket}",
            "--log-level=error",
            "--disable-telemetry",
            str(self.bundle),
        ]
        return child_command(
            command,
            ends_with=signal.SIGKILL,
            account=program_account(self.name),
            shown=[self.program, self.socket.parent],
        )

    def popen_arguments(self) -> Mapping[str, Any]:
        """Says to subprocess.Popen what else it needs."""
        # One processor for the policy beside busy services halves its worst answer times.
        return {"env": {**plain_environment(), "HOME": os.environ.get("HOME", "/"), "GOMAXPROCS": "1"}}

    async def is_ready(self) -> bool:
        """Tells whether it answers."""
        return await http_status(self.socket, "/health") == 200
