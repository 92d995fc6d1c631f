"""Makes a status of whatever went wrong: the only place where a refusal becomes gRPC and HTTP."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import structlog

from services.ogc.problems import TITLES, problem
from services.ogc.requests import RestRequest
from services.shared import errors, trailers
from services.shared.errors import ServiceError
from services.shared.telemetry import trace_id
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INTERNAL

log = structlog.get_logger()

# kind: gRPC code, HTTP status, title
KINDS: dict[type[ServiceError], tuple[grpc.StatusCode, int]] = {
    errors.InvalidArgument: (grpc.StatusCode.INVALID_ARGUMENT, 400),
    errors.Unauthenticated: (grpc.StatusCode.UNAUTHENTICATED, 401),
    errors.PermissionDenied: (grpc.StatusCode.PERMISSION_DENIED, 403),
    errors.NotFound: (grpc.StatusCode.NOT_FOUND, 404),
    errors.AlreadyExists: (grpc.StatusCode.ALREADY_EXISTS, 409),
    errors.FailedPrecondition: (grpc.StatusCode.FAILED_PRECONDITION, 409),
    errors.ResourceExhausted: (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
    errors.Unavailable: (grpc.StatusCode.UNAVAILABLE, 503),
    errors.Unimplemented: (grpc.StatusCode.UNIMPLEMENTED, 501),
}


class InternalError(ServiceError):
    """A fault of ours, of which the caller learns nothing but that."""


async def abort(
    context: "grpc.aio.ServicerContext[Any, Any]", error: Exception, *, rest: RestRequest | None, action: str
) -> None:
    """Ends a call with the status of an error. Raises what it is given when that has ended the call already."""
    if isinstance(error, grpc.aio.AbortError | asyncio.CancelledError):
        raise error
    refusal = _refusal(error, action)
    code, http_status = KINDS.get(type(refusal), (grpc.StatusCode.INTERNAL, 500))
    http_status = refusal.http_status or http_status
    message = trailers.message_of(refusal, beside_a_problem=rest is not None)
    details = trailers.details_of(code, refusal, message=message, trace_id=trace_id(), with_violations=rest is None)
    trailing: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", details)]
    if rest is not None:
        trailing.append(("x-http-status", str(http_status)))
        trailing += [(key.lower(), value) for key, value in refusal.headers.items()]
        if refusal.retry_in is not None:
            trailing.append(("retry-after", str(max(1, round(refusal.retry_in.total_seconds())))))
        document = problem(
            refusal,
            status=http_status,
            title=TITLES.get(http_status, "Error"),
            rest=rest,
            trace_id=trace_id(),
            most=trailers.room_for_problem(trailing, message),
        )
        trailing.append(("x-problem", document.decode("ascii")))
    context.set_trailing_metadata(tuple(trailing))
    await context.abort(code, message)


def _refusal(error: Exception, action: str) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    log.error("A call failed for a reason of our own.", action=action, exc_info=error)
    return InternalError(ERROR_REASON_INTERNAL, "Internal error.")
