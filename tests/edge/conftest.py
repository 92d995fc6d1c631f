"""One Envoy in front of stub services for all tests of the edge."""

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from edge_client import Client
from edge_upstream import SERVICES, Upstream

from services.standalone import edge

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Edge:
    """A running Envoy."""

    port: int
    admin: Path
    access_log: Path

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str) -> str:
        """Asks the admin interface."""
        done = subprocess.run(
            ["curl", "--silent", "--fail", "--unix-socket", str(self.admin), f"http://admin{path}"],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    def stats(self, pattern: str) -> dict[str, int]:
        found = json.loads(self.ask(f"/stats?format=json&filter={pattern}") or '{"stats": []}')["stats"]
        return {stat["name"]: stat["value"] for stat in found if "value" in stat}

    def wait_until_healthy(self, cluster: str, healthy: bool = True) -> None:
        name = f"cluster.{cluster}.membership_healthy"
        deadline = time.monotonic() + 15
        while self.stats(name).get(name) != int(healthy):
            assert time.monotonic() < deadline, f"{cluster} did not become {'' if healthy else 'un'}healthy"
            time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


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
    directory = _upstream.directory
    edge_ = Edge(port=free_port(), admin=directory / "admin.sock", access_log=directory / "access.log")
    config = directory / "envoy.yaml"
    config.write_text(
        edge.render(
            host="127.0.0.1",
            port=edge_.port,
            submission=_upstream.socket("submission"),
            status=_upstream.socket("status"),
            ingestion=_upstream.socket("ingestion"),
            descriptor=ROOT / "gen" / "workflow_runner.binpb",
            admin=edge_.admin,
            access_log=edge_.access_log,
        )
    )
    with open(directory / "envoy.log", "wb") as log:
        envoy = subprocess.Popen(
            [
                *(str(edge.envoy_binary()), "--config-path", str(config), "--concurrency", "1"),
                *("--disable-hot-restart", "--log-level", "warning", "--file-flush-interval-msec", "50"),
            ],
            stderr=log,
            stdout=log,
        )
    try:
        for cluster in SERVICES:
            edge_.wait_until_healthy(cluster)
        yield edge_
        errors = edge_.stats("lua.*errors")
        assert errors, "Envoy counts no errors of the script any more; find out how to see them."
        assert not any(errors.values()), (directory / "envoy.log").read_text()
    finally:
        envoy.terminate()
        envoy.wait(10)


@pytest.fixture(params=["1.1", "2"], ids=["http1", "http2"])
def client(request: pytest.FixtureRequest, running: Edge, upstream: Upstream) -> Client:
    """Sends requests over HTTP/1.1, and again over HTTP/2."""
    return Client(running.root, request.param)


@pytest.fixture
def http1(running: Edge, upstream: Upstream) -> Client:
    """For what does not depend on the version of HTTP."""
    return Client(running.root)
