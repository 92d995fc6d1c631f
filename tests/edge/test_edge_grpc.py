"""gRPC, grpc-web, health and reflection through the same port."""

import base64
import json
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.edge.client import Client
from tests.edge.running import Edge
from tests.edge.upstream import SERVICES, Upstream
from workflow_runner.v1 import job_pb2, status_service_pb2, status_service_pb2_grpc, submission_service_pb2
from workflow_runner.v1.submission_service_pb2_grpc import SubmissionServiceStub

GRPCURL = Path(__file__).parents[2] / ".tools" / "bin" / "grpcurl"


@pytest.fixture
def channel(running: Edge, upstream: Upstream) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        yield channel


@pytest.fixture
def grpcurl(running: Edge, upstream: Upstream) -> Callable[..., Any]:
    if not GRPCURL.exists():
        pytest.skip("grpcurl is not installed; `make tools` brings it")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        *options, what = arguments
        command = [str(GRPCURL), "-plaintext", *options, f"127.0.0.1:{running.port}", what]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    return call


def test_a_call_arrives_and_is_answered(channel: grpc.Channel, upstream: Upstream) -> None:
    upstream.answers["GetJob"] = lambda *_: job_pb2.Job(job_id="j", state=job_pb2.Job.running)

    job = status_service_pb2_grpc.StatusServiceStub(channel).GetJob(
        status_service_pb2.GetJobRequest(name="workspaces/ada/jobs/j"),
        metadata=[("authorization", "Bearer t"), ("x-user", "eve"), ("x-envoy-original-path", "/forged")],
        timeout=30,
    )

    assert (job.job_id, job.state) == ("j", job_pb2.Job.running)
    arrived = dict(upstream.last.metadata)
    assert arrived["authorization"] == "Bearer t"
    assert not {"x-user", "x-envoy-original-path", "x-original-content-type"} & set(arrived)


def test_a_deadline_of_the_caller_holds(channel: grpc.Channel, upstream: Upstream) -> None:
    left: list[float] = []

    def answer(_: Any, context: grpc.ServicerContext) -> job_pb2.Job:
        left.append(context.time_remaining())
        return job_pb2.Job()

    upstream.answers["GetJob"] = answer

    status_service_pb2_grpc.StatusServiceStub(channel).GetJob(status_service_pb2.GetJobRequest(), timeout=9)

    assert 5 < left[0] < 10


def test_a_refusal_keeps_its_details(channel: grpc.Channel, upstream: Upstream) -> None:
    def refuse(_: Any, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\x08\x05\x12\x03No."),))
        context.abort(grpc.StatusCode.NOT_FOUND, "No.")

    upstream.answers["DismissJob"] = refuse
    with pytest.raises(grpc.RpcError) as refused:
        SubmissionServiceStub(channel).DismissJob(submission_service_pb2.DismissJobRequest())

    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.NOT_FOUND, "No.")
    sent = [entry.value for entry in refused.value.trailing_metadata() if entry.key == "grpc-status-details-bin"]
    assert sent == [b"\x08\x05\x12\x03No."]


def test_a_stream_arrives_and_ends(channel: grpc.Channel, upstream: Upstream) -> None:
    upstream.answers["WatchJob"] = lambda *_: iter([status_service_pb2.WatchJobResponse()] * 3)

    stream = status_service_pb2_grpc.StatusServiceStub(channel).WatchJob(status_service_pb2.WatchJobRequest())

    assert len(list(stream)) == 3


def test_what_is_not_offered_is_unimplemented(channel: grpc.Channel, upstream: Upstream) -> None:
    for method in ("/workflow_runner.v1.StatusService/Nothing", "/other.Service/Call", "/workspaces/ada/jobs"):
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(method, bytes, bytes)(b"", timeout=10)
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert "{" not in str(refused.value.details())
    assert upstream.calls == []


def test_health_is_that_of_the_service_asked_about(channel: grpc.Channel, upstream: Upstream) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    answer = health_pb2.HealthCheckResponse
    ingestion = SERVICES["ingestion"].full_name
    upstream.states["ingestion"].set(ingestion, answer.NOT_SERVING)
    try:
        answers = {
            name: stub.Check(health_pb2.HealthCheckRequest(service=name)).status
            for name in ("", *(service.full_name for service in SERVICES.values()))
        }
        watched = next(iter(stub.Watch(health_pb2.HealthCheckRequest(service=ingestion)))).status
    finally:
        upstream.states["ingestion"].set(ingestion, answer.SERVING)

    assert {name for name, status in answers.items() if status == answer.NOT_SERVING} == {ingestion}
    assert watched == answer.NOT_SERVING
    with pytest.raises(grpc.RpcError) as refused:
        stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def test_grpc_web_arrives_and_is_answered(client: Client, upstream: Upstream) -> None:
    upstream.answers["GetJob"] = lambda *_: job_pb2.Job(job_id="j")
    message = status_service_pb2.GetJobRequest(name="workspaces/ada/jobs/j").SerializeToString()
    frame = struct.pack(">BI", 0, len(message)) + message
    path = "/workflow_runner.v1.StatusService/GetJob"

    binary = client.request("POST", path, "Content-Type: application/grpc-web+proto", "X-Grpc-Web: 1", body=frame)
    spoken = "application/grpc-web-text"
    text = client.request(
        "POST", path, f"Content-Type: {spoken}", f"Accept: {spoken}", "X-Grpc-Web: 1", body=base64.b64encode(frame)
    )
    preflight = client.request("OPTIONS", path, "Origin: https://maps.example", "Access-Control-Request-Method: POST")

    assert job_pb2.Job.FromString(binary.body[5 : 5 + binary.body[4]]).job_id == "j"
    assert b"grpc-status:0" in binary.body
    assert base64.b64decode(text.body[:8])[:5] == binary.body[:5]
    assert binary.headers["access-control-allow-origin"] == "*"
    assert preflight.status == 204
    assert "x-grpc-web" in preflight.headers["access-control-allow-headers"]


def test_json_on_a_grpc_path_is_told_what_is_spoken_there(client: Client, upstream: Upstream) -> None:
    for service in ("workflow_runner.v1.StatusService/GetJob", "grpc.health.v1.Health/Check"):
        problem = client.request("POST", f"/{service}", "Content-Type: application/json", body="{}").problem
        assert (problem["status"], "gRPC" in problem["detail"]) == (415, True)
    assert upstream.calls == []


def test_the_services_can_be_listed_and_called(grpcurl: Callable[..., Any], upstream: Upstream) -> None:
    upstream.answers["GetJob"] = lambda *_: job_pb2.Job(job_id="j", state=job_pb2.Job.successful)

    listed = grpcurl("list").stdout.split()
    called = grpcurl("-d", '{"name": "workspaces/ada/jobs/j"}', "workflow_runner.v1.StatusService/GetJob")
    health = grpcurl("-d", '{"service": "workflow_runner.v1.StatusService"}', "grpc.health.v1.Health/Check")

    assert {service.full_name for service in SERVICES.values()} <= set(listed)
    assert json.loads(called.stdout)["status"] == "successful"
    assert json.loads(health.stdout) == {"status": "SERVING"}
