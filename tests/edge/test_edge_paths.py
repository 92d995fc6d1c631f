"""Whatever a path and a query hold, a service receives either what was written or nothing."""

import re
import socket
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.edge.operations import operations
from tests.edge.running import Edge
from tests.edge.upstream import Upstream

WRITTEN = r"""
a ada .. . ... ~ : a:b ; , @ + * ** $ & = ' ( ! { } | ^ [ " < jobs processes results \ % %g1 %2e %2E%2e %2f %2F %5c
%00 %0a %7f %20 %25 %252e%252e %252f %3f %23 %3A %c3%a9 %ff %c0%af
"""
ASKED = "name parent limit output path step p%61th n%61me x NAME name.x"

PIECES = st.sampled_from(["", *WRITTEN.split()])
SEGMENTS = st.lists(PIECES, min_size=1, max_size=3).map("".join)
PATHS = st.one_of(
    st.lists(SEGMENTS, max_size=3).map(lambda rest: "/".join(["/workspaces/ada/jobs", *rest])),
    st.lists(SEGMENTS, max_size=4).map(lambda rest: "/".join(["/workspaces/ada/jobs/j/results", *rest])),
    st.lists(SEGMENTS, max_size=4).map(lambda rest: "/" + "/".join(rest)),
    st.lists(SEGMENTS, max_size=2).map(lambda rest: "/".join(["/workspaces", *rest])),
)
NAMES = st.sampled_from(["", *ASKED.split()])
VALUES = st.sampled_from(["=", "", "=1", "=workspaces/eve/jobs/j", "=%2e%2e"])
QUERIES = st.lists(st.tuples(NAMES, VALUES), max_size=2)
BINDINGS = {operation.name: operation.bindings for operation in operations()}


@pytest.fixture(scope="module")
def connection(running: Edge) -> Iterator[list[socket.socket]]:
    """A connection that is opened again whenever the edge has closed it."""
    kept: list[socket.socket] = []
    yield kept
    for one in kept:
        one.close()


def ask(running: Edge, kept: list[socket.socket], target: str) -> int:
    for _ in range(2):
        if not kept:
            kept.append(socket.create_connection(("127.0.0.1", running.port), timeout=10))
        kept[0].sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer = b""
        while part := kept[0].recv(65536):
            answer += part
            head, _, rest = answer.partition(b"\r\n\r\n")
            if b"transfer-encoding: chunked" in head:
                if rest.endswith(b"0\r\n\r\n"):
                    break
            elif head != answer and len(rest) >= int(head.split(b"content-length: ")[1].split(b"\r\n")[0]):
                break
        if not answer or b"connection: close" in head:
            kept.pop().close()
        if answer:
            return int(answer.split()[1])
    raise AssertionError(f"The edge closed the connection without an answer to {target}.")


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(path=PATHS, query=QUERIES)
def test_a_service_receives_what_was_written_or_nothing(
    running: Edge, connection: list[socket.socket], upstream: Upstream, path: str, query: list[tuple[str, str]]
) -> None:
    upstream.reset()
    target = path + ("?" + "&".join(name + value for name, value in query) if query else "")

    status = ask(running, connection, target)

    assert status in (200, 400, 404)
    assert (status == 200) == (bool(upstream.calls) or not path.strip("/"))
    for call in upstream.calls:
        # Several slashes count as one.
        written = unquote(re.sub("/+", "/", path).removesuffix("/"), errors="strict")
        assert written in {received(binding.template, call.request) for binding in BINDINGS[call.rpc]}
        assert not {"", ".", ".."} & set(written.split("/")[1:])


def received(template: str, request: Message) -> str:
    """The path that the request stands for."""
    return re.sub(r"\{([a-z]+)[^}]*\}", lambda variable: getattr(request, variable[1]), template)
