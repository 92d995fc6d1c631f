"""Wraps the handlers of RPCs, of all four kinds, so that a layer need not know which kind it stands around."""

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, TypeAlias

import grpc
import grpc.aio

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Around: TypeAlias = Callable[[Any, Context], AbstractAsyncContextManager[Any]]
"""Is entered with what came, a request or an iterator of requests, and yields what the handler is called with."""

_MAKERS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
_BEHAVIORS = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


def wrapped(handler: Handler, around: Around, *, decodes: bool = False) -> Handler:
    """Makes a handler of the same kind that runs inside `around`.

    With `decodes` the bytes of the requests reach `around` as they came: gRPC itself answers UNKNOWN, with words of
    Python, to bytes that are not the message.
    """
    kind = (bool(handler.request_streaming), bool(handler.response_streaming))
    behavior = getattr(handler, _BEHAVIORS[kind])

    async def one(request: Any, context: Context) -> Any:
        async with around(request, context) as entered:
            return await behavior(entered, context)
        raise AssertionError("a layer swallowed an error")

    # A coroutine and no generator: gRPC leaves the generator of a call that was cut to be closed later, in a context
    # that is not its own, where neither a span nor a variable of the call can be ended.
    async def several(request: Any, context: Context) -> None:
        async with around(request, context) as entered:
            answers = behavior(entered, context)
            if inspect.isawaitable(answers):
                # It writes by itself.
                await answers
                return
            async with aclosing(answers):
                async for answer in answers:
                    await context.write(answer)

    return _MAKERS[kind](
        several if handler.response_streaming else one,
        None if decodes else handler.request_deserializer,
        handler.response_serializer,
    )
