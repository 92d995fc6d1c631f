"""What the edge refuses by itself, with which problem document, and that no service hears of it."""

import socket

import pytest

from services.edge.operations import operations
from services.edge.replies import BODY_LIMIT
from services.edge.rest_routes import PACKAGE_TYPES
from services.ogc.problems import problem_type
from tests.edge.client import Client
from tests.edge.running import Edge
from tests.edge.upstream import Upstream
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_INVALID_QUERY_PARAMETER,
    ERROR_REASON_UNSUPPORTED_MEDIA_TYPE,
    ErrorReason,
)

JSON = "Content-Type: application/json"
CWL = "Content-Type: application/cwl+yaml"
EXECUTION = "/workspaces/ada/processes/water/execution"


def as_services_say(reason: ErrorReason) -> tuple[str, str]:
    """The type and the reason of a service's problem document."""
    return problem_type(reason), ErrorReason.Name(reason).removeprefix("ERROR_REASON_")


@pytest.fixture(autouse=True)
def nothing_arrives(upstream: Upstream, request: pytest.FixtureRequest) -> object:
    yield
    if "reaches" not in request.node.name:
        assert upstream.calls == []


@pytest.mark.parametrize(
    "path",
    [
        "/workspaces/ada/jobs?parent=workspaces/eve",
        "/workspaces/ada/jobs?limit=1&parent=workspaces/eve",
        "/workspaces/ada/jobs?p%61rent=workspaces/eve",
        "/workspaces/ada/jobs?limit=1&%70arent=workspaces/eve",
        "/workspaces/ada/jobs/j?name=workspaces/eve/jobs/j",
        "/workspaces/ada/jobs/j/?name=workspaces/eve/jobs/j",
        "/workspaces/ada/jobs/j/logs/one?step=two",
        "/workspaces/ada/jobs/j/results/out?output=other",
        "/workspaces/ada/jobs/j/results/out/a?path=b",
        "/workspaces/ada?name=workspaces/eve",
        "/workspaces/ada/jobs?unknown=1",
        "/workspaces/ada/jobs?limit",
        "/workspaces/ada/jobs?LIMIT=1",
        "/workspaces/ada/jobs?page_size=1",
        "/workspaces/ada/jobs?limit=1&limit=2",
        "/workspaces/ada/jobs?limit=1&status=running&limit=2",
        "/workspaces/ada/jobs?limit=abc",
        "/workspaces/ada/jobs?limit=",
        "/workspaces/ada/jobs?limit=99999999999",
        "/workspaces/ada/jobs?minDuration=1.5",
        "/workspaces/ada/jobs/j/logs/one?follow=yes",
    ],
)
def test_a_query_that_the_operation_does_not_have_is_refused(client: Client, path: str) -> None:
    problem = client.get(path).problem

    assert problem["status"] == 400
    assert (problem["type"], problem["reason"]) == as_services_say(ERROR_REASON_INVALID_QUERY_PARAMETER)
    assert "query parameter" in problem["detail"]
    assert path.partition("?")[0] == problem["instance"]


def test_no_query_parameter_fills_what_the_path_or_the_body_says(client: Client) -> None:
    for operation in operations():
        for binding in operation.bindings:
            names = {parameter.name for parameter in binding.query}
            assert not names & {"name", "parent", "workspace", operation.body}
    for query in ("name=workspaces/eve/processes/water", "request.data=eA==", "request=x", "inputs.a=1", "inputs=1"):
        assert client.request("POST", f"{EXECUTION}?{query}", JSON, body="{}").problem["status"] == 400
    for query in ("sharing.visibility=public", "sharing=public", "name=workspaces/eve/processes/water"):
        response = client.request("PATCH", f"/workspaces/ada/processes/water?{query}", JSON, body="{}")
        assert response.problem["status"] == 400


@pytest.mark.parametrize(
    "path",
    [
        "/workspaces/ada/jobs/../processes",
        "/workspaces/ada/jobs/..",
        "/workspaces/ada/jobs/.",
        "/workspaces/ada/jobs/./j",
        "/workspaces/../workspaces/eve/jobs",
        "/../workspaces/ada/jobs",
        "/workspaces/ada/jobs/%2e%2e/processes",
        "/workspaces/ada/jobs/%2E./processes",
        "/workspaces/ada/jobs/.%2e",
        "/workspaces/ada/jobs/..?limit=1",
        "/workspaces/ada/jobs/j%2f..%2fk",
        "/workspaces/ada/jobs/j%2Fresults",
        "/workspaces/ada%2Fjobs",
        "/workspaces/ada/jobs/j%5c..%5ck",
        "/workspaces/ada/jobs/j\\k",
        "/workspaces/ada/jobs/j%00",
        "/workspaces/ada/jobs/j%0d%0ax",
        "/workspaces/ada/jobs/j%7f",
        "/workspaces/ada/jobs/j/results/out/../../../k",
        "/workspaces/ada/jobs/j/results/out/%2e%2e/x",
        "/workspaces/ada/jobs/j/results/out/a%2fb",
        "/workspaces/ada/jobs?processID=%00",
    ],
)
def test_a_path_that_could_be_taken_for_another_is_refused(client: Client, path: str) -> None:
    problem = client.get(path).problem

    assert problem["status"] == 400
    assert "path" in problem["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/workspaces/ada/jobs/%ff",
        "/workspaces/ada/jobs/%c0%ae%c0%ae",
        "/workspaces/ada/jobs/%ed%a0%80",
        "/workspaces/ada/jobs/%f5%80%80%80",
        "/workspaces/ada/jobs/%e2%82",
        "/workspaces/ada/jobs/%",
        "/workspaces/ada/jobs/%zz",
        "/workspaces/ada/jobs?status=%ff",
    ],
)
def test_what_is_not_utf8_is_refused(client: Client, path: str) -> None:
    problem = client.get(path).problem

    assert (problem["status"], problem["detail"]) == (400, "The URL holds something that is not percent-encoded UTF-8.")


@pytest.mark.parametrize("path", ["/nothing", "/workspaces", "/workspaces/", "/workspaces/ada/none", "/Workspaces/ada"])
def test_an_unknown_path_is_told_where_to_look(client: Client, path: str) -> None:
    problem = client.get(path).problem

    assert (problem["status"], problem["title"], problem["type"]) == (404, "Not Found", "about:blank")
    assert "/workspaces/{workspace}" in problem["detail"]


@pytest.mark.parametrize(
    ("verb", "path", "stated", "listed"),
    [
        ("POST", "/workspaces/ada/processes", ["Content-Type: text/plain"], "accept-post"),
        ("POST", "/workspaces/ada/processes", [], "accept-post"),
        ("POST", "/workspaces/ada/processes", ["Content-Type: application/cwl+xml"], "accept-post"),
        ("PUT", "/workspaces/ada/processes/unknown", ["Content-Type: text/plain"], "accept"),
        ("PATCH", "/workspaces/ada/processes/unknown", ["Content-Type: text/plain"], "accept-patch"),
        ("POST", "/workspaces/ada/processes/unknown/execution", ["Content-Type: text/plain"], "accept-post"),
        ("POST", "/workspaces/ada/processes/unknown/execution", ["Content-Type: application/jsonx"], "accept-post"),
        ("POST", "/workspaces/ada/ingestions", ["Content-Type: application/cloudevents+json"], "accept-post"),
        ("POST", EXECUTION, [JSON, "Content-Encoding: gzip"], "accept-encoding"),
    ],
)
def test_a_body_of_another_type_is_refused_before_anything_is_looked_up(
    client: Client, verb: str, path: str, stated: list[str], listed: str
) -> None:
    response = client.request(verb, path, *stated, body="x")

    problem = response.problem
    assert problem["status"] == 415
    assert (problem["type"], problem["reason"]) == as_services_say(ERROR_REASON_UNSUPPORTED_MEDIA_TYPE)
    assert response.headers[listed]


def test_every_media_type_of_a_package_is_offered(client: Client) -> None:
    for verb, path in (("POST", "processes"), ("PUT", "processes/water")):
        response = client.request(verb, f"/workspaces/ada/{path}", "Content-Type: text/plain", body="x")
        offered = response.headers["accept-post" if verb == "POST" else "accept"]
        assert set(PACKAGE_TYPES) == set(offered.split(", "))


def test_a_body_beyond_the_limit_is_refused_with_the_limit(http1: Client) -> None:
    # HTTP/2 too, but old versions of curl show a closed stream instead of an answer that came while they sent.
    for verb, path, stated in (
        ("POST", "/workspaces/ada/processes", CWL),
        ("PUT", "/workspaces/ada/processes/water?w=main", CWL),
        ("POST", EXECUTION, JSON),
        ("POST", EXECUTION, "Content-Type: text/plain"),
    ):
        problem = http1.request(verb, path, stated, body=b"a" * (BODY_LIMIT + 1)).problem
        assert (problem["status"], problem["title"]) == (413, "Content Too Large")
        assert "4 MiB" in problem["detail"]


def test_a_body_below_the_limit_reaches_the_service(client: Client, upstream: Upstream) -> None:
    body = b"a" * (BODY_LIMIT - 1024)

    for path, stated in (("/workspaces/ada/processes", CWL), (EXECUTION, JSON)):
        assert client.request("POST", path, stated, body=body).status == 200

    assert [body, body] == [upstream.calls[0].request.package.data, upstream.calls[1].request.request.data]


def test_a_body_without_end_is_cut_off(running: Edge) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(
            b"POST /workspaces/ada/processes HTTP/1.1\r\nHost: a\r\nContent-Type: application/cwl\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(BODY_LIMIT // 0x10000 + 1):
            connection.sendall(b"10000\r\n" + b"a" * 0x10000 + b"\r\n")
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 413")


def test_headers_and_urls_have_a_limit(client: Client) -> None:
    assert client.get("/workspaces/ada", f"X-Long: {'a' * 30_000}").problem["status"] == 431
    assert client.get("/workspaces/ada", f"Authorization: Bearer {'a' * 30_000}").problem["status"] == 431
    assert client.get(f"/workspaces/ada/jobs?pageToken={'a' * 9_000}").problem["status"] == 414


def test_headers_that_no_one_should_send_do_not_close_the_connection(http1: Client) -> None:
    # Envoy itself answers from 256 KiB on.
    for size in (100_000, 400_000):
        long = "a" * 100_000
        headers = [f"X-Long-{number}: {long}" for number in range(size // 100_000)]
        assert http1.get("/workspaces/ada", *headers).problem["status"] == 431


def test_malformed_json_is_refused_where_the_edge_reads_it(client: Client) -> None:
    for body in ('{"visibility": ', '{"visibility": "everybody"}', "[]", "1", '{"visibility": {}}'):
        problem = client.request("PATCH", "/workspaces/ada/processes/water", JSON, body=body).problem
        assert (problem["status"], problem["title"]) == (400, "Bad Request")
        assert problem["detail"]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /workspaces/ada HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"GET /workspaces/ada HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /workspaces/ada#x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_a_problem_document(running: Edge, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(request_)
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in answer
    assert b'"detail":' in answer


@pytest.mark.parametrize("target", [b"*", b"http://other/workspaces/ada/jobs/../processes", b"workspaces/ada"])
def test_a_target_that_is_no_path_is_refused(running: Edge, target: bytes) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(b"OPTIONS " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = connection.recv(65536)

    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))
    assert b"application/problem+json" in answer


def test_connections_are_not_upgraded(http1: Client) -> None:
    problem = http1.get("/workspaces/ada/jobs", "Connection: Upgrade", "Upgrade: websocket").problem

    assert problem["status"] == 403
