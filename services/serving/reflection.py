"""Describes the contract to programs that know nothing of it (gRPC server reflection, `v1` and `v1alpha`)."""

from collections.abc import Iterable
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1 = "grpc.reflection.v1.ServerReflection"


class Pool:
    """The descriptors of this process, of which methods are found by their names too."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        """Raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            parent, _, method = symbol.rpartition(".")
            service = self._pool.FindServiceByName(parent)
            if method not in service.methods_by_name:
                raise
            return service.file


def enable_reflection(services: Iterable[str], server: grpc.aio.Server) -> None:
    """Serves the descriptors of the services that are named, and of all that they need."""
    servicer = reflection.aio.ReflectionServicer((*services, reflection.SERVICE_NAME), pool=Pool())
    # Both versions have the same messages but for the name of their package.
    for name in (reflection.SERVICE_NAME, V1):
        info = grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            reflection_pb2.ServerReflectionRequest.FromString,
            reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        handlers = {"ServerReflectionInfo": info}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
