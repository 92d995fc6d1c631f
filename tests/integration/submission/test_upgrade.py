"""The schema of a running installation is brought up to date without losing a job."""

from collections.abc import Iterator
from importlib.resources import files
from uuid import UUID, uuid4

import psycopg
import pytest

from services.standalone.postgres import DatabaseAddresses, PostgresServer

MIGRATION = files("services.records") / "migrations" / "0006.dispatch_stages.sql"
QUEUED = {
    "waiting": (False, False),
    "running": (True, False),
    "releasing": (True, True),
}


@pytest.fixture
def before(postgres: PostgresServer) -> Iterator[DatabaseAddresses]:
    """A database as the last release left it."""
    name = f"test_{uuid4().hex}"
    postgres.create_database(name)
    addresses = postgres.database(name)
    with psycopg.connect(addresses.owner, autocommit=True) as connection:
        for path in sorted((files("services.records") / "migrations").iterdir(), key=lambda path: path.name):
            if path.name.endswith(".sql") and path.name < MIGRATION.name:
                connection.execute(path.read_text())
    yield addresses
    postgres.drop_database(name)


def stages(connection: psycopg.Connection) -> dict[UUID, str]:
    return dict(connection.execute("SELECT job_id, stage FROM dispatch").fetchall())


def test_jobs_in_the_queue_keep_their_places(before: DatabaseAddresses) -> None:
    with psycopg.connect(before.owner, autocommit=True) as connection:
        jobs = {uuid4(): stage for stage in QUEUED}
        for job_id, stage in jobs.items():
            launched, ended = QUEUED[stage]
            connection.execute(
                "INSERT INTO dispatch (job_id, workspace, backend, launched, ended) VALUES (%s, 'ada', '', %s, %s)",
                (job_id, launched, ended),
            )

        connection.execute(MIGRATION.read_text())

        assert jobs == stages(connection)


def test_a_service_of_the_last_release_may_still_be_at_work(before: DatabaseAddresses) -> None:
    with psycopg.connect(before.owner, autocommit=True) as connection:
        connection.execute(MIGRATION.read_text())
        job_id = uuid4()
        seen = []
        for statement in (
            "INSERT INTO dispatch (job_id, workspace, backend) VALUES (%s, 'ada', '')",
            "UPDATE dispatch SET launched = true, handle = 'x' WHERE job_id = %s",
            "UPDATE dispatch SET due_time = now() WHERE job_id = %s",
            "UPDATE dispatch SET ended = true WHERE job_id = %s",
        ):
            connection.execute(statement, (job_id,))
            seen.append(stages(connection)[job_id])

        assert ["waiting", "running", "running", "releasing"] == seen


def test_what_is_moved_by_stages_is_seen_by_the_last_release(before: DatabaseAddresses) -> None:
    with psycopg.connect(before.owner, autocommit=True) as connection:
        connection.execute(MIGRATION.read_text())
        job_id = uuid4()
        connection.execute("INSERT INTO dispatch (job_id, workspace, backend) VALUES (%s, 'ada', '')", (job_id,))

        seen = []
        for stage in ("staging", "staged", "launching", "running", "publishing", "releasing"):
            connection.execute("UPDATE dispatch SET stage = %s WHERE job_id = %s", (stage, job_id))
            seen += connection.execute("SELECT launched, ended FROM dispatch").fetchall()

        assert [(False, False)] * 2 + [(True, False)] * 3 + [(False, True)] == seen
