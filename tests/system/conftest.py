"""Installations for the tests of the whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.doors import Workspace
from tests.support.listeners import Origin
from tests.system.running import Running, fetching_from, scratch
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
def suite(origin: Origin) -> Iterator[Suite]:
    """The installation that tests share."""
    # So that ten jobs run at a time however few processors there are.
    with fetching_from(origin, SUBMISSION_SLOTS="12") as running:
        yield Suite(running)


@pytest.fixture
def workspace(suite: Suite) -> Workspace:
    """A workspace that nobody has used, seen by its owner."""
    return suite.workspace()


@pytest.fixture
def leaves_nothing(suite: Suite, workspace: Workspace) -> Iterator[None]:
    """Shows that a test leaves nothing behind: no row, no object, no run, no process."""
    with suite.leaves_nothing(workspace):
        yield
