"""What a service answers is what a caller over REST sees."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.rpc import status_pb2

from tests.edge.client import Client
from tests.edge.running import Edge, running_edge
from tests.edge.upstream import Upstream, body
from workflow_runner.v1.process_pb2 import Process
from workflow_runner.v1.status_service_pb2 import WatchJobResponse
from workflow_runner.v1.submission_service_pb2 import ExecuteProcessResponse

JSON = "Content-Type: application/json"
EXECUTION = "/workspaces/ada/processes/water/execution"
PROBLEM = {"type": "https://workflow-runner.dev/problems/x", "title": "X", "detail": "No \u2028 good."}


def answering(message: Any, *headers: tuple[str, str]) -> Callable[[Any, grpc.ServicerContext], Any]:
    """Sends headers, then the message or messages."""

    def answer(_: Any, context: grpc.ServicerContext) -> Any:
        context.send_initial_metadata(headers)
        return message

    return answer


def refusing(
    code: grpc.StatusCode, status: int | None = None, *headers: tuple[str, str], detail: str = "No."
) -> Callable[[Any, grpc.ServicerContext], Any]:
    """Aborts as the services do."""

    def answer(_: Any, context: grpc.ServicerContext) -> Any:
        details = status_pb2.Status(code=code.value[0], message=detail)
        metadata = [*headers, ("grpc-status-details-bin", details.SerializeToString())]
        if status is not None:
            metadata += [("x-http-status", str(status)), ("x-problem", json.dumps({**PROBLEM, "status": status}))]
        context.set_trailing_metadata(tuple(metadata))
        context.abort(code, detail)

    return answer


def test_created_brings_the_location_and_the_body(client: Client, upstream: Upstream) -> None:
    location = "http://localhost/workspaces/ada/jobs/j"
    upstream.answers["ExecuteProcess"] = answering(
        ExecuteProcessResponse(document=body('{"jobID":"j"}')),
        *(("x-http-status", "201"), ("location", location), ("preference-applied", "respond-async")),
    )

    response = client.request("POST", EXECUTION, JSON, "Prefer: respond-async", body="{}")

    assert (response.status, response.body) == (201, b'{"jobID":"j"}')
    assert (location, "respond-async") == (response.headers["location"], response.headers["preference-applied"])
    assert response.headers["content-type"] == "application/json"
    assert not {"x-http-status", "grpc-status", "x-problem", "server", "grpc-accept-encoding"} & set(response.headers)


@pytest.mark.parametrize("verb", ["PUT", "DELETE"])
def test_no_content_has_none(client: Client, upstream: Upstream, verb: str) -> None:
    upstream.answers["ReplaceProcess"] = answering(
        Process(name="x", description="y" * 50_000), ("x-http-status", "204")
    )
    upstream.answers["UndeployProcess"] = answering(Empty(), ("x-http-status", "204"))

    response = client.request(verb, "/workspaces/ada/processes/water", JSON, body="{}" if verb == "PUT" else None)

    assert (response.status, response.body) == (204, b"")
    assert not {"content-length", "content-type", "transfer-encoding"} & set(response.headers)


def test_a_part_of_a_file_is_answered_as_one(client: Client, upstream: Upstream) -> None:
    def parts() -> Iterator[Any]:
        yield body(b"ab", "image/tiff")
        yield body(b"cd")

    upstream.answers["ReadResult"] = answering(
        parts(), ("x-http-status", "206"), ("content-range", "bytes 2-5/9"), ("etag", '"e"')
    )

    response = client.get("/workspaces/ada/jobs/j/results/out", "Range: bytes=2-5", 'If-Range: "e"')

    assert (response.status, response.body, response.headers["content-type"]) == (206, b"abcd", "image/tiff")
    assert (response.headers["content-range"], response.headers["etag"]) == ("bytes 2-5/9", '"e"')
    assert (upstream.last.header("range"), upstream.last.header("if-range")) == ("bytes=2-5", '"e"')


def test_head_of_a_download_has_its_headers_and_nothing_else(client: Client, upstream: Upstream) -> None:
    upstream.answers["ReadResult"] = answering(
        iter([body(b"x" * 100_000, "image/tiff")] * 10), ("content-disposition", 'attachment; filename="a.tif"')
    )

    response = client.request("HEAD", "/workspaces/ada/jobs/j/results/out/a.tif")

    assert (response.status, response.headers["content-type"]) == (200, "image/tiff")
    assert response.headers["content-disposition"] == 'attachment; filename="a.tif"'


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 400),
        (grpc.StatusCode.UNAUTHENTICATED, 401),
        (grpc.StatusCode.PERMISSION_DENIED, 403),
        (grpc.StatusCode.NOT_FOUND, 404),
        (grpc.StatusCode.INVALID_ARGUMENT, 406),
        (grpc.StatusCode.ALREADY_EXISTS, 409),
        (grpc.StatusCode.INVALID_ARGUMENT, 413),
        (grpc.StatusCode.INVALID_ARGUMENT, 415),
        (grpc.StatusCode.INVALID_ARGUMENT, 416),
        (grpc.StatusCode.FAILED_PRECONDITION, 422),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
        (grpc.StatusCode.INTERNAL, 500),
        (grpc.StatusCode.UNIMPLEMENTED, 501),
        (grpc.StatusCode.UNAVAILABLE, 503),
    ],
)
def test_a_refusal_brings_its_problem_document(
    client: Client, upstream: Upstream, code: grpc.StatusCode, status: int
) -> None:
    paths = {
        "GetJob": "/workspaces/ada/jobs/j",
        "WatchJob": "/workspaces/ada/jobs/j/events",
        "GetResults": "/workspaces/ada/jobs/j/results",
        "ReadResult": "/workspaces/ada/jobs/j/results/out",
    }
    for rpc, path in paths.items():
        upstream.answers[rpc] = refusing(code, status, ("retry-after", "7"), ("www-authenticate", "Bearer"))
        response = client.get(path)
        assert {**PROBLEM, "status": status} == response.problem
        assert (response.headers["retry-after"], response.headers["www-authenticate"]) == ("7", "Bearer")
        assert not {"grpc-status", "grpc-message", "grpc-status-details-bin", "x-problem"} & set(response.headers)
    upstream.answers["GetJob"] = refusing(code, status)
    assert status == client.request("HEAD", paths["GetJob"]).status


def test_a_refusal_without_a_document_gets_one(client: Client, upstream: Upstream) -> None:
    upstream.answers["GetJob"] = refusing(grpc.StatusCode.NOT_FOUND, detail='No "\u00e4" \\ here\n.')
    problem = client.get("/workspaces/ada/jobs/j?").problem

    assert problem == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": 'No "\u00e4" \\ here\n.',
        "instance": "/workspaces/ada/jobs/j",
    }


def test_a_call_that_the_service_dropped_is_not_blamed_on_the_caller(client: Client, upstream: Upstream) -> None:
    upstream.answers["DismissJob"] = refusing(grpc.StatusCode.CANCELLED)

    problem = client.request("DELETE", "/workspaces/ada/jobs/j").problem

    assert (problem["status"], problem["title"]) == (503, "Service Unavailable")


@pytest.mark.parametrize("length", [1, 1500, 6000])
def test_a_long_refusal_arrives_whole(client: Client, upstream: Upstream, length: int) -> None:
    upstream.answers["GetJob"] = refusing(grpc.StatusCode.NOT_FOUND, 404, ("x-long", "x" * length), detail="d" * length)

    assert client.get("/workspaces/ada/jobs/j").problem["status"] == 404


def test_headers_are_passed_by_name(client: Client, upstream: Upstream) -> None:
    passed = {
        "authorization": "Bearer t",
        "prefer": "respond-async",
        "idempotency-key": "k",
        "accept": "text/plain",
        "accept-language": "de",
        "if-none-match": '"e"',
        "last-event-id": "3",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "range": "bytes=0-1",
    }
    refused = [
        *("x-user", "x_user", "x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-auth-request-user"),
        *("remote-user", "x-workspace", "services-namespace", "x-roles", "cookie", "x-forwarded-client-cert"),
        *("x-envoy-original-path", "x-envoy-original-method", "x-envoy-max-retries", "x-envoy-retry-on"),
        *("x-envoy-upstream-rq-timeout-ms", "x-rest-path", "x-http-status", "x-problem", "x-original-content-type"),
        *("x-health-service", "grpc-timeout", "baggage", "forwarded", "x-forwarded-prefix", "x-forwarded-port"),
        *("x-original-url", "x-rewrite-url", "x-http-method-override", "x-anything"),
    ]

    client.get(
        "/workspaces/ada/jobs/j",
        *(f"{name}: {value}" for name, value in passed.items()),
        *(f"{name}: 1S" for name in refused),
        *("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https"),
    )

    arrived = dict(upstream.last.metadata)
    assert passed == {name: arrived.get(name) for name in passed}
    assert {"x-envoy-original-path", "x-envoy-original-method"} == set(arrived) & {name.lower() for name in refused}
    assert arrived["x-envoy-original-path"] == "/workspaces/ada/jobs/j"
    assert ("http", client.root.removeprefix("http://")) == (arrived["x-forwarded-proto"], arrived["x-forwarded-host"])
    assert set(arrived) - set(passed) <= {
        *("user-agent", "x-envoy-original-path", "x-envoy-original-method", "x-request-id"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
    }


def test_a_proxy_of_the_operator_is_believed(upstream: Upstream) -> None:
    with running_edge(upstream, "behind", trusted_proxies=1) as behind:
        Client(behind.root).get(
            "/workspaces/ada/jobs/j",
            *("X-Forwarded-Host: eo.example", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /runner"),
            *("X-Forwarded-For: 203.0.113.7", "X-Forwarded-User: eve"),
        )

    arrived = dict(upstream.last.metadata)
    assert [arrived[f"x-forwarded-{what}"] for what in ("host", "proto", "prefix")] == [
        "eo.example",
        "https",
        "/runner",
    ]
    assert "x-forwarded-user" not in arrived


def test_the_service_learns_the_content_type(client: Client, upstream: Upstream) -> None:
    client.request("POST", EXECUTION, "Content-Type: application/json; charset=utf-8", body="{}")

    assert upstream.last.header("x-original-content-type") == "application/json; charset=utf-8"


def test_every_answer_has_a_request_id(client: Client, upstream: Upstream) -> None:
    answered, refused = client.get("/workspaces/ada/jobs/j", "X-Request-Id: mine"), client.get("/nothing")

    assert upstream.last.header("x-request-id") == answered.headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f-]{36}", answered.headers["x-request-id"])
    assert re.fullmatch(r"[0-9a-f-]{36}", refused.headers["x-request-id"])


def test_events_arrive_one_by_one(running: Edge, client: Client, upstream: Upstream) -> None:
    seen: list[float] = []

    def events() -> Iterator[WatchJobResponse]:
        for number in range(3):
            yield WatchJobResponse(sse=body(f"id: {number}\ndata: {{}}\n\n", "text/event-stream"))
            # Until the one before has come out at the other end.
            deadline = time.monotonic() + 5
            while len(seen) <= number and time.monotonic() < deadline:
                time.sleep(0.01)

    upstream.answers["WatchJob"] = lambda *_: events()
    version = "--http2-prior-knowledge" if client.version == "2" else "--http1.1"
    with subprocess.Popen(
        ["curl", "-sN", version, "-H", "Last-Event-ID: 7", f"{running.root}/workspaces/ada/jobs/j/events?after=2"],
        stdout=subprocess.PIPE,
        text=True,
    ) as curl:
        assert curl.stdout
        lines = []
        started = time.monotonic()
        for line in curl.stdout:
            lines.append(line.strip())
            if line.startswith("data"):
                seen.append(time.monotonic())

    assert lines == ["id: 0", "data: {}", "", "id: 1", "data: {}", "", "id: 2", "data: {}", ""]
    assert seen[-1] - started < 5
    assert (upstream.last.header("last-event-id"), upstream.last.request.after_sequence) == ("7", 2)


def test_a_caller_that_goes_away_ends_the_stream(running: Edge, http1: Client, upstream: Upstream) -> None:
    ended: list[bool] = []

    def lines(context: grpc.ServicerContext) -> Iterator[Any]:
        context.add_callback(lambda: ended.append(True))
        while context.is_active():
            yield body("line\n", "text/plain")
            time.sleep(0.02)

    upstream.answers["ReadLog"] = lambda _, context: lines(context)
    url = f"{running.root}/workspaces/ada/jobs/j/logs/one?follow=true"
    with subprocess.Popen(["curl", "-sN", url], stdout=subprocess.PIPE) as curl:
        assert curl.stdout
        assert curl.stdout.readline() == b"line\n"
        curl.terminate()

    deadline = time.monotonic() + 5
    while not ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ended


@pytest.mark.parametrize("path", ["results", "results/out"])
def test_a_download_tells_its_length(client: Client, upstream: Upstream, path: str) -> None:
    for rpc in ("GetResults", "ReadResult"):
        upstream.answers[rpc] = lambda _, context: (
            context.send_initial_metadata((("x-content-length", "3000000"),))
            or iter([body(b"x" * 1_000_000, "image/tiff")] * 3)
        )

    response = client.get(f"/workspaces/ada/jobs/j/{path}")
    head = client.request("HEAD", f"/workspaces/ada/jobs/j/{path}")

    assert ("3000000", 3_000_000) == (response.headers["content-length"], len(response.body))
    assert (200, "3000000") == (head.status, head.headers["content-length"])
    assert "x-content-length" not in response.headers


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_a_download_that_breaks_is_seen_to_break(running: Edge, upstream: Upstream, version: str) -> None:
    def broken(_: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.send_initial_metadata((("x-content-length", "3000000"),))
        yield body(b"x" * 1_000_000, "image/tiff")
        context.abort(grpc.StatusCode.UNAVAILABLE, "The store is away.")

    upstream.answers["ReadResult"] = broken

    url = f"{running.root}/workspaces/ada/jobs/j/results/out"
    done = subprocess.run(["curl", "-sS", "--max-time", "10", version, url], capture_output=True)

    # Closed with bytes remaining, or reset: curl says so at once.
    assert done.returncode in (18, 92), done.stderr


def test_raw_references_come_without_a_body(client: Client, upstream: Upstream) -> None:
    links = '<http://h/a>; rel="item"; title="a", <http://h/b>; rel="item"; title="b"'
    upstream.answers["GetResults"] = lambda _, context: (
        context.send_initial_metadata((("x-http-status", "204"), ("link", links), ("x-content-length", "0")))
        or iter([body(b"", "")])
    )

    response = client.get("/workspaces/ada/jobs/j/results")

    assert (204, links, b"") == (response.status, response.headers["link"], response.body)
    assert not {"content-type", "content-length"} & set(response.headers)


def test_a_download_of_many_parts_arrives_whole(client: Client, upstream: Upstream) -> None:
    parts = [bytes([number]) * 200_000 for number in range(50)]
    upstream.answers["ReadResult"] = lambda *_: iter(body(part, "image/tiff") for part in parts)

    response = client.get("/workspaces/ada/jobs/j/results/out")

    assert b"".join(parts) == response.body


def test_lists_without_entries_are_lists(client: Client) -> None:
    assert client.get("/workspaces/ada/jobs").json == {"jobs": [], "links": []}


def test_the_access_log_holds_no_secret(running: Edge, http1: Client) -> None:
    http1.get("/workspaces/ada/jobs?pageToken=secret1", "Authorization: Bearer secret2", "Cookie: a=secret3")
    http1.get("/workspaces/ada/nothing?token=secret4")
    # Written every 50 ms.
    deadline = time.monotonic() + 5
    while "/workspaces/ada/nothing" not in (text := running.access_log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)

    lines = [json.loads(line) for line in text.splitlines()]
    assert "secret" not in text
    listed = [line for line in lines if line.get("route") == "ListJobs"][-1]
    assert (listed["path"], listed["status"], listed["method"]) == ("/workspaces/ada/jobs", 200, "GET")


def test_every_rpc_is_counted(running: Edge, http1: Client) -> None:
    name = "vhost.edge.route.GetJob.upstream_rq_completed"
    before = running.stats(name).get(name, 0)
    http1.get("/workspaces/ada/jobs/j")

    assert before + 1 == running.stats(name)[name]
