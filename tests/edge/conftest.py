"""One Envoy in front of stub services for all tests of the edge."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.client import Client
from tests.edge.running import Edge, running_edge
from tests.edge.upstream import SERVICES, Upstream


@pytest.fixture(scope="session")
def _upstream() -> Iterator[Upstream]:
    # Sockets need a short path, which pytest's own temporary directories are not.
    directory = Path(tempfile.mkdtemp(prefix="wr-edge-"))
    upstream = Upstream(directory)
    for cluster in SERVICES:
        upstream.start(cluster)
    yield upstream
    upstream.stop_all()
    shutil.rmtree(directory)


@pytest.fixture
def upstream(_upstream: Upstream) -> Upstream:
    """The services behind the edge, with nothing called and nothing to answer."""
    _upstream.reset()
    return _upstream


@pytest.fixture(scope="session")
def running(_upstream: Upstream) -> Iterator[Edge]:
    """The edge. Its script must not have failed once when all tests are done."""
    with running_edge(_upstream, "edge") as edge:
        yield edge


@pytest.fixture(scope="session")
def impatient(_upstream: Upstream) -> Iterator[Edge]:
    """An edge that waits a second where the other waits a minute or two."""

    def hurry(text: str) -> str:
        for name, here, there in (
            ("request_headers_timeout", "10s", "1s"),
            ("request_timeout", "60s", "2s"),
            ("stream_idle_timeout", "120s", "1s"),
            ("timeout", "75s", "1s"),
        ):
            assert f'"{name}": "{here}"' in text
            text = text.replace(f'"{name}": "{here}"', f'"{name}": "{there}"')
        return text

    with running_edge(_upstream, "impatient", hurry) as edge:
        yield edge


@pytest.fixture(params=["1.1", "2"], ids=["http1", "http2"])
def client(request: pytest.FixtureRequest, running: Edge, upstream: Upstream) -> Client:
    """Sends requests over HTTP/1.1, and again over HTTP/2."""
    return Client(running.root, request.param)


@pytest.fixture
def http1(running: Edge, upstream: Upstream) -> Client:
    """For what does not depend on the version of HTTP."""
    return Client(running.root)
