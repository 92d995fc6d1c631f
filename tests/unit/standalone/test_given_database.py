"""A database elsewhere, of which we know the owner."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from services.standalone.__main__ import main
from services.standalone.databases import GivenDatabase
from services.standalone.postgres import PostgresServer
from services.standalone.refusals import CannotStart


@pytest.fixture
def name(postgres: PostgresServer) -> Iterator[str]:
    """An empty database of the owner's."""
    name = f"given_{uuid.uuid4().hex}"
    postgres.create_database(name)
    yield name
    with psycopg.connect(postgres.address("postgres"), autocommit=True) as connection:
        postgres.drop_database(name)
        for service in ("submission", "status", "ingestion"):
            connection.execute(f"DROP ROLE IF EXISTS workflow_runner_{service}_at_{name}")


def test_each_service_gets_a_login_that_may_do_no_more_than_it_must(
    postgres: PostgresServer, name: str, tmp_path: Path
) -> None:
    database = GivenDatabase(postgres.database(name).owner, passwords=tmp_path / "database.json")
    database.prepare()

    database.bring_up_to_date()
    database.bring_up_to_date()

    with psycopg.connect(database.addresses()["submission"]) as connection:
        connection.execute("DELETE FROM jobs")
    with psycopg.connect(database.addresses()["status"]) as connection:
        connection.execute("SELECT 1 FROM jobs")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM jobs")


def test_a_database_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    database = GivenDatabase("postgresql://owner:hidden@localhost:1/name", passwords=tmp_path / "database.json")
    database.prepare()

    with pytest.raises(CannotStart, match=r"The database localhost/name cannot be used: ") as refused:
        database.bring_up_to_date()

    assert "hidden" not in str(refused.value)


def test_the_command_migrates_a_database_elsewhere(
    postgres: PostgresServer, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["migrate", "--database", postgres.database(name).owner])

    assert (0, f"The schema of this machine/{name} is up to date.\n") == (code, capsys.readouterr().out)


def test_what_is_no_address_of_a_database_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["migrate", "--database", "db.example/name"])

    assert 2 == code
    assert "is written postgresql://owner:password@host/name" in capsys.readouterr().err
