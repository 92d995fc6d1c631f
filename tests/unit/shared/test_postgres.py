"""The way to PostgreSQL on its bad days."""

import asyncio
from collections import Counter

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
                while outcomes["away"] < 50 or outcomes["done"] < 50:
                    await knife.execute(CUT)
            over.set()

        assert 1 == await cut.fetchval("SELECT 1")


async def test_a_database_that_was_never_there_is_away(database: DatabaseAddresses) -> None:
    async with Database.open(database.submission.replace(database.name, "nothing"), application="test") as nowhere:
        with pytest.raises(Unavailable):
            await nowhere.fetchval("SELECT 1")

        assert not await nowhere.ready()


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
