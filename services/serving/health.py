"""The health of the services in this process (`grpc.health.v1`), asked once or watched."""

import asyncio
from collections.abc import AsyncIterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.serving.handlers import Context

MOST_WATCHERS = 500
"""Anybody may watch, so that their number has an end."""

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Tells how services stand."""

    def __init__(self) -> None:
        self._states: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._watchers = 0
        self._draining = False
        self._closed = False

    def set(self, service: str, state: int) -> None:
        """Says how a service stands. Once it drains nothing serves any more."""
        if not self._draining and self._states.get(service) != state:
            self._states[service] = state
            self._tell()

    def drain(self) -> None:
        """Says that nothing serves any more, for good."""
        self._draining = True
        self._states = dict.fromkeys(self._states, NOT_SERVING)
        self._tell()

    def close(self) -> None:
        """Ends the watches, which would go on for ever."""
        self._closed = True
        self._tell()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        """Answers how a service stands."""
        state = self._states.get(request.service)
        if state is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service here.")
        return health_pb2.HealthCheckResponse(status=state)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Streams how a service stands, now and after every change."""
        if self._watchers >= MOST_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many watch the health of this service.")
        self._watchers += 1
        try:
            told = None
            while not self._closed:
                changed = self._changed
                state = self._states.get(request.service, SERVICE_UNKNOWN)
                if state != told:
                    told = state
                    yield health_pb2.HealthCheckResponse(status=state)
                else:
                    await changed.wait()
        finally:
            self._watchers -= 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "The service is being stopped.")

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
