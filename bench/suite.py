"""The whole suite as a user starts it, with `workflow-runner up`, and REST calls to it."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from bench.machine import children, command_of, cpu_seconds, family_cpu_seconds
from bench.programs import BenchmarkFailed, line_with, program
from services.standalone.tokens import Issuer

WORKSPACE = "demo"
START_SECONDS = 90.0
STOP_SECONDS = 45.0
JOB_SECONDS = 60.0
LOOK_SECONDS = 0.01
ENDED = ("successful", "failed", "dismissed")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A suite that answers."""

    url: str
    token: str
    process: int
    run: Path
    """Where its sockets are."""
    session: aiohttp.ClientSession

    def socket(self, service: str) -> str:
        """Where a service listens, past Envoy."""
        return f"unix:{self.run / f'{service}.sock'}"

    @property
    def door(self) -> str:
        """Where Envoy listens, as a gRPC target."""
        return self.url.removeprefix("http://")

    def cpu(self) -> dict[str, float]:
        """The CPU seconds that each part has used."""
        used = {}
        for child in children(self.process):
            command = command_of(child)
            name = next((part.removeprefix("services.") for part in command if part.startswith("services.")), "")
            if name:
                used[name] = cpu_seconds(child)
            elif command and command[0].endswith("/envoy"):
                used["envoy"] = cpu_seconds(child)
            elif command and "postgres" in command[0]:
                used["postgres"] = family_cpu_seconds(child)
        return used

    async def call(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Asks for a path below the workspace, as its owner; gives the status and the JSON of the answer."""
        async with self.session.request(
            method,
            f"{self.url}/workspaces/{WORKSPACE}/{path}",
            data=body,
            headers={"authorization": f"Bearer {self.token}", **(headers or {})},
        ) as response:
            is_json = "json" in response.headers.get("content-type", "")
            return response.status, await response.json(content_type=None) if is_json else await response.text()

    async def accept(self, process_id: str, inputs: bytes) -> str:
        """Executes a process and gives the id of the accepted job. Raises BenchmarkFailed."""
        headers = {"content-type": "application/json", "prefer": "respond-async"}
        status, job = await self.call("POST", f"processes/{process_id}/execution", body=inputs, headers=headers)
        if status != 201:
            raise BenchmarkFailed(f"{process_id} was not accepted: {status} {job}")
        return str(job["jobID"])

    async def successful(self, job_id: str) -> None:
        """Waits until a job has ended. Raises BenchmarkFailed unless it was successful."""
        give_up = time.monotonic() + JOB_SECONDS
        while True:
            _, job = await self.call("GET", f"jobs/{job_id}")
            if job.get("status") == "successful":
                return
            if job.get("status") in ENDED or time.monotonic() > give_up:
                raise BenchmarkFailed(f"a job did not end well: {job}")
            await asyncio.sleep(LOOK_SECONDS)

    async def idle(self) -> None:
        """Waits until no job is left, so that the work behind one variant does not burden the next."""
        give_up = time.monotonic() + JOB_SECONDS
        while True:
            _, page = await self.call("GET", "jobs?status=accepted,running&limit=1")
            if not page["jobs"]:
                return
            if time.monotonic() > give_up:
                raise BenchmarkFailed("the jobs that were submitted did not end")
            await asyncio.sleep(5 * LOOK_SECONDS)


@asynccontextmanager
async def open_suite(directory: Path) -> AsyncIterator[Suite]:
    """Brings a suite up over a data directory, for the time of the context."""
    log = directory.with_name(f"{directory.name}.log")
    arguments = ["-m", "services.standalone", "up", "--port", "0", "--data-dir", str(directory)]
    async with (
        program(arguments, log=log, patience_seconds=STOP_SECONDS) as process,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
    ):
        ready = await line_with(process, "Ready after", log=log, patience_seconds=START_SECONDS)
        yield Suite(
            url=ready.rpartition(" at ")[2].partition("/workspaces/")[0],
            token=Issuer(directory / "identity").user_token(
                "demo", role="owner", user="bench", lifetime=timedelta(hours=8)
            ),
            process=process.pid,
            run=directory / "run",
            session=session,
        )
