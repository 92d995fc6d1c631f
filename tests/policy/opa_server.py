"""Starts a real OPA for a test, where there is one."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from services.access.policy.files import policy_directory, read_data

REPOSITORY = Path(__file__).parents[2]
MISSING = "no OPA: neither .tools/bin/opa nor `opa` on the PATH"


def find_opa() -> str | None:
    """The OPA program of the tools folder, or else of the machine."""
    own = REPOSITORY / ".tools" / "bin" / "opa"
    return str(own) if own.is_file() else shutil.which("opa")


@asynccontextmanager
async def start_opa(directory: Path, overlay: dict[str, Any] | None = None) -> AsyncIterator[Path]:
    """Runs OPA with our policy on a unix socket in `directory`; gives the socket's path."""
    socket = directory / "opa.sock"
    overlay_file = directory / "overlay.json"
    overlay_file.write_text(json.dumps(overlay or {}))
    data = directory / "data.json"
    data.write_text(json.dumps(read_data(policy_directory(), overlay_file)))
    policy = policy_directory() / "workflow_runner.rego"
    program = find_opa()
    assert program
    server = await asyncio.create_subprocess_exec(
        *(program, "run", "--server", "--addr", f"unix://{socket}", "--log-level", "error", "--disable-telemetry"),
        *(str(policy), str(data)),
    )
    try:
        await _healthy(socket)
        yield socket
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()


async def _healthy(socket: Path) -> None:
    async with asyncio.timeout(20), aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session:
        while True:
            try:
                async with session.get("http://opa/health") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


async def ask(session: aiohttp.ClientSession, question: str) -> Any:
    """OPA's answer to an input document; None when the decision is undefined."""
    async with session.post(
        "http://opa/v1/data/workflow_runner/authz/decision", data=b'{"input":' + question.encode() + b"}"
    ) as response:
        assert response.status == 200, await response.text()
        return (await response.json()).get("result")
