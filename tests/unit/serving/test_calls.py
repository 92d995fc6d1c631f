"""What every call has around it, over a real channel: spans, errors, health and reflection."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import given
from hypothesis import strategies as st

from services.access.identity import IdentitySettings
from services.serving.health import MOST_WATCHERS, NOT_SERVING, SERVING, Health
from services.serving.reflection import enable_reflection
from services.serving.server import SUITE
from services.shared.errors import InvalidArgument, NotFound, Violation
from services.shared.names import JobName
from services.shared.trailers import LARGEST, LEFT_OUT, cut, details_of, percent_encoded, utf8
from services.standalone.tokens import AUDIENCE, ISSUER, Issuer
from tests.support.rpc import bearer, error_info, open_channel, over_rest, trailing, violations
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_INPUTS
from workflow_runner.v1.status_service_pb2 import Conformance, GetConformanceRequest, ReadLogRequest
from workflow_runner.v1.status_service_pb2_grpc import (
    StatusServiceServicer,
    StatusServiceStub,
    add_StatusServiceServicer_to_server,
)

CONFORMANCE = "/workflow_runner.v1.StatusService/GetConformance"
PIECES = 50
JOB = "workspaces/ada/jobs/01890a5d-ac96-774b-bcce-b302099a8057"
Opened = tuple[grpc.aio.Channel, tuple[tuple[str, str], ...], Health]


class Service(StatusServiceServicer):
    """Refuses as the test says, and streams a log."""

    error: Exception | None = None

    async def GetConformance(self, request: Any, context: Any) -> Conformance:
        if self.error:
            raise self.error
        return Conformance(conforms_to=["x"])

    async def ReadLog(self, request: Any, context: Any) -> AsyncIterator[HttpBody]:
        for _ in range(PIECES):
            yield HttpBody(data=b"x" * 65_536)


@asynccontextmanager
async def opened(directory: Path, service: Service) -> AsyncIterator[Opened]:
    issuer = Issuer(directory)
    health = Health()

    def register(server: grpc.aio.Server) -> None:
        add_StatusServiceServicer_to_server(service, server)
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        enable_reflection((*SUITE, "grpc.health.v1.Health"), server)

    async def facts(name: Any) -> dict[str, str]:
        return {"owner": "ada", "calling_workspace": "ada"}

    identity = IdentitySettings(issuer=ISSUER, audience=(AUDIENCE,), jwks=str(issuer.jwks))
    async with open_channel(register, identity=identity, facts={JobName: facts}) as channel:
        yield channel, bearer(issuer.user_token("ada", role="owner", user="ada", lifetime=timedelta(hours=1))), health


Opener = Callable[[Service], Any]


@pytest.fixture
def open_with(tmp_path: Path) -> Opener:
    return lambda service: opened(tmp_path, service)


async def test_health_is_watched_through_the_layers(open_with: Opener) -> None:
    async with open_with(Service()) as (channel, _, health):
        health.set("", SERVING)
        stub = health_pb2_grpc.HealthStub(channel)
        known = stub.Watch(health_pb2.HealthCheckRequest())
        unknown = stub.Watch(health_pb2.HealthCheckRequest(service="nobody"))
        first, nobody = await anext(aiter(known)), await anext(aiter(unknown))

        health.set("", NOT_SERVING)
        second = await anext(aiter(known))
        health.close()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await anext(aiter(known))

    states = health_pb2.HealthCheckResponse
    assert [states.SERVING, states.NOT_SERVING] == [first.status, second.status]
    assert states.SERVICE_UNKNOWN == nobody.status
    assert grpc.StatusCode.UNAVAILABLE == ended.value.code()


async def test_watchers_of_health_have_an_end_and_leave_room(open_with: Opener) -> None:
    async with open_with(Service()) as (channel, _, health):
        health.set("", SERVING)
        health._watchers = MOST_WATCHERS - 1
        stub = health_pb2_grpc.HealthStub(channel)
        last = stub.Watch(health_pb2.HealthCheckRequest())
        await anext(aiter(last))

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(stub.Watch(health_pb2.HealthCheckRequest())))
        last.cancel()
        async with asyncio.timeout(10):
            while health._watchers >= MOST_WATCHERS:
                await asyncio.sleep(0.01)
        again = await anext(aiter(stub.Watch(health_pb2.HealthCheckRequest())))

    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.value.code()
    assert health_pb2.HealthCheckResponse.SERVING == again.status


async def test_a_drained_service_serves_no_more() -> None:
    health = Health()
    health.set("a", SERVING)

    health.drain()
    health.set("a", SERVING)

    assert NOT_SERVING == health._states["a"]


@pytest.mark.parametrize(
    "sent",
    [b"\xff\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xc3\x28", b"\x07"],
    ids=["tags", "length", "text", "wire-type"],
)
@pytest.mark.parametrize(
    "method",
    [CONFORMANCE, "/grpc.health.v1.Health/Check", "/workflow_runner.v1.StatusService/ReadLog"],
)
async def test_bytes_that_are_no_message_are_an_invalid_argument(open_with: Opener, sent: bytes, method: str) -> None:
    async with open_with(Service()) as (channel, token, _):
        call = channel.unary_stream if method.endswith("ReadLog") else channel.unary_unary
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            answer = call(method, bytes, bytes)(sent, metadata=token)
            await (anext(aiter(answer)) if method.endswith("ReadLog") else answer)

    assert (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST") == (
        refused.value.code(),
        error_info(refused.value).reason,
    )
    assert "Error" not in str(refused.value.details())


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_bytes_that_are_no_question_are_an_invalid_argument_in_a_stream(open_with: Opener, version: str) -> None:
    method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    async with open_with(Service()) as (channel, _, _):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(channel.stream_stream(method, bytes, bytes)(iter([b"\x07"]))))

    assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("workflow_runner.v1.StatusService.ListJobs", "workflow_runner/v1/status_service.proto"),
        ("workflow_runner.v1.StatusService", "workflow_runner/v1/status_service.proto"),
        ("workflow_runner.v1.Job.state", "workflow_runner/v1/job.proto"),
        ("workflow_runner.v1.StatusService.Nothing", None),
        ("workflow_runner.v1.Nothing.ListJobs", None),
        ("nothing", None),
    ],
)
async def test_reflection_finds_methods_too(open_with: Opener, version: str, symbol: str, file: str | None) -> None:
    method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    question = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
    async with open_with(Service()) as (channel, _, _):
        call = channel.stream_stream(
            method,
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        answer = await anext(aiter(call(iter([question]))))

    files = [
        descriptor_pb2.FileDescriptorProto.FromString(one).name
        for one in answer.file_descriptor_response.file_descriptor_proto
    ]
    assert file in files if file else [] == files


@pytest.mark.parametrize("letter", ["x", "浸", "😀", "%", "\n", '"', "\ud800"])
@pytest.mark.parametrize("rest", [False, True])
async def test_a_refusal_with_many_violations_always_arrives(open_with: Opener, letter: str, rest: bool) -> None:
    service = Service()
    metadata_of_error: dict[str, Any] = {f"key{n}": letter * 500 for n in range(30)}
    service.error = InvalidArgument(
        ERROR_REASON_INVALID_INPUTS,
        "The inputs do not fit: {problem}",
        violations=[Violation(f"/inputs/{letter * 200}", letter * 3000) for _ in range(40)],
        problem=letter * 3000,
        **metadata_of_error,
    )
    async with open_with(service) as (channel, token, _):
        metadata = (*token, *over_rest("/workspaces/ada/" + "%E6%B5%B8" * 300)) if rest else token
        errors = []
        for _ in range(20):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await StatusServiceStub(channel).GetConformance(
                    GetConformanceRequest(parent="workspaces/ada"), metadata=metadata
                )
            errors.append(refused.value)

    assert {grpc.StatusCode.INVALID_ARGUMENT} == {error.code() for error in errors}
    assert {"INVALID_INPUTS"} == {error_info(error).reason for error in errors}
    if rest:
        assert all("moreErrors" in trailing(error)["x-problem"] for error in errors)
    else:
        listed = violations_of(errors[0])
        assert 0 < len(listed) < 40
        assert 40 - len(listed) == int(error_info(errors[0]).metadata[LEFT_OUT])
        # The sentence is the same in both places, or clients take the details for those of another status.
        assert status_of(errors[0]).message == errors[0].details()
    assert all(sent_bytes(error) <= LARGEST for error in errors)


async def test_a_refusal_of_usual_length_arrives_whole(open_with: Opener) -> None:
    service = Service()
    service.error = NotFound(
        ERROR_REASON_INVALID_INPUTS, "Größe ist 日本語.", violations=[Violation("/inputs/Größe", "Too large.")]
    )
    async with open_with(service) as (channel, token, _):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await StatusServiceStub(channel).GetConformance(
                GetConformanceRequest(parent="workspaces/ada"), metadata=token
            )

    assert "Größe ist 日本語." == refused.value.details()
    assert {"/inputs/Größe": "Too large."} == violations(refused.value)
    assert LEFT_OUT not in error_info(refused.value).metadata


@given(st.text(), st.integers(min_value=3, max_value=60))
def test_a_text_is_cut_where_a_character_ends(text: str, most: int) -> None:
    for width in (utf8, percent_encoded):
        short = cut(text, most, width)
        assert sum(map(width, short)) <= max(most, width("…"))
        assert text.replace("\0", "\ufffd").startswith(short.removesuffix("…"))


async def test_streams_that_are_cut_leave_nothing_in_the_log(
    open_with: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with open_with(Service()) as (channel, token, _):
        for _ in range(30):
            stream = StatusServiceStub(channel).ReadLog(ReadLogRequest(name=JOB, step="s"), metadata=token)
            stream.cancel()
        for taken in range(30):
            stream = StatusServiceStub(channel).ReadLog(ReadLogRequest(name=JOB, step="s"), metadata=token)
            for _ in range(taken):
                await stream.read()
            stream.cancel()
        whole = [
            piece
            async for piece in StatusServiceStub(channel).ReadLog(ReadLogRequest(name=JOB, step="s"), metadata=token)
        ]

    assert PIECES == len(whole)
    assert [] == [record.getMessage() for record in caplog.records]


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    return status_pb2.Status.FromString(dict(error.trailing_metadata() or ())["grpc-status-details-bin"])


def violations_of(error: grpc.aio.AioRpcError) -> list[Any]:
    for detail in status_of(error).details:
        found = error_details_pb2.BadRequest()
        if detail.Unpack(found):
            return list(found.field_violations)
    return []


def sent_bytes(error: grpc.aio.AioRpcError) -> int:
    entries = [
        ("grpc-message", "x" * sum(map(percent_encoded, error.details() or ""))),
        *(error.trailing_metadata() or ()),
    ]
    return sum(
        32 + len(key) + (len(value) if isinstance(value, str) else -(-len(value) // 3) * 4) for key, value in entries
    )


def test_details_fit_whatever_they_hold() -> None:
    error = InvalidArgument(ERROR_REASON_INVALID_INPUTS, "x", violations=[Violation("/" + "é" * 900, "é" * 900)] * 1000)

    details = details_of(grpc.StatusCode.INVALID_ARGUMENT, error, message="x", trace_id="0" * 32, with_violations=True)

    assert len(details) * 4 // 3 < LARGEST
