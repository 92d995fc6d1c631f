"""The client of SubmissionService: what ingestion asks of it, with an identity of its own, like any other client.

Every method may be repeated: a process that is there already is replaced, which makes no revision of the same package,
and one that is gone already is undeployed.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.instrumentation.grpc import aio_client_interceptors
from pydantic import SecretStr

from services.shared.names import ProcessName, WorkspaceName
from workflow_runner.v1.process_pb2 import Process
from workflow_runner.v1.submission_service_pb2 import (
    DeployProcessRequest,
    ReplaceProcessRequest,
    UndeployProcessRequest,
)
from workflow_runner.v1.submission_service_pb2_grpc import SubmissionServiceStub

SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": "workflow_runner.v1.SubmissionService"}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

# What another attempt cannot change. Everything else may pass: an outage, a token that has not been renewed, a fault.
FINAL = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


@dataclass(frozen=True)
class Deployed:
    """A revision of a process that submission has deployed."""

    process_id: str
    revision: int
    digest: str


class SubmissionError(Exception):
    """Submission did not do what it was asked."""

    def __init__(self, message: str, reason: str = "", metadata: Mapping[str, str] | None = None) -> None:
        """`message` is a sentence for people: the service's own where it gave one."""
        self.message = message
        self.reason = reason
        self.metadata = metadata or {}
        super().__init__(message)


class SubmissionRefused(SubmissionError):
    """It refused, and will again."""


class SubmissionAway(SubmissionError):
    """It could not be asked, or could not do it now; it may succeed later."""


class TokenFile:
    """A token in a file, read again whenever the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, ...] = ()
        self._token = SecretStr("")

    def read(self) -> SecretStr:
        """Answers the token. Raises SubmissionAway when there is none to read."""
        try:
            stat = self._path.stat()
            version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if version != self._version:
                self._token = SecretStr(self._path.read_text(encoding="ascii").strip())
                self._version = version
        except (OSError, ValueError) as error:
            raise SubmissionAway("The token of ingestion cannot be read.") from error
        return self._token


class SubmissionClient:
    """Deploys and undeploys. Waits at most the deadline for each call."""

    def __init__(self, channel: grpc.aio.Channel, token: TokenFile, *, deadline: timedelta) -> None:
        self._stub = SubmissionServiceStub(channel)
        self._token = token
        self._deadline = deadline.total_seconds()

    @classmethod
    @asynccontextmanager
    async def open(cls, address: str, token: TokenFile, *, deadline: timedelta) -> AsyncIterator[Self]:
        """Opens a channel; submission need not be there yet."""
        options = [
            ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 5000),
        ]
        channel = grpc.aio.insecure_channel(address, options=options, interceptors=aio_client_interceptors())
        async with channel:
            yield cls(channel, token, deadline=deadline)

    async def deploy(self, workspace: str, content: bytes, media_type: str) -> Deployed:
        """Deploys a package, or replaces the process that it describes. Raises SubmissionRefused, SubmissionAway."""
        package = HttpBody(content_type=media_type, data=content)
        request = DeployProcessRequest(parent=str(WorkspaceName(workspace)), package=package)
        try:
            process = await self._call(self._stub.DeployProcess, request)
        except SubmissionRefused as refusal:
            if refusal.reason != "DUPLICATED_PROCESS":
                raise
            process = await self._replace(ProcessName(workspace, refusal.metadata["process"]), package)
        return Deployed(process.process_id, process.revision, process.digest)

    async def undeploy(self, workspace: str, process_id: str) -> None:
        """Undeploys a process; one that is not there is fine. Raises SubmissionRefused, SubmissionAway."""
        request = UndeployProcessRequest(name=str(ProcessName(workspace, process_id)))
        try:
            await self._call(self._stub.UndeployProcess, request)
        except SubmissionRefused as refusal:
            if refusal.reason != "NO_SUCH_PROCESS":
                raise

    async def _replace(self, name: ProcessName, package: HttpBody) -> Process:
        try:
            process: Process = await self._call(
                self._stub.ReplaceProcess, ReplaceProcessRequest(name=str(name), package=package)
            )
        except SubmissionRefused as refusal:
            if refusal.reason != "NO_SUCH_PROCESS":
                raise
            raise SubmissionAway("The process was undeployed at the same time.") from refusal
        return process

    async def _call(self, method: Callable[..., Awaitable[Any]], request: Message) -> Any:
        authorization = f"Bearer {self._token.read().get_secret_value()}"
        try:
            return await method(request, timeout=self._deadline, metadata=(("authorization", authorization),))
        except grpc.aio.AioRpcError as error:
            raise _translated(error) from error


def _translated(error: grpc.aio.AioRpcError) -> SubmissionError:
    kind = SubmissionRefused if error.code() in FINAL else SubmissionAway
    info = _error_info(error)
    if info is not None:
        return kind(error.details() or "", info.reason, dict(info.metadata))
    # Without a reason the words come from the transport, and tell about our machines.
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return kind("Submission did not answer in time.")
    if error.code() in FINAL:
        return kind(f"Submission refused with {error.code().name}.")
    return kind("Submission cannot be reached.")


def _error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo | None:
    info = error_details_pb2.ErrorInfo()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            try:
                details = status_pb2.Status.FromString(value).details
            except DecodeError:
                return None
            if any(detail.Unpack(info) for detail in details):
                return info
    return None
