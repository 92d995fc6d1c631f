"""Requests that mean what others mean: other spellings, older versions, headers of another age."""

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody

from tests.edge.client import Client
from tests.edge.running import Edge
from tests.edge.test_edge_answers import PROBLEM, answering, refusing
from tests.edge.upstream import Upstream, body
from workflow_runner.v1.status_service_pb2 import GetJobRequest
from workflow_runner.v1.status_service_pb2_grpc import StatusServiceStub

JOBS = "/workspaces/ada/jobs"


@pytest.mark.parametrize(
    ("path", "rpc", "field", "value"),
    [
        (f"{JOBS}?limit=%31", "ListJobs", "page_size", 1),
        (f"{JOBS}?limit=1%30", "ListJobs", "page_size", 10),
        (f"{JOBS}?%6C%69mit=2", "ListJobs", "page_size", 2),
        (f"{JOBS}?stat%75s=running%2Cfailed", "ListJobs", "states", ["running,failed"]),
        (f"{JOBS}?datetime=2024-01-01T00%3a00:00%5A%2F..", "ListJobs", "datetime", "2024-01-01T00:00:00Z/.."),
        (f"{JOBS}?processID=a%2565", "ListJobs", "process_ids", ["a%65"]),
        (f"{JOBS}/j/logs/%73tep?follow=tr%75e", "ReadLog", "follow", True),
        ("/work%73paces/%61da/job%73", "ListJobs", "parent", "workspaces/ada"),
        ("/workspaces/ada//jobs", "ListJobs", "parent", "workspaces/ada"),
        ("//workspaces///ada/jobs//", "ListJobs", "parent", "workspaces/ada"),
        (f"/{JOBS}//j?f=json", "GetJob", "name", "workspaces/ada/jobs/j"),
        (f"{JOBS}?datetime=..//2024", "ListJobs", "datetime", "..//2024"),
        ("/workspaces/ada/processes/a%2Db%7E", "GetProcess", "name", "workspaces/ada/processes/a-b~"),
        (f"{JOBS}/j/results/o/100%25%20(final)%2E%41", "ReadResult", "path", "100% (final).A"),
    ],
)
def test_escapes_that_say_nothing_change_nothing(
    client: Client, upstream: Upstream, path: str, rpc: str, field: str, value: Any
) -> None:
    assert client.get(path).status == 200

    found = getattr(upstream.last.request, field)
    assert (rpc, value) == (upstream.last.rpc, list(found) if isinstance(value, list) else found)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{JOBS}/j?na%6De=workspaces/eve/jobs/k", 400),
        (f"{JOBS}?par%65nt=workspaces/eve", 400),
        (f"{JOBS}?limit=1&%6Cimit=2", 400),
        (f"{JOBS}?limit=%2D1x", 400),
        (f"{JOBS}/%2E%2E/processes", 400),
        (f"{JOBS}/%2e", 400),
        ("/%68tml/workspaces/ada", 404),
        ("//html//workspaces/ada", 404),
        (f"{JOBS}//..//processes", 400),
    ],
)
def test_escapes_get_past_no_guard(client: Client, upstream: Upstream, path: str, status: int) -> None:
    assert status == client.get(path).problem["status"]
    assert [] == upstream.calls


HTML, NOT_HTML = True, False


@pytest.mark.parametrize(
    ("accept", "people"),
    [
        ("text/*", HTML),
        ("text/*, */*", HTML),
        ("TEXT/HTML", HTML),
        ("text/html;q=0.5, application/json;q=0.4", HTML),
        ("application/json;q=0, */*", HTML),
        ("text/*;q=0.1", HTML),
        ("application/json;q=0.2, text/*;q=0.3", HTML),
        ("text/html, application/json", HTML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
        ("application/json, text/*", NOT_HTML),
        ("text/*, application/json", NOT_HTML),
        ("text/*;q=0.3, application/json;q=0.4", NOT_HTML),
        ("text/html;q=0, text/*", NOT_HTML),
        ("text/html;q=0, */*", NOT_HTML),
        ("*/*", NOT_HTML),
        ("application/*", NOT_HTML),
        ("application/json, text/html", NOT_HTML),
        ("text/plain", NOT_HTML),
    ],
)
def test_ranges_lead_to_the_page_where_html_is_wanted_most(
    http1: Client, upstream: Upstream, accept: str, people: bool
) -> None:
    http1.get("/workspaces/ada/processes/echo", f"Accept: {accept}")

    assert ("ShowProcess" if people else "GetProcess") == upstream.last.rpc


def test_several_accept_headers_are_one_list(client: Client, upstream: Upstream) -> None:
    client.get("/workspaces/ada/processes/echo", "Accept: application/json;q=0.1", "Accept: text/*")

    assert "ShowProcess" == upstream.last.rpc


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/json", "application/json"),
        ("application/json;q=0.5, image/tiff", "application/json"),
        ("application/problem+json;q=0, application/json", "application/json"),
        ("application/json, application/problem+json", "application/problem+json"),
        ("application/json, */*;q=0.1", "application/problem+json"),
        ("application/*, application/json", "application/problem+json"),
        ("application/geo+json", "application/problem+json"),
        ("application/json;q=0", "application/problem+json"),
    ],
)
def test_a_problem_is_json_for_who_takes_only_that(
    client: Client, upstream: Upstream, accept: str, media_type: str
) -> None:
    upstream.answers["GetJob"] = refusing(grpc.StatusCode.NOT_FOUND, 404)

    of_a_service = client.get(f"{JOBS}/j", f"Accept: {accept}")
    of_the_edge = client.get(f"{JOBS}?nothing=1", f"Accept: {accept}")
    of_a_path = client.get("/nothing", f"Accept: {accept}")

    assert {**PROBLEM, "status": 404} == of_a_service.json
    assert [404, 400, 404] == [answer.json["status"] for answer in (of_a_service, of_the_edge, of_a_path)]
    assert {media_type} == {answer.headers["content-type"] for answer in (of_a_service, of_the_edge, of_a_path)}


def test_what_is_known_is_not_sent(client: Client, upstream: Upstream) -> None:
    upstream.answers["ReadResult"] = answering(
        iter([body(b"", "image/tiff")]), ("x-http-status", "304"), ("etag", '"e"'), ("x-content-length", "9")
    )
    for method in ("GET", "HEAD"):
        answer = client.request(
            method, f"{JOBS}/j/results/out", 'If-None-Match: "x"', 'If-None-Match: "e"', 'If-Match: "y"'
        )
        assert (304, '"e"') == (answer.status, answer.headers["etag"])
        # Of HEAD curl writes the headers in place of the body.
        assert b"" == answer.body or method == "HEAD"
        assert not {"content-length", "content-type"} & set(answer.headers)
        upstream.answers["ReadResult"] = answering(
            iter([body(b"", "image/tiff")]), ("x-http-status", "304"), ("etag", '"e"')
        )
    sent = ",".join(str(value) for key, value in upstream.last.metadata if key == "if-none-match")
    assert {'"x"', '"e"'} == {tag.strip() for tag in sent.split(",")}
    assert '"y"' == upstream.last.header("if-match")


def test_a_service_hears_that_nobody_reads_the_body(client: Client, upstream: Upstream) -> None:
    client.request("HEAD", f"{JOBS}/j", "X-Workflow-Runner-Head: 0")
    asked = upstream.last.header("x-workflow-runner-head")
    client.get(f"{JOBS}/j", "X-Workflow-Runner-Head: 1")

    assert ("1", None) == (asked, upstream.last.header("x-workflow-runner-head"))


def exchange(port: int, sent: bytes) -> bytes:
    """What comes until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(sent)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


@pytest.mark.parametrize("host", [b"", b"Host: runner.example:81\r\n"])
def test_http_1_0_is_served(running: Edge, upstream: Upstream, host: bytes) -> None:
    answer = exchange(running.port, b"GET /workspaces/ada/processes/echo HTTP/1.0\r\n" + host + b"\r\n")

    head, _, rest = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.[01] 200 OK\r\n", head)
    assert b"transfer-encoding" not in head.lower()
    assert {"rpc": "GetProcess"} == json.loads(rest)
    assert ("runner.example:81" if host else "localhost") == upstream.last.header("x-forwarded-host")


def test_http_1_0_gets_streams_without_chunks(running: Edge, upstream: Upstream) -> None:
    def pieces() -> Iterator[HttpBody]:
        for letter in b"abc":
            yield body(bytes([letter]) * 1000, "text/plain")

    upstream.answers["ReadLog"] = lambda *_: pieces()

    answer = exchange(running.port, f"GET {JOBS}/j/logs/s HTTP/1.0\r\n\r\n".encode())

    head, _, rest = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"a" * 1000 + b"b" * 1000 + b"c" * 1000 == rest


def test_http_1_0_keeps_a_connection_that_it_asks_to_keep(running: Edge, upstream: Upstream) -> None:
    keep = b"GET /workspaces/ada HTTP/1.0\r\nConnection: keep-alive\r\nHost: a\r\n\r\n"
    answer = exchange(running.port, keep + b"GET /workspaces/ada/jobs HTTP/1.0\r\nHost: a\r\n\r\n")

    assert 2 == len(re.findall(rb"HTTP/1\.[01] 200 OK", answer))
    assert ["GetLandingPage", "ListJobs"] == [call.rpc for call in upstream.calls]


def test_http_1_0_is_refused_as_others_are(running: Edge, upstream: Upstream) -> None:
    upstream.answers["GetJob"] = refusing(grpc.StatusCode.NOT_FOUND, 404)

    answers = [exchange(running.port, f"GET {path} HTTP/1.0\r\n\r\n".encode()) for path in (f"{JOBS}/j", "/nothing")]

    assert all(b" 404 " in answer.split(b"\r\n")[0] and b"application/problem+json" in answer for answer in answers)


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (b"caf\xe9", "café"),
        ("日本 é".encode(), "日本 é"),
        (b"\xc3\xa9\xe9", "Ã©é"),
        (b"\xed\xa0\x80", "\u00ed\u00a0\u0080"),
        (b"\xc0\xaf\xff", "\u00c0\u00af\u00ff"),
    ],
)
def test_a_header_that_is_no_utf_8_is_read_as_http_once_had_it(
    running: Edge, upstream: Upstream, sent: bytes, arrives: str
) -> None:
    head = b"GET /workspaces/ada HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    answer = exchange(running.port, head + b"User-Agent: " + sent + b"\r\nAccept-Language: " + sent + b"\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200")
    assert arrives == upstream.last.header("accept-language")
    # gRPC names itself behind the program.
    assert str(upstream.last.header("user-agent")).startswith(arrives)


@pytest.mark.parametrize(
    "entries",
    [[("x-long", "x" * 60_000)], [(f"x-{n}", "x" * 30_000) for n in range(4)], [(f"x-{n}", "x") for n in range(300)]],
    ids=["one", "several", "many"],
)
def test_metadata_that_is_too_large_is_said_so(
    running: Edge, upstream: Upstream, entries: list[tuple[str, str]]
) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel, pytest.raises(grpc.RpcError) as refused:
        StatusServiceStub(channel).GetJob(GetJobRequest(name="workspaces/ada/jobs/j"), metadata=entries, timeout=10)

    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.value.code()
    assert "metadata" in refused.value.details()
    assert [] == upstream.calls
