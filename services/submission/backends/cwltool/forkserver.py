"""The service's side of the fork server: keeps one process warm and hands it runs to start."""

import array
import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .supervisor import clean_environment

START_SECONDS = 30.0


class ForkServer:
    """Starts supervisors by fork; starts itself anew when it has died, and never takes a running job with it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lock = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["ForkServer"]:
        """Starts the process and leaves it to warm up; it ends with the context."""
        server = cls()
        await server._replace(None)
        try:
            yield server
        finally:
            await asyncio.to_thread(server._end)

    @property
    def pid(self) -> int | None:
        """The process id of the fork server, while there is one."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def start(self, directory: Path, lock: int) -> bool:
        """Has a supervisor forked for the run in a directory, which inherits the lock; says whether one runs."""
        asked = self._process
        if await self._order(directory, lock):
            return True
        if (directory / "supervisor.json").exists():
            return True
        await self._replace(asked)
        return await self._order(directory, lock)

    async def _order(self, directory: Path, lock: int) -> bool:
        read, write = os.pipe()
        try:
            if self._control is None:
                return False
            descriptors = array.array("i", (lock, write))
            with contextlib.suppress(OSError):
                self._control.sendmsg([os.fsencode(directory)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
            os.close(write)
            write = -1
            return await _first_byte(read) == b"1"
        finally:
            os.close(read)
            if write >= 0:
                os.close(write)

    async def _replace(self, failed: "subprocess.Popen[bytes] | None") -> None:
        """Starts a process in place of one that does not answer, unless somebody has done so meanwhile."""
        async with self._lock:
            if self._process is failed:
                # It may be dying, and not be dead yet.
                await asyncio.to_thread(self._end)
                await asyncio.to_thread(self._begin)

    def _begin(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", f"{__package__}.zygote", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=clean_environment(),
                cwd="/",
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._control = ours

    def _close_control(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None

    def _end(self) -> None:
        self._close_control()
        if self._process is not None:
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


async def _first_byte(descriptor: int) -> bytes:
    """Waits for a byte or the end of a pipe without holding a thread."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(descriptor, ready)
    try:
        await asyncio.wait_for(readable, START_SECONDS)
    except TimeoutError:
        return b""
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, 1)
