"""The load generator, a program of its own: takes orders on standard input, one JSON line each, answers with one.

Its callers each send the next request when the answer to the last one is there, so the number of callers is the number
of requests in flight. It is written in Python and shares the machine with what it measures, so it reports its own CPU
time.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import aiohttp
import grpc.aio
import uvloop
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.struct_pb2 import Struct

from bench.echo import METHOD, SERVICE
from workflow_runner.v1.status_service_pb2 import GetJobRequest, ListJobsRequest
from workflow_runner.v1.status_service_pb2_grpc import StatusServiceStub
from workflow_runner.v1.submission_service_pb2 import ExecuteProcessRequest
from workflow_runner.v1.submission_service_pb2_grpc import SubmissionServiceStub

PAYLOAD = "x" * 2048
"""What a request that brings something brings, to the echo as to the suite."""
PAGE = 10
TIMEOUT_SECONDS = 30
WARM_UP_SECONDS = 0.1

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to send, where, and for how long."""

    door: Literal["grpc", "rest"]
    request: Literal["echo", "submit", "get", "list"]
    address: str
    """A gRPC target, or the URL of the suite."""
    callers: int
    seconds: float
    workspace: str = ""
    token: str = ""
    job: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of an order."""

    seconds: float
    latencies: list[int]
    """Of each request that counts, in microseconds."""
    calls: int
    """All requests, those that warmed up included: what the servers have worked for."""
    cpu_seconds: float
    """What the generator itself used for all of them."""


async def fulfill(order: Order) -> Answer:
    """Sends the requests. Raises when one of them fails: a refusal is quick, and would pass for speed."""
    calls = 0
    latencies: list[int] = []
    opened = open_rest if order.door == "rest" else open_grpc

    async def caller(call: Call, until: float, spent: list[int]) -> None:
        nonlocal calls
        while (began := time.perf_counter()) < until:
            await call()
            spent.append(round((time.perf_counter() - began) * 1e6))
            calls += 1

    async def callers(call: Call, seconds: float, spent: list[int]) -> float:
        began = time.perf_counter()
        await asyncio.gather(*(caller(call, began + seconds, spent) for _ in range(order.callers)))
        return time.perf_counter() - began

    cpu = time.process_time()
    async with opened(order) as call:
        await callers(call, WARM_UP_SECONDS, [])
        seconds = await callers(call, order.seconds, latencies)
    return Answer(seconds=seconds, latencies=latencies, calls=calls, cpu_seconds=time.process_time() - cpu)


@asynccontextmanager
async def open_grpc(order: Order) -> AsyncIterator[Call]:
    """One channel for all callers."""
    metadata = (("authorization", f"Bearer {order.token}"),) if order.token else ()
    parent = f"workspaces/{order.workspace}"
    async with grpc.aio.insecure_channel(order.address) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[Any, Any]
        message: object
        match order.request:
            case "echo":
                call = channel.unary_unary(
                    f"/{SERVICE}/{METHOD}",
                    request_serializer=HttpBody.SerializeToString,
                    response_deserializer=HttpBody.FromString,
                )
                message = HttpBody(data=PAYLOAD.encode())
            case "submit":
                inputs = Struct()
                inputs.update({"message": PAYLOAD})
                call = SubmissionServiceStub(channel).ExecuteProcess
                message = ExecuteProcessRequest(name=f"{parent}/processes/echo", inputs=inputs)
            case "get":
                call = StatusServiceStub(channel).GetJob
                message = GetJobRequest(name=f"{parent}/jobs/{order.job}")
            case "list":
                call = StatusServiceStub(channel).ListJobs
                message = ListJobsRequest(parent=parent, page_size=PAGE)
        yield lambda: call(message, metadata=metadata, timeout=TIMEOUT_SECONDS)


@asynccontextmanager
async def open_rest(order: Order) -> AsyncIterator[Call]:
    """A connection for each caller, kept alive."""
    method, path, expected = {
        "submit": ("POST", "processes/echo/execution", 201),
        "get": ("GET", f"jobs/{order.job}", 200),
        "list": ("GET", f"jobs?limit={PAGE}", 200),
    }[order.request]
    url = f"{order.address}/workspaces/{order.workspace}/{path}"
    headers = {"authorization": f"Bearer {order.token}", "prefer": "respond-async"}
    body = None
    if method == "POST":
        headers["content-type"] = "application/json"
        body = json.dumps({"inputs": {"message": PAYLOAD}}).encode()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=order.callers),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        headers=headers,
    ) as session:

        async def call() -> None:
            async with session.request(method, url, data=body) as response:
                content = await response.read()
                if response.status != expected:
                    raise RuntimeError(f"{method} {path}: {response.status} {content[:300].decode(errors='replace')}")

        yield call


def main() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            answer = runner.run(fulfill(Order(**json.loads(line))))
            print(json.dumps(asdict(answer)), flush=True)


if __name__ == "__main__":
    main()
