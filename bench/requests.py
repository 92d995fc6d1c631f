"""What a request costs: submission, one job, a page of jobs, through every door, against the plain echo."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from bench.figures import percentile
from bench.load import Answer, Order
from bench.machine import cpu_seconds
from bench.programs import BenchmarkFailed, last_line, line_with, program
from bench.starts import ECHO_INPUTS
from bench.suite import WORKSPACE, Suite

CALLERS = (1, 16)
SEEDS = 20
"""Jobs that are there before, so that the first page of the list is full."""

Ask: TypeAlias = "Literal['submit', 'get', 'list']"
Door: TypeAlias = "Literal['gRPC to the service', 'gRPC', 'REST']"
ASKS: tuple[Ask, ...] = ("submit", "get", "list")
DOORS: tuple[Door, ...] = ("gRPC to the service", "gRPC", "REST")
PARTS = ("service", "envoy", "postgres", "client")
ECHO = "plain echo"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One variant in one round."""

    variant: str
    callers: int
    per_second: float
    latencies: list[int]
    """In microseconds."""
    calls: int
    cpu: dict[str, float]
    """CPU seconds that each of PARTS used for all calls."""

    @property
    def p99(self) -> float:
        return percentile(self.latencies, 99)


class Generator:
    """The load generator, which runs as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    @asynccontextmanager
    async def open(cls, log: Path) -> AsyncIterator["Generator"]:
        """Starts it for the time of the context."""
        async with program(["-m", "bench.load"], log=log) as process:
            yield cls(process, log)

    async def fulfill(self, order: Order) -> Answer:
        """Has an order fulfilled. Raises BenchmarkFailed when a request was refused."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise BenchmarkFailed(f"the load generator gave up: {last_line(self._log)}")
        return Answer(**json.loads(line))


async def measure_requests(suite: Suite, directory: Path, *, rounds: int, seconds: float) -> list[Measurement]:
    """Runs all variants in turn, round after round."""
    socket = f"unix:{directory / 'echo.sock'}"
    log = directory / "echo.log"
    measurements: list[Measurement] = []
    async with AsyncExitStack() as stack:
        echo = await stack.enter_async_context(program(["-m", "bench.echo", socket], log=log))
        await line_with(echo, "Serving.", log=log, patience_seconds=30)
        generator = await stack.enter_async_context(Generator.open(directory / "load.log"))
        job = [await suite.accept("echo", ECHO_INPUTS) for _ in range(SEEDS)][-1]
        await suite.idle()

        async def measure(variant: str, order: Order, used: Callable[[], dict[str, float]]) -> None:
            before = used()
            answer = await generator.fulfill(order)
            if order.request == "submit":
                # The jobs still have to run: that is work of these requests, and no burden for those that follow.
                await suite.idle()
            spent = {part: after - before[part] for part, after in used().items()}
            measurements.append(
                Measurement(
                    variant=variant,
                    callers=order.callers,
                    per_second=len(answer.latencies) / answer.seconds,
                    latencies=answer.latencies,
                    calls=answer.calls,
                    cpu={**spent, "client": answer.cpu_seconds},
                )
            )

        for _ in range(rounds):
            for callers in CALLERS:
                plain = Order(door="grpc", request="echo", address=socket, callers=callers, seconds=seconds)
                await measure(ECHO, plain, lambda: {"service": cpu_seconds(echo.pid)})
                for variant, service, order in orders(suite, job, callers=callers, seconds=seconds):
                    await measure(variant, order, lambda service=service: _used(suite, service))  # type: ignore[misc]
    return measurements


def orders(suite: Suite, job: str, *, callers: int, seconds: float) -> Iterator[tuple[str, str, Order]]:
    """Each variant: its name, the service that answers it, and what the generator is told."""
    for ask in ASKS:
        service = "submission" if ask == "submit" else "status"
        for door in DOORS:
            address = {"gRPC to the service": suite.socket(service), "gRPC": suite.door, "REST": suite.url}[door]
            order = Order(
                door="rest" if door == "REST" else "grpc",
                request=ask,
                address=address,
                callers=callers,
                seconds=seconds,
                workspace=WORKSPACE,
                token=suite.token,
                job=job,
            )
            yield f"{ask}, {door}", service, order


def _used(suite: Suite, service: str) -> dict[str, float]:
    used = suite.cpu()
    return {"service": used[service], "envoy": used["envoy"], "postgres": used["postgres"]}
