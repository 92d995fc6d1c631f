"""The way to PostgreSQL on its bad days."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from services.shared.errors import InvalidArgument, Unavailable
from services.shared.postgres import Database
from services.standalone.postgres import DatabaseAddresses

CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = current_user AND application_name = 'cut' AND datname = current_database()
"""


async def test_whatever_a_cut_connection_says_the_caller_hears_that_the_database_is_away(
    database: DatabaseAddresses,
) -> None:
    outcomes: Counter[str] = Counter()
    over = asyncio.Event()
    async with (
        Database.open(database.submission, application="cut") as cut,
        Database.open(database.submission, application="knife") as knife,
    ):

        async def work() -> None:
            while not over.is_set():
                try:
                    async with cut.transaction() as connection:
                        await connection.execute("SELECT pg_sleep(0.001)")
                    outcomes["done"] += 1
                except Unavailable:
                    outcomes["away"] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(work())
            async with asyncio.timeout(30):
                while outcomes["away"] < 20 or outcomes["done"] < 20:
                    await knife.execute(CUT)
            over.set()

        assert 1 == await cut.fetchval("SELECT 1")


async def test_a_database_that_was_never_there_is_away(database: DatabaseAddresses) -> None:
    async with Database.open(database.submission.replace(database.name, "nothing"), application="test") as nowhere:
        with pytest.raises(Unavailable):
            await nowhere.fetchval("SELECT 1")


async def test_whoever_loses_the_server_during_a_commit_hears_that_nobody_knows_the_outcome(
    database: DatabaseAddresses,
) -> None:
    async with Database.open(database.owner, application="commit") as opened:
        with pytest.raises(Unavailable) as refusal:
            async with opened.transaction() as connection:
                await connection.execute(
                    """
                    CREATE TEMPORARY TABLE changed (number int);
                    CREATE FUNCTION pg_temp.cut() RETURNS trigger LANGUAGE plpgsql
                      AS 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
                    CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON changed DEFERRABLE INITIALLY DEFERRED
                      FOR EACH ROW EXECUTE FUNCTION pg_temp.cut();
                    INSERT INTO changed VALUES (1);
                    """
                )

    assert ("OUTCOME_UNKNOWN", None) == (refusal.value.reason_name, refusal.value.retry_in)


async def test_whoever_loses_the_server_before_the_commit_hears_that_nothing_was_changed(
    database: DatabaseAddresses,
) -> None:
    async with Database.open(database.owner, application="before") as opened:
        with pytest.raises(Unavailable) as refusal:
            async with opened.transaction() as connection:
                connection.terminate()

    assert "DATABASE_UNAVAILABLE" == refusal.value.reason_name
    assert "nothing was changed" in refusal.value.message


async def test_a_statement_that_takes_too_long_is_no_database_that_is_away(database: DatabaseAddresses) -> None:
    async with Database.open(
        database.submission, application="slow", statement_timeout=timedelta(milliseconds=20)
    ) as slow:
        with pytest.raises(Unavailable) as refusal:
            await slow.fetchval("SELECT pg_sleep(5)")

    assert "DATABASE_BUSY" == refusal.value.reason_name


async def test_status_can_read_and_nothing_else(database: DatabaseAddresses) -> None:
    async with Database.open(database.status, application="test") as status:
        assert 0 == await status.fetchval("SELECT count(*) FROM jobs")
        for statement in (
            "INSERT INTO artifact_removals VALUES ('x')",
            "UPDATE jobs SET message = 'x'",
            "DELETE FROM processes",
            "CREATE TABLE mine (x int)",
            "SELECT private_key FROM callback_keys",
        ):
            with pytest.raises(Exception, match="permission denied"):
                await status.execute(statement)


async def test_a_text_that_no_column_can_keep_is_a_fault_of_the_request(database: DatabaseAddresses) -> None:
    async with Database.open(database.submission, application="nul") as reached:
        with pytest.raises(InvalidArgument) as refusal:
            await reached.fetchval("SELECT $1::text", "a\0b")

        assert "INVALID_REQUEST" == refusal.value.reason_name
        assert "ab" == await reached.fetchval("SELECT $1::text", "ab")
