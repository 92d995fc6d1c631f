"""Status behind its real layers, over a database of its own that is written as submission writes it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.records.artifacts import ArtifactSettings, ArtifactStore
from services.shared.postgres import Database
from services.standalone.postgres import DatabaseAddresses
from tests.integration.status.records import Records
from tests.integration.status.serving import Status, open_status
from tests.support.tokens import Tokens


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.open(ArtifactSettings(url=f"file://{tmp_path}/artifacts"))


@pytest.fixture
async def records(database: DatabaseAddresses, artifacts: ArtifactStore) -> AsyncIterator[Records]:
    async with Database.open(database.submission, application="records", connections=12) as writing:
        yield Records(writing, artifacts)


@pytest.fixture
async def reading(database: DatabaseAddresses) -> AsyncIterator[Database]:
    """The database with the login of status."""
    async with Database.open(database.status, application="status") as opened:
        yield opened


@pytest.fixture
async def status(reading: Database, artifacts: ArtifactStore, tmp_path: Path) -> AsyncIterator[Status]:
    async with open_status(reading, artifacts, Tokens(tmp_path / "issuer")) as opened:
        yield opened
