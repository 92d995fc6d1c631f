"""What callers see when services are away, slow or restarting, and when callers themselves misbehave."""

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.edge.client import Client
from tests.edge.running import Edge, running_edge
from tests.edge.upstream import SERVICES, Upstream, body
from workflow_runner.v1 import job_pb2, status_service_pb2, status_service_pb2_grpc
from workflow_runner.v1.submission_service_pb2 import ExecuteProcessResponse

JSON = "Content-Type: application/json"
EXECUTION = "/workspaces/ada/processes/water/execution"


class Flaky:
    """Fails at first."""

    def __init__(self, answer: Any, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        self.answer = answer
        self.code = code
        self.calls = 0

    def __call__(self, _: Any, context: grpc.ServicerContext) -> Any:
        self.calls += 1
        if self.calls == 1:
            context.abort(self.code, "Not yet.")
        return self.answer


def test_a_service_that_is_away_is_missed_alone(running: Edge, client: Client, upstream: Upstream) -> None:
    upstream.stop("status")
    try:
        # Before the edge has noticed and after.
        for _ in range(2):
            response = client.get("/workspaces/ada/jobs/j")
            assert response.problem["status"] == 503
            assert response.problem["instance"] == "/workspaces/ada/jobs/j"
            assert "Try again" in response.problem["detail"]
            assert response.headers["retry-after"] == "2"
            running.wait_until_healthy("status", healthy=False)
        assert client.get("/readyz").problem["status"] == 503
        assert client.get("/livez").status == 200
        assert client.request("DELETE", "/workspaces/ada/jobs/j").status == 200
        with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel, pytest.raises(grpc.RpcError) as refused:
            status_service_pb2_grpc.StatusServiceStub(channel).GetJob(status_service_pb2.GetJobRequest())
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    finally:
        upstream.start("status")
    running.wait_until_healthy("status")

    assert client.get("/workspaces/ada/jobs/j").status == 200
    assert client.get("/readyz").status == 200


def test_a_service_that_drains_is_left_alone(running: Edge, http1: Client, upstream: Upstream) -> None:
    answer = health_pb2.HealthCheckResponse
    started = time.monotonic()
    upstream.states["ingestion"].set("", answer.NOT_SERVING)
    try:
        running.wait_until_healthy("ingestion", healthy=False)
        noticed = time.monotonic() - started
        assert http1.get("/workspaces/ada/ingestions").problem["status"] == 503
    finally:
        upstream.states["ingestion"].set("", answer.SERVING)
    running.wait_until_healthy("ingestion")

    assert noticed < 3
    assert upstream.calls == []


@pytest.mark.parametrize(
    ("rpc", "verb", "path", "headers", "answer", "calls"),
    [
        ("GetJob", "GET", "/workspaces/ada/jobs/j", [], job_pb2.Job(), 2),
        ("ExecuteProcess", "POST", EXECUTION, [JSON, "Idempotency-Key: k"], ExecuteProcessResponse(), 2),
        ("ExecuteProcess", "POST", EXECUTION, [JSON], ExecuteProcessResponse(), 1),
        ("DismissJob", "DELETE", "/workspaces/ada/jobs/j", [], job_pb2.Job(), 1),
    ],
)
def test_only_what_may_be_done_twice_is_tried_twice(
    http1: Client, upstream: Upstream, rpc: str, verb: str, path: str, headers: list[str], answer: Any, calls: int
) -> None:
    flaky = upstream.answers[rpc] = Flaky(answer)

    response = http1.request(verb, path, *headers, body="{}" if verb == "POST" else None)

    assert (flaky.calls, response.status) == (calls, 200 if calls == 2 else 503)


def test_a_read_that_a_service_dropped_is_tried_again(http1: Client, upstream: Upstream) -> None:
    flaky = upstream.answers["GetJob"] = Flaky(job_pb2.Job(), grpc.StatusCode.CANCELLED)

    assert (http1.get("/workspaces/ada/jobs/j").status, flaky.calls) == (200, 2)


def test_a_caller_cannot_ask_for_more_tries(http1: Client, upstream: Upstream) -> None:
    flaky = upstream.answers["DismissJob"] = Flaky(job_pb2.Job())

    http1.request("DELETE", "/workspaces/ada/jobs/j", "X-Envoy-Retry-On: unavailable", "X-Envoy-Max-Retries: 3")

    assert flaky.calls == 1


def test_a_slow_answer_is_given_up(impatient: Edge, upstream: Upstream) -> None:
    def slowly(*_: Any) -> job_pb2.Job:
        time.sleep(2)
        return job_pb2.Job()

    upstream.answers["GetJob"] = slowly

    problem = Client(impatient.root).get("/workspaces/ada/jobs/j").problem

    assert (problem["status"], problem["title"]) == (504, "Gateway Timeout")


def test_a_stream_may_be_silent_for_long(impatient: Edge, upstream: Upstream) -> None:
    def slowly() -> Iterator[Any]:
        for _ in range(2):
            yield body("x", "text/plain")
            time.sleep(1.8)

    upstream.answers["ReadLog"] = upstream.answers["ReadResult"] = lambda *_: slowly()
    upstream.answers["WatchJob"] = lambda *_: (status_service_pb2.WatchJobResponse(sse=part) for part in slowly())
    running = [
        subprocess.Popen(
            ["curl", "-sSN", version, f"{impatient.root}/workspaces/ada/jobs/j/{path}"], stdout=subprocess.PIPE
        )
        for path in ("events", "logs/one?follow=true", "results/out")
        for version in ("--http1.1", "--http2-prior-knowledge")
    ]

    assert [curl.communicate(timeout=20)[0] for curl in running] == [b"xx"] * 6
    assert [curl.returncode for curl in running] == [0] * 6


def test_headers_that_come_drop_by_drop_are_given_up(impatient: Edge) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=10) as connection:
        started = time.monotonic()
        connection.sendall(b"GET /workspaces/ada HTTP/1.1\r\nHost: a\r\n")
        answer = connection.recv(65536)

    assert time.monotonic() - started < 5
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in answer


def test_a_body_that_comes_drop_by_drop_is_given_up(impatient: Edge, upstream: Upstream) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=10) as connection:
        connection.sendall(
            b"POST /workspaces/ada/processes HTTP/1.1\r\nHost: a\r\nContent-Type: application/cwl\r\n"
            b"Content-Length: 1000\r\n\r\n"
        )
        started = time.monotonic()
        connection.settimeout(0.3)
        answer = b""
        while not answer and time.monotonic() - started < 10:
            connection.sendall(b"a")
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                continue

    assert answer.startswith(b"HTTP/1.1 408")
    assert upstream.calls == []


def test_a_rolling_restart_fails_no_request() -> None:
    # A pair of its own, since the other edges would notice too.
    one, other = (Upstream(Path(tempfile.mkdtemp(prefix="wr-edge-"))) for _ in range(2))
    for cluster in SERVICES:
        one.start(cluster)
    other.start("status")

    def with_the_other(text: str) -> str:
        document = json.loads(text)
        (status,) = [one for one in document["static_resources"]["clusters"] if one["name"] == "status"]
        endpoints = status["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoints.append({"endpoint": {"address": {"pipe": {"path": str(other.socket("status"))}}}})
        return json.dumps(document)

    answers: Counter[int | str] = Counter()
    over = threading.Event()

    def ask(port: int) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            while not over.is_set():
                try:
                    connection.request("GET", "/workspaces/ada/jobs/j")
                    response = connection.getresponse()
                    response.read()
                    answers[response.status] += 1
                except (OSError, http.client.HTTPException) as error:
                    answers[repr(error)] += 1
                    connection.close()

    with running_edge(one, "rolling", with_the_other) as edge:
        edge.wait_until("cluster.status.membership_healthy", 2)
        callers = [threading.Thread(target=ask, args=(edge.port,)) for _ in range(4)]
        for caller in callers:
            caller.start()
        try:
            for replica in (one, other):
                replica.drain("status", seconds=1.5)
                replica.stop("status", grace=5)
                replica.start("status")
                edge.wait_until("cluster.status.membership_healthy", 2)
        finally:
            over.set()
            for caller in callers:
                caller.join()
    for replica in (one, other):
        replica.stop_all()
        shutil.rmtree(replica.directory)

    assert answers[200] > 100
    assert set(answers) == {200}
