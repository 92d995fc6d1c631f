"""Ingestion on a real database, with a store of files and a SubmissionService in memory."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.ingestion.actions import ActionStore
from services.ingestion.harvest import parse_harvest
from services.ingestion.harvester import Harvester
from services.ingestion.ingestions import Ingestion, IngestionStore
from services.ingestion.packages import Packages, PackageSettings
from services.ingestion.submission import SubmissionClient, TokenFile
from services.shared.names import IngestionName
from services.shared.postgres import Database
from services.standalone.postgres import DatabaseAddresses
from tests.integration.ingestion.fake_submission import FakeSubmission, serve_submission, socket_address
from tests.support.tokens import Tokens

LEASE = timedelta(minutes=2)
GIVE_UP_AFTER = timedelta(days=1)


class Bench:
    """What the tests of the harvester work with."""

    def __init__(self, database: Database, folder: Path, submission: FakeSubmission, harvester: Harvester) -> None:
        self._database = database
        self.folder = folder
        self.submission = submission
        self.harvester = harvester
        self.ingestions = IngestionStore(database)
        self.actions = ActionStore(database)

    def put(self, key: str, content: bytes, bucket: str = "harvest") -> None:
        """Puts an object into the store."""
        path = self.folder / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    async def send(self, workspace: str = "ada", **members: Any) -> Ingestion:
        """Takes in a message; members that are not given have a value."""
        document = {"bucket_name": "harvest", "source": "git", "target": "", **members}
        harvest = parse_harvest(json.dumps(document).encode(), workspace)
        return await self.ingestions.accept(workspace, harvest, received_from="ada")

    async def read(self, ingestion: Ingestion) -> Ingestion:
        """Reads an ingestion again."""
        return await self.ingestions.get(IngestionName(ingestion.workspace, ingestion.ingestion_id))

    async def work(self) -> None:
        """Carries out whatever is due."""
        while await self.harvester.step():
            pass

    async def let_all_be_due(self) -> None:
        """Does what passing time does: pauses and leases are over."""
        await self._database.execute("UPDATE ingestion_actions SET due_time = now()")

    async def let_time_pass(self, time: timedelta) -> None:
        """Makes every message older."""
        await self._database.execute("UPDATE ingestions SET create_time = create_time - $1::interval", time)

    async def harvested(self) -> dict[str, str]:
        """Which process stands on which key."""
        rows = await self._database.fetch("SELECT key, process_id FROM harvested_packages ORDER BY key")
        return {row["key"]: row["process_id"] for row in rows}


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "identity")


@pytest.fixture
async def pool(database: DatabaseAddresses) -> AsyncIterator[Database]:
    async with Database.open(database.ingestion, application="tests") as pool:
        yield pool


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with socket_address() as address:
        yield address


@pytest.fixture
async def submission(address: str) -> AsyncIterator[FakeSubmission]:
    async with serve_submission(address) as submission:
        yield submission


@pytest.fixture
async def client(address: str, tokens: Tokens) -> AsyncIterator[SubmissionClient]:
    token = TokenFile(tokens.ingestion_file())
    async with SubmissionClient.open(address, token, deadline=timedelta(seconds=10)) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def packages(folder: Path) -> Packages:
    return Packages(PackageSettings(url=folder.as_uri(), buckets={"harvest": ("*",)}))


@pytest.fixture
def bench(
    pool: Database, folder: Path, packages: Packages, submission: FakeSubmission, client: SubmissionClient
) -> Bench:
    harvester = Harvester(ActionStore(pool), packages, client, lease=LEASE, give_up_after=GIVE_UP_AFTER)
    return Bench(pool, folder, submission, harvester)
