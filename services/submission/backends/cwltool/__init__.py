"""The embedded backend: cwltool, as a library, in one sandbox per run on this machine.

A run is a directory. It holds everything there is to know, so any process of the service finds the run again, and the
run goes on when every process of the service is gone:

    <runs>/<job id>-<attempt>/
        plan.json lock supervisor.json verdict.json engine.log   ours; see supervisor.py. A run with a plan is prepared
        box/                                                     all that the sandbox can write
            package.cwl request.json inputs/                     what to do
            events.jsonl logs/                                   what happens, see journal.py
            work/outputs/ result.json                            what came of it
"""

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from services.submission.backends import Execution, NotStaged, Observation, Run, StageIn

from . import directory, reading
from .cgroups import MIB
from .conclusion import observe
from .forkserver import ForkServer
from .machine import Machine
from .sandbox import SandboxUnavailableError, find_bubblewrap
from .supervisor import Plan

__all__ = ["Cwltool", "SandboxUnavailableError"]

HANDLE = directory.HANDLE
ASKS_FOR_NETWORK = re.compile(
    rb"""networkAccess["']?\s*:\s*["']?(?:true|True|TRUE|\$)|cwlVersion["']?\s*:\s*["']?(?:cwl:)?v1\.0\b"""
)
"""A package written for CWL 1.0 had network always; a later one says that it needs it."""
THREADS = 16
POLL_SECONDS = 0.02
LONGEST_POLL_SECONDS = 0.5
TERMINATE_SECONDS = 10.0

Found = TypeVar("Found")


class Cwltool:
    """Runs CWL packages on this machine; see Backend for what its methods promise."""

    def __init__(
        self, machine: Machine, stage_in: StageIn, *, fork_server: ForkServer | None, threads: ThreadPoolExecutor
    ) -> None:
        self._machine = machine
        self._stage_in = stage_in
        self._fork_server = fork_server
        self._threads = threads
        self._children: list[subprocess.Popen[bytes]] = []

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        runs_dir: Path,
        stage_in: StageIn,
        *,
        fork_server: bool = True,
        readable: Sequence[Path] = (),
        reserve_bytes: int = 0,
        private_networks: Sequence[str] = (),
    ) -> AsyncIterator["Cwltool"]:
        """Checks that this machine can start a sandbox and warms the engine up; runs outlive the context.

        `readable` are directories a job may read beside the system's programs and this Python; `reserve_bytes` of the
        disk are never left to jobs; jobs with a network reach `private_networks` too. Raises SandboxUnavailableError
        with a sentence that says what to do.
        """
        async with AsyncExitStack() as stack:
            threads = stack.enter_context(ThreadPoolExecutor(THREADS, thread_name_prefix="cwltool"))
            loop = asyncio.get_running_loop()
            bubblewrap = find_bubblewrap()
            machine = await loop.run_in_executor(
                threads, partial(Machine.prepare, runs_dir, bubblewrap, readable, private_networks=private_networks)
            )
            warm = await stack.enter_async_context(ForkServer.open()) if fork_server else None
            machine = replace(machine, reserve_bytes=reserve_bytes)
            yield cls(machine, stage_in, fork_server=warm, threads=threads)

    @property
    def network_lacks(self) -> str:
        """Why no job can have a network on this machine, as the end of a sentence; empty when one can."""
        return self._machine.network_lacks

    @property
    def directory(self) -> str:
        """The id of the directory of all runs."""
        return self._machine.directory

    async def stage(self, execution: Execution) -> str:
        """Prepares an attempt, or finds it; see Backend."""
        handle = f"{execution.job_id}-{execution.attempt}"
        run = self._run(handle)
        lock = await self._lock(run)
        if lock is None:
            return handle
        try:
            if directory.is_staged(run):
                return handle
            await self._in_thread(directory.prepare, run)
            inputs = await self._stage_in(dict(execution.inputs), run / "box" / "inputs")
            await self._in_thread(self._write_plan, run, execution, inputs)
        except BaseException:
            await asyncio.shield(self._in_thread(directory.remove, run))
            raise
        finally:
            os.close(lock)
        return handle

    async def launch(self, staged: str) -> str:
        """Starts what was prepared, or finds it; see Backend."""
        run = self._run(staged)
        if not await self._in_thread(directory.is_staged, run):
            raise NotStaged(staged)
        lock = await self._lock(run)
        if lock is None:
            return staged
        try:
            # Whoever had the lock may have removed the run.
            if not await self._in_thread(directory.is_staged, run):
                await self._in_thread(directory.remove, run)
                raise NotStaged(staged)
            if self._fork_server is None or not await self._fork_server.start(run, lock):
                await self._start_cold(run, lock)
        finally:
            os.close(lock)
        return staged

    async def find(self, job_id: str, attempt: int) -> str | None:
        """The handle of an attempt of which there is a directory; see Backend."""
        handle = f"{job_id}-{attempt}"
        return handle if await self._in_thread(self._run(handle).exists) else None

    async def runs(self) -> list[Run]:
        """The directories of runs; see Backend."""
        return await self._in_thread(directory.runs, self._machine.runs_dir)

    async def observe(self, handle: str, cursor: str) -> Observation:
        """Tells where a run stands; see Backend."""
        return await self._in_thread(observe, self._run(handle), reading.Cursor.parse(cursor))

    async def dismiss(self, handle: str) -> None:
        """Ends a run and removes everything of it; see Backend."""
        run = self._run(handle)
        asked = 0.0
        waited = 0.0
        while (lock := await self._in_thread(directory.try_lock, run)) is None:
            if not await self._in_thread(run.exists):
                return
            if waited >= asked:
                # First politely; when that does not help the kernel ends the supervisor, and with it the sandbox.
                await self._in_thread(directory.end_supervisor, run, signal.SIGTERM if waited == 0 else signal.SIGKILL)
                asked = waited + TERMINATE_SECONDS
            await asyncio.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
        try:
            await self._in_thread(directory.remove, run)
        finally:
            os.close(lock)

    @property
    def fork_server_pid(self) -> int | None:
        """The process id of the fork server, while there is one."""
        return self._fork_server.pid if self._fork_server is not None else None

    def _run(self, handle: str) -> Path:
        if HANDLE.fullmatch(handle) is None:
            raise ValueError(f"{handle!r} is not a handle of this backend")
        return self._machine.runs_dir / handle

    async def _in_thread(self, function: Callable[..., Found], *arguments: object) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _lock(self, run: Path) -> int | None:
        """The lock of a run that has to be prepared or started; None when somebody has started it."""
        pause = POLL_SECONDS
        while True:
            await self._in_thread(lambda: run.mkdir(mode=0o700, exist_ok=True))
            lock = await self._in_thread(directory.try_lock, run)
            if directory.is_started(run):
                if lock is not None:
                    os.close(lock)
                return None
            if lock is not None:
                return lock
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_POLL_SECONDS)

    def _write_plan(self, run: Path, execution: Execution, inputs: dict[str, Any]) -> None:
        limits = execution.limits
        box = run / "box"
        (box / "package.cwl").write_bytes(execution.package)
        network = limits.network and ASKS_FOR_NETWORK.search(execution.package) is not None
        refusal = ""
        if not limits.network:
            refusal = (
                "jobs of this workspace have none; the operator can allow it (SUBMISSION_LIMITS__NETWORK_WORKSPACES)"
            )
        elif network and self._machine.network is None:
            refusal = f"this installation has none to give: {self._machine.network_lacks}; the operator can see to it"
        request = {
            "workflow_id": execution.workflow_id,
            "inputs": inputs,
            "cores": limits.cores,
            "memory_mib": limits.memory_mib,
            "output_bytes": limits.output_mib * MIB,
            "files": limits.files,
            "processes": limits.processes,
            # What was written for CWL 1.0 asks without knowing.
            "network_refused": refusal if b"networkAccess" in execution.package else "",
        }
        (box / "request.json").write_text(json.dumps(request))
        self._machine.hand_over(box)
        plan = Plan(
            name=f"workflow-runner-{run.name}",
            sandbox=self._machine.sandbox(
                box,
                memory_bytes=limits.memory_mib * MIB,
                network=network,
            ),
            seconds=limits.time.total_seconds(),
            output_bytes=limits.output_mib * MIB,
            files=limits.files,
            reserve_bytes=self._machine.reserve_bytes,
            memory_bytes=limits.memory_mib * MIB,
            processes=limits.processes,
            cores=limits.cores,
        )
        plan.write(run)

    async def _start_cold(self, run: Path, lock: int) -> None:
        # A child that has ended stays until its parent has asked.
        self._children = [child for child in self._children if child.poll() is None]
        self._children.append(await self._in_thread(directory.start_and_wait, run, lock))
