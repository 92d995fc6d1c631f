"""Serves RPCs: the layers around every one of them, health, reflection and draining.

A service cannot register an RPC past the layers, so nothing is served without identity and policy.
"""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from typing import Any, TypeAlias

import grpc
import grpc.aio
import protovalidate
import structlog
from buf.validate import validate_pb2
from google.api import annotations_pb2
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2_grpc

from services.access.authorization import Authorizer
from services.access.identity import Subject, TokenVerifier
from services.access.policy import Decision
from services.ogc.negotiation import JSON, not_acceptable, quality
from services.ogc.requests import RestRequest
from services.serving.grpc_status import abort
from services.serving.handlers import Context as Context
from services.serving.handlers import wrapped
from services.serving.health import NOT_SERVING, SERVING, Health
from services.serving.reflection import enable_reflection
from services.serving.spans import Spans
from services.shared.errors import InvalidArgument, Violation
from services.shared.loop import Loop
from services.shared.names import Name, parse_name
from workflow_runner.v1 import (
    ingestion_service_pb2,
    options_pb2,
    page_service_pb2,
    status_service_pb2,
    submission_service_pb2,
)
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_QUERY_PARAMETER, ERROR_REASON_INVALID_REQUEST

log = structlog.get_logger()

Decode: TypeAlias = Callable[[bytes], Any]

LARGEST_MESSAGE = 8 * 1024 * 1024
UNGUARDED = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""What is served without identity and policy: it tells nothing of anybody's data."""
SINGULARS = {"workspaces": "workspace", "processes": "process", "jobs": "job", "ingestions": "ingestion"}
SUITE = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (submission_service_pb2, "SubmissionService"),
        (status_service_pb2, "StatusService"),
        (page_service_pb2, "PageService"),
        (ingestion_service_pb2, "IngestionService"),
    )
)
"""All services of the contract: each process can describe all of them, since one port leads to all."""


@dataclass
class Call:
    """One call, as far as the layers have come with it."""

    action: str
    request: Message
    context: Context
    rest: RestRequest | None
    _name: Name | None = None
    _subject: Subject | None = None
    _decision: Decision | None = None

    @property
    def name(self) -> Name:
        """The resource that the call is about."""
        assert self._name is not None
        return self._name

    @property
    def subject(self) -> Subject:
        """Who is calling, as verified by this service."""
        assert self._subject is not None
        return self._subject

    @property
    def decision(self) -> Decision:
        """The policy's decision, which allows the call."""
        assert self._decision is not None
        return self._decision

    def header(self, key: str) -> str | None:
        """A metadata entry of the call; the first one where there are several."""
        for name, value in self.context.invocation_metadata() or ():
            if name == key and isinstance(value, str):
                return value
        return None


_current: ContextVar[Call] = ContextVar("call")


def current_call() -> Call:
    """The call that is being answered."""
    return _current.get()


class Layers(grpc.aio.ServerInterceptor):
    """Errors, identity, authorization and validation around every RPC, in that order."""

    def __init__(self, verifier: TokenVerifier, authorizer: Authorizer, *, public_url: str | None = None) -> None:
        self._verifier = verifier
        self._authorizer = authorizer
        self._public_url = public_url
        self._validator = protovalidate.Validator()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None:
            return None
        if method.startswith(UNGUARDED):
            return wrapped(
                handler,
                partial(_unguarded, method, handler.request_deserializer, handler.request_streaming),
                decodes=True,
            )
        around = partial(self._around, Method.of(method), handler.request_deserializer)
        return wrapped(handler, around, decodes=True)

    @asynccontextmanager
    async def _around(self, method: "Method", decode: Decode, sent: bytes, context: Context) -> AsyncIterator[Message]:
        rest = RestRequest.of(context.invocation_metadata() or (), self._public_url)
        token = None
        try:
            request = _decoded(decode, sent)
            call = Call(method.action, request, context, rest)
            token = _current.set(call)
            call._name = parse_name(getattr(request, "name", "") or getattr(request, "parent", ""), method.form)
            call._subject = await self._verifier.verify(call.header("authorization"))
            call._decision = await self._authorizer.authorize(call.subject, method.action, call.name)
            self._validate(request, method.query if rest else frozenset())
            if rest and method.json_only and not quality(rest.headers.get("accept", ""), JSON):
                raise not_acceptable(rest.headers.get("accept", ""), JSON)
            yield request
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status and no more
            await abort(context, error, rest=rest, action=method.action)
        finally:
            if token is not None:
                _current.reset(token)

    def _validate(self, request: Message, query: frozenset[str]) -> None:
        """`query` has the names of the fields that came in a query."""
        violations = self._validator.collect_violations(request)
        if violations:
            fields = {_pointer(violation.proto.field, request.DESCRIPTOR).split("/")[1] for violation in violations}
            raise InvalidArgument(
                ERROR_REASON_INVALID_QUERY_PARAMETER if fields <= query else ERROR_REASON_INVALID_REQUEST,
                "The request breaks {count} rules, the first at {pointer}: {first}."
                if len(violations) > 1
                else "The request breaks a rule at {pointer}: {first}.",
                violations=[
                    Violation(_pointer(violation.proto.field, request.DESCRIPTOR), violation.proto.message or "")
                    for violation in violations
                ],
                count=len(violations),
                pointer=_pointer(violations[0].proto.field, request.DESCRIPTOR),
                first=violations[0].proto.message or "",
            )


@asynccontextmanager
async def _unguarded(
    method: str, decode: Decode, request_streaming: bool, sent: Any, context: Context
) -> AsyncIterator[Any]:
    try:
        yield _each_decoded(decode, sent) if request_streaming else _decoded(decode, sent)
    except Exception as error:  # noqa: BLE001 - as above
        await abort(context, error, rest=None, action=method)


def _decoded(decode: Decode, sent: bytes) -> Any:
    try:
        return decode(sent)
    except DecodeError as error:
        raise InvalidArgument(
            ERROR_REASON_INVALID_REQUEST,
            "The request cannot be read: its bytes are not the message that this call takes, or hold a text that is "
            "not UTF-8.",
        ) from error


async def _each_decoded(decode: Decode, sent: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for one in sent:
        yield _decoded(decode, one)


@dataclass(frozen=True)
class Method:
    """What the contract says of an RPC."""

    action: str
    json_only: bool
    """Whether it answers GET with a JSON document and nothing else."""
    form: str
    """That of the name which a request carries."""
    query: frozenset[str]
    """The fields that come in the query of a URL, by their names in JSON."""

    @classmethod
    @cache
    def of(cls, method: str) -> "Method":
        """Reads the descriptor of a method."""
        return cls(action_of(method), reads_json(method), form_of(method), query_of(method))


def reads_json(method: str) -> bool:
    """Whether an RPC answers GET with a JSON document and nothing else."""
    descriptor = _descriptor(method)
    rule = descriptor.GetOptions().Extensions[annotations_pb2.http]
    streams = descriptor.server_streaming or descriptor.output_type.full_name == HttpBody.DESCRIPTOR.full_name
    return bool(rule.get) and not streams


def form_of(method: str) -> str:
    """The form of the name that a request of the RPC carries, such as `workspaces/{workspace}/jobs/{job}`."""
    fields = _descriptor(method).input_type.fields_by_name
    field = fields.get("name") or fields["parent"]
    rules: Any = field.GetOptions().Extensions[validate_pb2.field]  # type: ignore[index]
    pattern: str = rules.string.pattern
    segments = pattern.strip("^$").split("/[^/]+")
    return "".join(f"{kinds}/{{{SINGULARS[kinds.strip('/')]}}}" for kinds in segments if kinds)


def query_of(method: str) -> frozenset[str]:
    """The fields of its request that an RPC reads from the query of a URL."""
    descriptor = _descriptor(method)
    rule = descriptor.GetOptions().Extensions[annotations_pb2.http]
    template = getattr(rule, rule.WhichOneof("pattern") or "get")
    taken = {rule.body, *re.findall(r"\{(\w+)", template)}
    return frozenset(field.json_name for field in descriptor.input_type.fields if field.name not in taken)


def action_of(method: str) -> str:
    """The policy action of an RPC, from its option. An RPC without one is a fault of the contract."""
    descriptor = _descriptor(method)
    action: str = descriptor.GetOptions().Extensions[options_pb2.action]  # type: ignore[index]
    if not action:
        raise LookupError(f"{method} has no policy action")
    return action


def _descriptor(method: str) -> MethodDescriptor:
    service, _, name = method.removeprefix("/").partition("/")
    found: MethodDescriptor = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(name)
    return found


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How a service is served."""

    listen: str
    """`unix:/path` or `host:port`."""
    reflection: bool
    drain: timedelta
    """How long calls are still taken after health says no, so that callers notice."""
    grace: timedelta
    """How long calls that are under way may take after that."""


async def serve(
    register: Callable[[grpc.aio.Server], None],
    layers: Layers,
    *,
    serving: Serving,
    loops: Sequence[Loop] = (),
    ready: Callable[[], Awaitable[bool]],
    end_streams: Callable[[], None] = lambda: None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains: health says no, calls end, loops end.

    `end_streams` is called before calls have to end: it ends those that would go on as long as they are let.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    server = grpc.aio.server(
        interceptors=[Spans(), layers],
        options=[
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_send_message_length", LARGEST_MESSAGE),
            ("grpc.max_metadata_size", 32 * 1024),
            ("grpc.http2.max_concurrent_streams", 1000),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
            ("grpc.so_reuseport", 0),
        ],
    )
    register(server)
    state = Health()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    if serving.reflection:
        enable_reflection((*SUITE, "grpc.health.v1.Health"), server)
    server.add_insecure_port(serving.listen)
    await server.start()
    for service in ("", *SUITE):
        state.set(service, SERVING)
    log.info("Serving.", listen=serving.listen)

    async with AsyncExitStack() as stack:
        tasks = [asyncio.create_task(loop.run()) for loop in loops]
        watch = asyncio.create_task(_tell_readiness(state, ready))
        stack.callback(watch.cancel)
        ended = [*tasks, asyncio.create_task(stop.wait())]
        done, _ = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        log.info("Draining.")
        state.drain()
        await asyncio.sleep(serving.drain.total_seconds())
        state.close()
        end_streams()
        await server.stop(serving.grace.total_seconds())
        for loop in loops:
            loop.stop()
        for task in done:
            # A loop ends only when it is told to; anything else is a fault that must be seen.
            task.result()
        await asyncio.gather(*tasks)
    log.info("Stopped.")


async def _tell_readiness(state: Health, ready: Callable[[], Awaitable[bool]]) -> None:
    """Keeps the health of the name `readiness` true: what the service needs is there.

    The services themselves stay SERVING without it: a caller shall hear the reason from us, not a closed door.
    """
    while True:
        state.set("readiness", SERVING if await ready() else NOT_SERVING)
        await asyncio.sleep(1)


def _pointer(path: Any, descriptor: Any) -> str:
    """The JSON pointer of a field path, with the names that JSON uses."""
    segments: list[str] = []
    current = descriptor
    for element in _elements(path):
        field = current.fields_by_number.get(element.field_number) if current else None
        segments.append(field.json_name if field else element.field_name)
        index = getattr(element, "subscript", None)
        if index is not None and getattr(index, "value", None) is not None:
            segments.append(str(index.value))
        current = field.message_type if field else None
    return "".join(f"/{segment}" for segment in segments)


def _elements(path: Any) -> Iterable[Any]:
    return path.elements if path is not None else ()
