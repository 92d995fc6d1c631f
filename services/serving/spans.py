"""The span around every call, under OpenTelemetry's names."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
import grpc.aio
from opentelemetry import propagate
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from services.serving.handlers import Context, wrapped
from services.shared.telemetry import tracer

FAULTS = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}
"""What a server is to blame for, as the conventions have it."""
CODES = {code.value[0]: code for code in grpc.StatusCode}


class Spans(grpc.aio.ServerInterceptor):
    """The outermost layer: a call belongs to the trace that it came with."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        return handler and wrapped(handler, partial(_around, handler_call_details.method))


@asynccontextmanager
async def _around(method: str, request: Any, context: Context) -> AsyncIterator[Any]:
    service, _, name = method.removeprefix("/").partition("/")
    carrier = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    with tracer.start_as_current_span(
        f"{service}/{name}",
        context=propagate.extract(carrier),
        kind=SpanKind.SERVER,
        attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
        # A refusal ends a call as an exception; what the status makes of it counts.
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield request
        finally:
            _conclude(span, context)


def _conclude(span: Span, context: Context) -> None:
    code = context.code() or grpc.StatusCode.OK
    code = code if isinstance(code, grpc.StatusCode) else CODES.get(code, grpc.StatusCode.UNKNOWN)
    span.set_attribute("rpc.grpc.status_code", code.value[0])
    if code in FAULTS:
        span.set_status(Status(StatusCode.ERROR, code.name))
