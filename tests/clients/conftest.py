"""One installation for the tests of clients, and what they deploy on it."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.packages import STAC
from tests.support.doors import Workspace
from tests.support.listeners import Origin
from tests.system.running import fetching_from
from tests.system.suite import Suite

HOST = "staging.localhost"
"""Passes for a host of the EO DataHub, whose client takes no other."""


@pytest.fixture(scope="session")
def suite(origin: Origin) -> Iterator[Suite]:
    """The installation."""
    with fetching_from(origin, SUBMISSION_SLOTS="4") as running:
        yield Suite(running)


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
