"""The three services as the edge sees them: real gRPC servers whose answers the tests choose."""

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.api import httpbody_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.edge.operations import CLUSTERS
from workflow_runner.v1.process_pb2 import Process
from workflow_runner.v1.status_service_pb2 import WatchJobResponse
from workflow_runner.v1.submission_service_pb2 import ExecuteProcessResponse

SERVICES = {cluster: service for service, cluster in reversed(CLUSTERS.items())}
"""The first service of each."""
Answer = Callable[[Any, grpc.ServicerContext], Any]


@dataclass(frozen=True)
class Call:
    """One call that reached a service."""

    rpc: str
    request: Any
    metadata: list[tuple[str, str | bytes]]

    def header(self, name: str) -> str | bytes | None:
        return dict(self.metadata).get(name)


@dataclass
class Upstream:
    """The services, each on a unix socket in `directory`."""

    directory: Path
    calls: list[Call] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    states: dict[str, health.HealthServicer] = field(default_factory=dict)
    _servers: dict[str, grpc.Server] = field(default_factory=dict)

    def socket(self, cluster: str) -> Path:
        return self.directory / f"{cluster}.sock"

    def start(self, cluster: str) -> None:
        server = grpc.server(
            ThreadPoolExecutor(32), options=[("grpc.max_receive_message_length", 8 << 20), ("grpc.so_reuseport", 0)]
        )
        state = self.states[cluster] = health.HealthServicer()
        state.set("", health_pb2.HealthCheckResponse.SERVING)
        for service in (service for service, where in CLUSTERS.items() if where == cluster):
            handlers = {method.name: self._handler(method) for method in service.methods}
            server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service.full_name, handlers)])
            state.set(service.full_name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(state, server)
        names = [each.full_name for each in CLUSTERS]
        reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        server.add_insecure_port(f"unix:{self.socket(cluster)}")
        server.start()
        self._servers[cluster] = server

    def drain(self, cluster: str, *, seconds: float) -> None:
        """Says that it will end, and goes on for a while."""
        self.states[cluster].enter_graceful_shutdown()
        time.sleep(seconds)

    def stop(self, cluster: str, *, grace: float | None = None) -> None:
        self._servers.pop(cluster).stop(grace).wait()
        # A server removes its socket when it is collected, which must not be after the next one has made its own.
        gc.collect()
        self.socket(cluster).unlink(missing_ok=True)

    def stop_all(self) -> None:
        for cluster in list(self._servers):
            self.stop(cluster)

    def reset(self) -> None:
        self.calls.clear()
        self.answers.clear()

    @property
    def last(self) -> Call:
        return self.calls[-1]

    def _handler(self, method: MethodDescriptor) -> Any:
        answer_class = message_factory.GetMessageClass(method.output_type)

        def answer(request: Message, context: grpc.ServicerContext) -> Any:
            self.calls.append(Call(method.name, request, list(context.invocation_metadata())))
            given = self.answers.get(method.name)
            return given(request, context) if given else _plain(method, answer_class)

        def stream(request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
            given = answer(request, context)
            yield from [given] if isinstance(given, Message) else given

        decode = message_factory.GetMessageClass(method.input_type).FromString
        encode = answer_class.SerializeToString
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, decode, encode)
        return grpc.unary_unary_rpc_method_handler(answer, decode, encode)


def body(data: str | bytes, content_type: str = "application/json") -> httpbody_pb2.HttpBody:
    """A body as it is."""
    return httpbody_pb2.HttpBody(content_type=content_type, data=data.encode() if isinstance(data, str) else data)


def _plain(method: MethodDescriptor, answer_class: type[Message]) -> Message:
    """Names the RPC wherever REST shows a document, and is empty otherwise."""
    document = body(f'{{"rpc":"{method.name}"}}')
    match method.name:
        case "GetProcess":
            return Process(document=document)
        case "ExecuteProcess":
            return ExecuteProcessResponse(document=document)
        case "WatchJob":
            return WatchJobResponse(sse=body("event: end\ndata: {}\n\n", "text/event-stream"))
    return document if answer_class is httpbody_pb2.HttpBody else answer_class()
