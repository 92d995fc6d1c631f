"""The edge as a running program."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services import edge
from tests.edge.upstream import SERVICES, Upstream

DESCRIPTOR = Path(__file__).parents[2] / "gen" / "workflow_runner.binpb"


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
        """Asks the admin interface; empty when it does not answer."""
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
        """Waits until the edge has noticed."""
        self.wait_until(f"cluster.{cluster}.membership_healthy", int(healthy))

    def wait_until(self, name: str, value: int) -> None:
        """Waits until a count of Envoy's is so."""
        deadline = time.monotonic() + 15
        while (found := self.stats(name).get(name)) != value:
            assert time.monotonic() < deadline, f"{name} is {found}, and does not become {value}"
            time.sleep(0.05)


@contextmanager
def running_edge(
    upstream: Upstream, name: str, change: Callable[[str], str] = str, *, trusted_proxies: int = 0
) -> Iterator[Edge]:
    """Runs Envoy in front of the services, with its configuration changed."""
    directory = upstream.directory / name
    directory.mkdir()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    started = Edge(port=port, admin=directory / "admin.sock", access_log=directory / "access.log")
    text = edge.render(
        host="127.0.0.1",
        port=port,
        submission=upstream.socket("submission"),
        status=upstream.socket("status"),
        ingestion=upstream.socket("ingestion"),
        descriptor=DESCRIPTOR,
        admin=started.admin,
        access_log=started.access_log,
        trusted_proxies=trusted_proxies,
    )
    config = directory / "envoy.yaml"
    config.write_text(change(text))
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
            name = f"cluster.{cluster}.membership_total"
            started.wait_until(f"cluster.{cluster}.membership_healthy", started.stats(name).get(name, 1))
        yield started
        errors = started.stats("lua.*errors")
        assert errors, "Envoy counts no errors of the script any more; find out how to see them."
        assert not any(errors.values()), (directory / "envoy.log").read_text()
    finally:
        envoy.terminate()
        envoy.wait(10)
