"""A service behind its real layers, called over a real channel."""

import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from services.access.authorization import Authorizer, FactsReader
from services.access.identity import IdentitySettings, TokenVerifier
from services.access.policy import Embedded, open_policy
from services.serving.server import LARGEST_MESSAGE, Layers
from services.serving.spans import Spans

OVER_REST = (
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "runner.example"),
)


@asynccontextmanager
async def open_channel(
    register: Callable[[grpc.aio.Server], None],
    *,
    identity: IdentitySettings,
    facts: Mapping[type, FactsReader],
    policy_data: Path | None = None,
) -> AsyncIterator[grpc.aio.Channel]:
    """Serves on a socket of its own for the time of the context. Decides with the embedded policy."""
    with tempfile.TemporaryDirectory(prefix="wr-rpc-") as directory:
        address = f"unix:{Path(directory) / 'socket'}"
        async with TokenVerifier.open(identity) as verifier, open_policy(Embedded(data=policy_data)) as policy:
            server = grpc.aio.server(
                interceptors=[Spans(), Layers(verifier, Authorizer(policy, facts))],
                options=[("grpc.max_receive_message_length", LARGEST_MESSAGE)],
            )
            register(server)
            server.add_insecure_port(address)
            await server.start()
            try:
                async with grpc.aio.insecure_channel(address) as channel:
                    yield channel
            finally:
                await server.stop(None)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with a token."""
    return (("authorization", f"Bearer {token}"),)


def over_rest(path: str, content_type: str = "application/json") -> tuple[tuple[str, str], ...]:
    """The metadata that Envoy adds to a call which came over REST."""
    return (*OVER_REST, ("x-envoy-original-path", path), ("x-original-content-type", content_type))


def error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """The reason of a refusal and its metadata."""
    info = error_details_pb2.ErrorInfo()
    for detail in _details(error):
        if detail.Unpack(info):
            return info
    raise AssertionError(f"{error.code()} without a reason: {error.details()}")


def violations(error: grpc.aio.AioRpcError) -> dict[str, str]:
    """What is wrong with a request, by pointer."""
    found = error_details_pb2.BadRequest()
    for detail in _details(error):
        if detail.Unpack(found):
            return {violation.field: violation.description for violation in found.field_violations}
    return {}


def trailing(error: grpc.aio.AioRpcError) -> dict[str, str]:
    """The trailing metadata of a refusal that is text."""
    return {key: value for key, value in error.trailing_metadata() or () if isinstance(value, str)}


def _details(error: grpc.aio.AioRpcError) -> list[error_details_pb2.ErrorInfo]:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return list(status_pb2.Status.FromString(value).details)
    return []
