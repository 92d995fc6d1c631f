"""Whatever stands behind the path of an alias, it is taken or refused exactly as behind the path of the workspace."""

import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.edge.running import Edge
from tests.edge.test_edge_paths import ASKED, SEGMENTS, ask
from tests.edge.upstream import Call, Upstream

UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
BASES = ("/api/catalogue/stac/catalogs/user/catalogs/{}", "/ades/{}/ogc-api")
WORKSPACES = st.one_of(st.just("ada"), SEGMENTS.filter(lambda segment: "/" not in segment and segment != ""))
TAILS = st.tuples(st.sampled_from(["processes", "jobs"]), st.lists(SEGMENTS, max_size=4)).map(
    lambda parts: "/".join(["", parts[0], *parts[1]])
)
# Repeats of `limit` and `skip` are the one difference, so each is there once at the most.
QUERIES = st.lists(
    st.tuples(
        st.sampled_from(["", "skip", *ASKED.split()]),
        st.sampled_from(["=", "", "=1", "=workspaces/eve/jobs/j", "=%2e%2e"]),
    ),
    max_size=3,
    unique_by=lambda pair: pair[0],
)


@pytest.fixture(scope="module")
def connection(running: Edge) -> Iterator[list[socket.socket]]:
    kept: list[socket.socket] = []
    yield kept
    for one in kept:
        one.close()


def received(upstream: Upstream) -> list[tuple[str, bytes]]:
    calls: list[Call] = upstream.calls
    return [(call.rpc, call.request.SerializeToString(deterministic=True)) for call in calls]


def unescaped(path: str) -> str:
    """The same path without needless escapes (RFC 3986, 6.2.2.2)."""
    return re.sub(
        "%([0-9A-Fa-f]{2})",
        lambda escape: character if UNRESERVED.fullmatch(character := chr(int(escape[1], 16))) else escape[0],
        path,
    )


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    base=st.sampled_from(BASES), workspace=WORKSPACES, tail=TAILS.filter(lambda tail: ".log" not in tail), query=QUERIES
)
def test_an_alias_is_another_name_and_nothing_more(
    running: Edge,
    connection: list[socket.socket],
    upstream: Upstream,
    base: str,
    workspace: str,
    tail: str,
    query: list[tuple[str, str]],
) -> None:
    asked = tail + ("?" + "&".join(name + value for name, value in query) if query else "")

    upstream.reset()
    here = ask(running, connection, f"/workspaces/{workspace}{asked}"), received(upstream)
    upstream.reset()
    there = ask(running, connection, base.format(workspace) + asked), received(upstream)

    assert here == there
    for call in upstream.calls:
        assert base.format(unescaped(workspace)) == call.header("x-workflow-runner-alias")
