"""The installation that the round trips go through."""

import json
import os
from collections.abc import Iterator

import pytest

from tests.roundtrip.packages import FILES, TREES
from tests.roundtrip.trips import CWL_JSON
from tests.support.doors import Workspace, eventually
from tests.support.listeners import Origin, own_address
from tests.system.running import Running, scratch


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    """A web server that the installation may fetch from."""
    origin = Origin(own_address())
    try:
        yield origin
    finally:
        origin.close()


@pytest.fixture(scope="session")
def workspace(origin: Origin) -> Iterator[Workspace]:
    """A workspace of an installation that nobody else uses, with the processes that every example can share."""
    address = origin.url.removeprefix("http://").partition(":")[0]
    settings = {
        "SUBMISSION_FETCH__HTTP_HOSTS": json.dumps([address]),
        "SUBMISSION_FETCH__PRIVATE_NETWORKS": json.dumps([f"{address}/32"]),
    }
    with scratch() as directory:
        running = Running(directory / "data", environment={**os.environ, **settings})
        try:
            workspace = Workspace(running.port, "demo", running.token)
            for package in (TREES, FILES):
                answer = eventually(lambda package=package: workspace.deploy(json.dumps(package), CWL_JSON))
                # The first package on a busy machine may be deployed after its client has given up.
                assert answer.status in (201, 409), answer
            yield workspace
        finally:
            running.stop()
