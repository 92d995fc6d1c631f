"""One installation for the tests of clients, and what they deploy on it."""

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.packages import STAC
from tests.support.doors import Workspace
from tests.support.listeners import Origin, own_address
from tests.system.running import Running, scratch
from tests.system.suite import Suite

HOST = "staging.localhost"
"""Passes for a host of the EO DataHub, whose client takes no other."""


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    """A web server that packages are fetched from."""
    origin = Origin(own_address())
    try:
        yield origin
    finally:
        origin.close()


@pytest.fixture(scope="session")
def suite(origin: Origin) -> Iterator[Suite]:
    """The installation."""
    address = origin.url.removeprefix("http://").partition(":")[0]
    settings = {
        "SUBMISSION_FETCH__HTTP_HOSTS": json.dumps([address]),
        "SUBMISSION_FETCH__PRIVATE_NETWORKS": json.dumps([f"{address}/32"]),
        "SUBMISSION_SLOTS": "4",
    }
    with scratch() as directory:
        running = Running(directory / "data", environment={**os.environ, **settings})
        try:
            yield Suite(running)
        finally:
            running.stop()


@pytest.fixture
def workspace(suite: Suite) -> Workspace:
    """A workspace that nobody has used, seen by its owner."""
    return suite.workspace()


@pytest.fixture
def host(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the installation under a name that machines need not resolve."""
    resolve = socket.getaddrinfo

    def resolving(name: Any, *arguments: Any, **named: Any) -> Any:
        return resolve("127.0.0.1" if name == HOST else name, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolving)
    return f"http://{HOST}:{suite.running.port}"


@pytest.fixture
def catalog_process(workspace: Workspace) -> str:
    """A process that leaves a STAC catalog."""
    answer = workspace.deploy(STAC)
    assert answer.status == 201, answer
    process: str = answer.json["id"]
    return process
