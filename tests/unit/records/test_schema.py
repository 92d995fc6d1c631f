"""A service is ready when the schema is not older than its code."""

import logging
from pathlib import Path

import pytest

from services.records.schema import SchemaCheck, newest_migration
from services.shared.postgres import Database
from services.standalone.postgres import DatabaseAddresses

FORGET = "DELETE FROM _yoyo_migration WHERE migration_id = $1 RETURNING to_jsonb(_yoyo_migration)"
REMEMBER = "INSERT INTO _yoyo_migration SELECT * FROM jsonb_populate_record(NULL::_yoyo_migration, $1)"


@pytest.mark.parametrize("role", ["submission", "status", "ingestion"])
async def test_each_service_is_ready_once_its_schema_is_there(
    database: DatabaseAddresses, role: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Database.open(database.owner, application="test") as owner,
        Database.open(getattr(database, role), application="test") as opened,
    ):
        schema = SchemaCheck(opened)
        row = await owner.fetchval(FORGET, newest_migration())
        with caplog.at_level(logging.WARNING):
            before = [await schema.is_ready(), await schema.is_ready()]
        await owner.execute(REMEMBER, row)

        assert ([False, False], True, True) == (before, await schema.is_ready(), await schema.is_ready())

    assert 1 == sum("workflow-runner migrate" in record.message for record in caplog.records)


async def test_a_schema_that_came_later_is_fine(database: DatabaseAddresses) -> None:
    async with Database.open(database.owner, application="test") as owner:
        await owner.execute("INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('later', '9999.later')")
        is_ready = await SchemaCheck(owner).is_ready()
        await owner.execute("DELETE FROM _yoyo_migration WHERE migration_id = '9999.later'")

    assert is_ready


async def test_a_database_that_is_away_or_has_no_schema_is_not_ready(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    async with Database.open(f"postgresql://status@/runner?host={tmp_path}", application="test") as away:
        assert not await SchemaCheck(away).is_ready()
    async with Database.open(database.owner.replace(database.name, "postgres"), application="test") as empty:
        assert not await SchemaCheck(empty).is_ready()
