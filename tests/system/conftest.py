"""Installations for the tests of the whole."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.doors import Workspace
from tests.support.listeners import Origin, own_address
from tests.system.running import Running, scratch
from tests.system.suite import Suite


@pytest.fixture
def short_path() -> Iterator[Path]:
    with scratch() as directory:
        yield directory


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """An installation of the module's own, up from an empty directory."""
    with scratch() as directory:
        running = Running(directory / "data")
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    """A web server that the shared installation may fetch from, though it is on this machine."""
    origin = Origin(own_address())
    try:
        yield origin
    finally:
        origin.close()


@pytest.fixture(scope="session")
def suite(origin: Origin) -> Iterator[Suite]:
    """The installation that tests share."""
    address = origin.url.removeprefix("http://").partition(":")[0]
    settings = {
        "SUBMISSION_FETCH__HTTP_HOSTS": json.dumps([address]),
        "SUBMISSION_FETCH__PRIVATE_NETWORKS": json.dumps([f"{address}/32"]),
        # So that ten jobs run at a time however few processors there are.
        "SUBMISSION_SLOTS": "12",
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
def leaves_nothing(suite: Suite, workspace: Workspace) -> Iterator[None]:
    """Shows that a test leaves nothing behind: no row, no object, no run, no process."""
    with suite.leaves_nothing(workspace):
        yield
