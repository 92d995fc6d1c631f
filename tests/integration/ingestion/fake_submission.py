"""A SubmissionService for tests: keeps processes in memory, with revisions as the real one counts them."""

import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc.aio
from google.protobuf.empty_pb2 import Empty

from services.serving.grpc_status import abort
from services.shared.errors import AlreadyExists, InvalidArgument, ServiceError
from services.shared.names import ProcessName, no_such
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_DUPLICATED_PROCESS,
    ERROR_REASON_INVALID_PACKAGE,
)
from workflow_runner.v1.process_pb2 import Process
from workflow_runner.v1.submission_service_pb2_grpc import (
    SubmissionServiceServicer,
    add_SubmissionServiceServicer_to_server,
)

PROCESS_ID = re.compile(rb'^id: *(\S+)|"id": *"([^"]+)"', re.MULTILINE)


def package(process_id: str, text: str = "") -> bytes:
    """A package as the service below understands it."""
    return f"cwlVersion: v1.2\nclass: CommandLineTool\nid: {process_id}\n# {text}\n".encode()


@dataclass
class FakeSubmission(SubmissionServiceServicer):
    """What was deployed, and which calls came."""

    processes: dict[str, Process] = field(default_factory=dict)
    """By resource name."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """The verb and the process of every call that reached it."""
    metadata: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    """Raised in turn by the next calls."""

    async def DeployProcess(self, request: Any, context: Any) -> Any:
        name = self._name(request.parent.removeprefix("workspaces/"), request.package.data)
        return await self._answer("deploy", name, context, lambda: self._deploy(name, request.package.data))

    async def ReplaceProcess(self, request: Any, context: Any) -> Any:
        name = ProcessName.parse(request.name)
        return await self._answer("replace", name, context, lambda: self._replace(name, request.package.data))

    async def UndeployProcess(self, request: Any, context: Any) -> Any:
        name = ProcessName.parse(request.name)
        return await self._answer("undeploy", name, context, lambda: self._undeploy(name))

    async def _answer(self, verb: str, name: ProcessName | None, context: Any, answer: Any) -> Any:
        self.calls.append((verb, name.process_id if name else ""))
        self.metadata.append(dict(context.invocation_metadata()))
        try:
            if self.faults:
                raise self.faults.pop(0)
            return answer()
        except Exception as error:
            if not isinstance(error, ServiceError):
                raise
            await abort(context, error, rest=None, action=verb)

    def _name(self, workspace: str, content: bytes) -> ProcessName | None:
        found = PROCESS_ID.search(content)
        return ProcessName(workspace, (found[1] or found[2]).decode()) if found else None

    def _deploy(self, name: ProcessName | None, content: bytes) -> Process:
        if name is None:
            raise InvalidArgument(ERROR_REASON_INVALID_PACKAGE, "The package has no id on line {line}.", line=1)
        if str(name) in self.processes:
            raise AlreadyExists(
                ERROR_REASON_DUPLICATED_PROCESS, "It is there.", process=name.process_id, workspace=name.workspace
            )
        return self._put(name, content, 1)

    def _replace(self, name: ProcessName, content: bytes) -> Process:
        if str(name) not in self.processes:
            raise no_such(name)
        current = self.processes[str(name)]
        return current if current.digest == _digest(content) else self._put(name, content, current.revision + 1)

    def _undeploy(self, name: ProcessName) -> Empty:
        if self.processes.pop(str(name), None) is None:
            raise no_such(name)
        return Empty()

    def _put(self, name: ProcessName, content: bytes, revision: int) -> Process:
        process = Process(name=str(name), process_id=name.process_id, revision=revision, digest=_digest(content))
        self.processes[str(name)] = process
        return process


@asynccontextmanager
async def serve_submission(address: str) -> AsyncIterator[FakeSubmission]:
    """Serves for the time of the context."""
    fake = FakeSubmission()
    server = grpc.aio.server()
    add_SubmissionServiceServicer_to_server(fake, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        yield fake
    finally:
        await server.stop(None)


@asynccontextmanager
async def socket_address() -> AsyncIterator[str]:
    """An address with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="wr-sub-") as directory:
        yield f"unix:{Path(directory) / 'socket'}"


def _digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"
