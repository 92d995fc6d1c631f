"""Reads packages in short-lived children of a warm process, and makes our errors of what they find."""

import asyncio
import contextlib
import socket
import sys
from dataclasses import dataclass
from typing import Any, Self

import orjson
import structlog

from services.shared.errors import InvalidArgument, Violation
from services.submission.packages.limits import LENGTHS, WALL_SECONDS, check_size
from services.submission.packages.refusal import Refusal
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_PACKAGE, ErrorReason

MAX_ANSWER_BYTES = 16 << 20

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package that was read, checked and described."""

    document: bytes
    """The CWL as deployed, byte for byte."""
    media_type: str
    digest: str
    """`sha256:…` of the document and the chosen workflow."""
    workflow_id: str
    """The fragment to run; empty when the document is the process."""
    process_id: str
    cwl_version: str
    description: dict[str, Any]
    """The process description of OGC API - Processes, without links."""
    needs: list[dict[str, Any]]
    """What it needs of the installation; see `needs.py`."""
    cwl_inputs: dict[str, Any]
    """The inputs' types in the plain form of `cwl_types`, with defaults and formats."""
    warnings: tuple[str, ...]


class PackageReader:
    """Reads packages in short-lived children with CPU and memory limits.

    The warm process starts with the first package, or with `open()`, and again whenever it is gone.
    """

    def __init__(self, *, concurrency: int = 2) -> None:
        """Reads at most `concurrency` packages at a time; the others wait."""
        self._slots = asyncio.Semaphore(concurrency)
        self._starting = asyncio.Lock()
        self._control: socket.socket | None = None
        self._nursery: asyncio.subprocess.Process | None = None
        self._warming: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        # Beside everything else: it takes a second or two, and only the first package would have to wait for it.
        self._warming = asyncio.create_task(self._warm())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.wait([self._warming])
        await self.close()

    async def _warm(self) -> None:
        try:
            await self.open()
        except (OSError, RuntimeError, TimeoutError):
            log.exception("The package reader did not start and is tried again with the first package")

    async def open(self) -> None:
        """Starts the warm process, so that the first package need not wait for it."""
        async with self._starting:
            await self._start()

    async def close(self) -> None:
        """Ends the warm process; it ends by itself when this one dies."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._nursery is not None:
            with contextlib.suppress(ProcessLookupError):
                self._nursery.kill()
            await self._nursery.wait()
            self._nursery = None

    async def read(
        self,
        document: bytes,
        media_type: str,
        *,
        workflow: str | None = None,
        process_id: str | None = None,
        process_description: dict[str, Any] | None = None,
    ) -> Package:
        """Checks and describes a package.

        `workflow` chooses a process of `$graph`; `process_id` overrides the id; `process_description` overrides id,
        title, description, version and keywords. Raises InvalidArgument with the places of all offences; never takes
        longer than some seconds.
        """
        request = {
            "media_type": media_type,
            "workflow": workflow or None,
            "process_id": process_id or None,
            "process_description": process_description,
        }
        try:
            check_size(document)
            async with self._slots:
                found = await self._ask(orjson.dumps(request), document)
        except Refusal as refusal:
            raise to_error(refusal.to_dict()) from None
        return Package(document=document, media_type=media_type, **{**found, "warnings": tuple(found["warnings"])})

    async def _ask(self, request: bytes, document: bytes) -> dict[str, Any]:
        reader, writer = await self._connect()
        answer = b""
        try:
            # The nursery ends a child in time; the two seconds are for the nursery itself.
            async with asyncio.timeout(WALL_SECONDS + 2):
                writer.writelines([LENGTHS.pack(len(request), len(document)), request, document])
                await writer.drain()
                while chunk := await reader.read(MAX_ANSWER_BYTES):
                    answer += chunk
                    if len(answer) > MAX_ANSWER_BYTES:
                        break
        except (TimeoutError, OSError):
            log.warning("A package reader gave no answer")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        found: dict[str, Any] = {}
        with contextlib.suppress(orjson.JSONDecodeError):
            found = orjson.loads(answer)
        if "package" in found:
            return dict(found["package"])
        if "refusal" in found:
            raise to_error(found["refusal"])
        if "broken" in found:
            log.error("A package could not be read because of a fault of the reader", traceback=found["broken"])
        raise InvalidArgument(
            ERROR_REASON_INVALID_PACKAGE,
            "The package cannot be read with the time and memory that a package gets. Make it smaller or simpler.",
        )

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ours, theirs = socket.socketpair()
        try:
            async with self._starting:
                with theirs:
                    try:
                        await self._start()
                        socket.send_fds(self._started(), [b"x"], [theirs.fileno()])
                    except OSError:
                        # The warm process died since the last package.
                        await self.close()
                        await self._start()
                        socket.send_fds(self._started(), [b"x"], [theirs.fileno()])
            return await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            raise

    def _started(self) -> socket.socket:
        if self._control is None:
            raise RuntimeError("the package reader did not start")
        return self._control

    async def _start(self) -> None:
        if self._nursery is not None and self._nursery.returncode is None:
            return
        await self.close()
        control, theirs = socket.socketpair()
        control.setblocking(False)
        with theirs:
            # Isolated and with an empty environment: nothing of the service's secrets is there to be read.
            self._nursery = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-m",
                "services.submission.packages.nursery",
                stdin=theirs.fileno(),
                env={"LANG": "C.UTF-8"},
            )
        self._control = control
        async with asyncio.timeout(30):
            greeting = await asyncio.get_running_loop().sock_recv(control, 1)
        if not greeting:
            await self.close()
            raise RuntimeError("the package reader did not start")
        if greeting == b"u":
            log.warning("Package readers are not confined: this machine forbids namespaces")


def to_error(refusal: dict[str, Any]) -> InvalidArgument:
    """Makes our error of a refusal that crossed the border between child and service."""
    return InvalidArgument(
        ErrorReason.Value(refusal["reason"]),
        refusal["message"],
        http_status=refusal["http_status"],
        violations=[Violation(pointer, message) for pointer, message in refusal["offences"]],
        **refusal["metadata"],
    )
