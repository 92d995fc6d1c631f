"""The installation that the round trips go through."""

import json
from collections.abc import Iterator
from functools import partial

import pytest

from tests.roundtrip.packages import FILES, TREES
from tests.roundtrip.trips import CWL_JSON
from tests.support.doors import Workspace, eventually
from tests.support.listeners import Origin
from tests.system.running import fetching_from


@pytest.fixture(scope="session")
def workspace(origin: Origin) -> Iterator[Workspace]:
    """A workspace of an installation that nobody else uses, with the processes that every example can share."""
    with fetching_from(origin) as running:
        workspace = Workspace(running.port, "demo", running.token)
        for package in (TREES, FILES):
            answer = eventually(partial(workspace.deploy, json.dumps(package), CWL_JSON))
            # The first package on a busy machine may be deployed after its client has given up.
            assert answer.status in (201, 409), answer
        yield workspace
