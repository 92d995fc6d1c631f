"""Whatever becomes of OPA, nothing is allowed, and the answer comes in time."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from services.access.identity import Subject
from services.access.policy import Opa, OpaEngine, PolicyInput, open_policy
from services.access.policy.opa import FAILURES_TO_OPEN, PAUSE
from services.shared.errors import Unavailable
from tests.policy.opa_server import MISSING, find_opa, start_opa
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_AUTHORIZATION_UNAVAILABLE

DEADLINE = timedelta(milliseconds=100)
IN_TIME = 0.35
"""What a caller may wait for the refusal at most, in seconds."""

DEVELOPER = Subject(id="ada", claims={"workspaces": {"w": "developer"}}, token_expiry=None)
DEPLOY = PolicyInput(subject=DEVELOPER, action="process.deploy", workspace="w", resource={"type": "workspace"})
ALLOWED = {"allow": True, "reason": "role", "hidden": False, "calling_workspace": "", "filter": None}

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(body: object, *, status: str = "200 OK", headers: str = "") -> Answer:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await _read_request(reader):
            head = (
                f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n{headers}\r\n"
            )
            writer.write(head.encode() + text)
            await writer.drain()

    return answer


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def hanging_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _read_request(reader)


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not reader.at_eof():
        writer.write(b" ")
        await asyncio.sleep(0.02)


async def cutting_short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _read_request(reader)
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"result": {"allow": true')
    await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> bool:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    except asyncio.IncompleteReadError:
        return False
    length = next(line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length"))
    await reader.readexactly(int(length))
    return True


@asynccontextmanager
async def opa_that_is(answer: Answer, directory: Path) -> AsyncIterator[Path]:
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        try:
            await answer(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    socket = directory / "opa.sock"
    server = await asyncio.start_unix_server(serve, socket)
    try:
        yield socket
    finally:
        server.close()
        for writer in connections:
            writer.close()


@asynccontextmanager
async def asking(socket: Path) -> AsyncIterator[OpaEngine]:
    async with OpaEngine.open("http://opa", socket=socket, deadline=DEADLINE) as engine:
        yield engine


async def refused(engine: OpaEngine) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable) as refusal:
        await engine.decide(DEPLOY)
    assert refusal.value.reason == ERROR_REASON_AUTHORIZATION_UNAVAILABLE
    assert time.monotonic() - started < IN_TIME


@pytest.mark.parametrize(
    "answer",
    [
        saying({}),
        saying({"result": True}),
        saying({"result": "true"}),
        saying("true"),
        saying({"result": ALLOWED | {"allow": "true"}}),
        saying({"result": ALLOWED | {"unknown": 1}}),
        saying({"result": {"allow": True}}),
        saying([{"result": ALLOWED}]),
        saying(b'{"result": {"allow": true'),
        saying(b""),
        saying(b"\xff\xfe"),
        saying(b" " * (2 << 20) + json.dumps({"result": ALLOWED}).encode()),
        saying({"result": ALLOWED}, status="500 Internal Server Error"),
        saying({"result": ALLOWED}, status="503 Service Unavailable"),
        saying({"result": ALLOWED}, status="404 Not Found"),
        saying({"result": ALLOWED}, status="302 Found", headers="Location: http://127.0.0.1:1/\r\n"),
        saying({"result": ALLOWED}, status="201 Created"),
        silent,
        dripping,
        cutting_short,
        hanging_up,
    ],
    ids=[
        "undefined",
        "bare true",
        "bare text",
        "text document",
        "allow as text",
        "unknown member",
        "members missing",
        "a list",
        "truncated JSON",
        "empty",
        "not UTF-8",
        "too large",
        "500",
        "503",
        "404",
        "redirect",
        "201",
        "black-holed",
        "dripping",
        "cut short",
        "hanging up",
    ],
)
async def test_an_opa_that_is_not_well_allows_nothing(tmp_path, answer):
    async with opa_that_is(answer, tmp_path) as socket, asking(socket) as engine:
        for _ in range(FAILURES_TO_OPEN + 2):
            await refused(engine)


async def test_an_opa_that_is_not_there_allows_nothing(tmp_path):
    async with asking(tmp_path / "nobody.sock") as engine:
        await refused(engine)


async def test_a_well_formed_answer_is_taken(tmp_path):
    async with opa_that_is(saying({"result": ALLOWED}), tmp_path) as socket, asking(socket) as engine:
        assert (await engine.decide(DEPLOY)).allow


async def test_a_connection_that_was_closed_while_idle_is_replaced(tmp_path):
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        text = json.dumps({"result": ALLOWED})
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        await writer.drain()

    async with opa_that_is(once, tmp_path) as socket, asking(socket) as engine:
        for _ in range(3):
            assert (await engine.decide(DEPLOY)).allow


async def test_an_opa_that_hangs_is_left_alone_for_a_moment_and_then_asked_again(tmp_path):
    asked = 0
    well = False

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await (saying({"result": ALLOWED}) if well else silent)(reader, writer)

    async with opa_that_is(answer, tmp_path) as socket, asking(socket) as engine:
        await asyncio.gather(*(refused(engine) for _ in range(FAILURES_TO_OPEN)))
        before = asked
        started = time.monotonic()
        await asyncio.gather(*(refused(engine) for _ in range(50)))
        assert (time.monotonic() - started < DEADLINE.total_seconds(), asked) == (True, before)

        well = True
        await asyncio.sleep(PAUSE.total_seconds())
        assert (await engine.decide(DEPLOY)).allow
        assert (await engine.decide(DEPLOY)).allow


async def test_opa_gets_the_token_it_asks_for(tmp_path):
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))

    async with (
        opa_that_is(answer, tmp_path) as socket,
        OpaEngine.open("http://opa", socket=socket, deadline=DEADLINE, token="s3cret") as engine,
    ):
        await refused(engine)

    assert b"POST /v1/data/workflow_runner/authz/decision HTTP/1.1" in seen[0]
    assert b"Authorization: Bearer s3cret" in seen[0]


@pytest.mark.skipif(not find_opa(), reason=MISSING)
async def test_a_running_opa_decides_and_a_killed_one_does_not(tmp_path):
    async with (
        start_opa(tmp_path) as socket,
        open_policy(Opa(socket=socket, deadline=timedelta(seconds=2))) as engine,
    ):
        assert (await engine.decide(DEPLOY)).allow
    socket.unlink(missing_ok=True)

    async with asking(socket) as engine:
        await refused(engine)
        async with start_opa(tmp_path):
            await asyncio.sleep(PAUSE.total_seconds())
            assert (await engine.decide(DEPLOY)).allow


@pytest.mark.skipif(not find_opa(), reason=MISSING)
async def test_an_opa_without_our_policy_allows_nothing(tmp_path):
    async with start_opa(tmp_path) as socket:
        connector = aiohttp.UnixConnector(str(socket))
        async with aiohttp.ClientSession(connector=connector) as session, asking(socket) as engine:
            policies = (await (await session.get("http://opa/v1/policies")).json())["result"]
            for policy in policies:
                assert (await session.delete(f"http://opa/v1/policies/{policy['id']}")).status == 200

            await refused(engine)
