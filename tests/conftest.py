"""PostgreSQL for tests: one real server per run, a copy of the migrated database per test."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.standalone.postgres import DatabaseAddresses, PostgresServer
from tests.support.listeners import Origin, own_address

_TEMPLATE = "template_workflow_runner"
_DIRECTORY = pytest.StashKey[Path]()
_SERVER = pytest.StashKey[PostgresServer]()


def _server_in(directory: Path) -> PostgresServer:
    return PostgresServer(directory / "postgres", directory / "link", durable=False)


def _start_server(config: pytest.Config) -> PostgresServer:
    from services.records.schema import migrate

    # Sockets need a short path, which pytest's own temporary directories do not have.
    directory = config.stash[_DIRECTORY] = Path(tempfile.mkdtemp(prefix="wr-tests-"))
    server = config.stash[_SERVER] = _server_in(directory)
    server.start()
    server.create_owner()
    server.create_database(_TEMPLATE)
    migrate(server.database(_TEMPLATE).owner)
    server.create_logins()
    return server


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Runs in the controller of pytest-xdist before each worker starts: all workers use one server."""
    if _SERVER not in node.config.stash:
        _start_server(node.config)
    node.workerinput["postgres"] = str(node.config.stash[_DIRECTORY])


def pytest_unconfigure(config: pytest.Config) -> None:
    if _SERVER in config.stash:
        config.stash[_SERVER].stop()
    if _DIRECTORY in config.stash:
        shutil.rmtree(config.stash[_DIRECTORY], ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> PostgresServer:
    """The running server of this test run."""
    workerinput = getattr(pytestconfig, "workerinput", None)
    if workerinput is not None:
        return _server_in(Path(workerinput["postgres"]))
    return _start_server(pytestconfig)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[DatabaseAddresses]:
    """A migrated database of the test's own, with an address each for owner, submission, status and ingestion."""
    name = f"test_{uuid.uuid4().hex}"
    postgres.create_database(name, template=_TEMPLATE)
    yield postgres.database(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    """A web server that an installation may be allowed to fetch from, though it is on this machine."""
    origin = Origin(own_address())
    try:
        yield origin
    finally:
        origin.close()
