"""Runs one of our services as a process of its own, as an installation would, for tests over a real channel."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.standalone.tokens import AUDIENCE, ISSUER, Issuer, Role

STARTUP_SECONDS = 30


@dataclass
class RunningService:
    """A service that answers."""

    channel: grpc.aio.Channel
    process: asyncio.subprocess.Process
    issuer: Issuer
    directory: Path

    def token(self, workspace: str = "ada", role: Role = "owner", user: str = "ada") -> tuple[tuple[str, str], ...]:
        """The metadata of a call by a user with a role in a workspace."""
        token = self.issuer.user_token(workspace, role=role, user=user, lifetime=timedelta(hours=1))
        return (("authorization", f"Bearer {token}"),)

    async def kill(self) -> None:
        """Ends the process as a power cut would."""
        self.process.kill()
        await self.process.wait()


def environment(service: str, directory: Path, issuer: Issuer, database: str) -> dict[str, str]:
    """The settings that every service needs."""
    prefix = service.upper()
    artifacts = {f"{prefix}_ARTIFACTS__URL": f"file://{directory}/artifacts"} if service != "ingestion" else {}
    return {
        **artifacts,
        f"{prefix}_LISTEN": f"unix:{directory}/{service}.sock",
        f"{prefix}_DATABASE": database,
        f"{prefix}_IDENTITY__ISSUER": ISSUER,
        f"{prefix}_IDENTITY__AUDIENCE": f'["{AUDIENCE}"]',
        f"{prefix}_IDENTITY__JWKS": str(issuer.jwks),
        f"{prefix}_PUBLIC_URL": "request",
        f"{prefix}_DRAIN": "PT0S",
        f"{prefix}_GRACE": "PT2S",
    }


@asynccontextmanager
async def running(
    service: str, directory: Path, database: str, settings: Mapping[str, str] | None = None
) -> AsyncIterator[RunningService]:
    """Runs a service until the end of the context. `directory` has a short path, since its socket lies there."""
    issuer_directory = directory / "identity"
    issuer_directory.mkdir(exist_ok=True)
    issuer = Issuer(issuer_directory)
    log = directory / f"{service}.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"services.{service}",
            env={
                "PATH": os.environ["PATH"],
                **environment(service, directory, issuer, database),
                **(settings or {}),
            },
            stderr=output,
            stdout=output,
        )
    try:
        async with grpc.aio.insecure_channel(f"unix:{directory}/{service}.sock") as channel:
            await _answering(channel, process, log)
            yield RunningService(channel, process, issuer, directory)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _answering(channel: grpc.aio.Channel, process: asyncio.subprocess.Process, log: Path) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    check = asyncio.create_task(_serving(health))
    ended = asyncio.create_task(process.wait())
    done, pending = await asyncio.wait({check, ended}, timeout=STARTUP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if check not in done:
        raise AssertionError(f"the service did not start:\n{log.read_text()[-4000:]}")
    await check


async def _serving(health: health_pb2_grpc.HealthStub) -> None:
    while True:
        try:
            # `wait_for_ready` ends the wait as soon as the socket is there.
            answer = await health.Check(
                health_pb2.HealthCheckRequest(service="readiness"), wait_for_ready=True, timeout=STARTUP_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        else:
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
        await asyncio.sleep(0.05)
