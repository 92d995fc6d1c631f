"""The plain server that everything is compared with: grpc.aio on uvloop, one unary RPC, no layers.

A program of its own: `python -m bench.echo unix:/path/to/socket`.
"""

import asyncio
import sys
from typing import Any

import grpc.aio
import uvloop
from google.api.httpbody_pb2 import HttpBody

SERVICE = "bench.Echo"
METHOD = "Echo"


async def answer(request: HttpBody, context: "grpc.aio.ServicerContext[Any, Any]") -> HttpBody:
    """Gives back what came."""
    return request


async def serve(address: str) -> None:
    """Serves until it is ended."""
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=HttpBody.FromString, response_serializer=HttpBody.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    server.add_insecure_port(address)
    await server.start()
    print("Serving.", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(serve(sys.argv[1]))
