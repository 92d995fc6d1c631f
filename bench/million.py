"""A list of a million jobs: what its page 5,000 costs against its first one."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from uuid import UUID

import psycopg

from bench.figures import Spread
from services.access.policy import ListFilter
from services.records.schema import migrate
from services.shared.postgres import Database
from services.standalone.postgres import PostgresServer
from services.status.jobs import JobFilter, JobListStore

JOBS = 1_000_000
PAGE = 100
FAR = 5_000
CALLS = 50
"""How often a page is read in each round."""
MINE = ListFilter(everything=False, workspaces=("bench",), subject="somebody", visibilities=(), groups=())

# Ids rise with the number, as those of jobs rise with the time.
FILL = """
INSERT INTO process_revisions (
    revision_id, workspace, process_id, revision, digest, media_type, workflow_id, backend, description, cwl_inputs,
    deployed_by
) VALUES (
    '00000000-0000-7000-8000-000000000000', 'bench', 'sample', 1, 'sha256:0', 'application/cwl', '', '', '{}', '{}',
    'bench'
);
INSERT INTO jobs (
    job_id, workspace, process_id, revision_id, calling_workspace, owner, state, progress, request, create_time,
    start_time, end_time, results
)
SELECT
    ('01900000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid, 'bench', 'sample',
    '00000000-0000-7000-8000-000000000000', 'bench', 'somebody', 'successful', 100, '{"inputs": {}}',
    now() - (2000000 - number) * interval '1 second', now() - (1999999 - number) * interval '1 second',
    now() - (1999990 - number) * interval '1 second', '{}'
FROM generate_series(1, %s) AS number;
"""


@dataclass(frozen=True)
class Pages:
    """What was measured; times in milliseconds, the ratio round by round."""

    jobs: int
    first_ms: float
    far_ms: float
    ratio: Spread


async def measure_pages(directory: Path, *, rounds: int) -> Pages:
    """Fills a database of its own and reads pages of it in turn."""
    server = PostgresServer(directory / "million", directory / "million-link", durable=False)
    await asyncio.to_thread(server.start)
    try:
        server.create_owner()
        server.create_database("million")
        migrate(server.database("million").owner)
        server.create_logins()
        with psycopg.connect(server.database("million").owner, autocommit=True) as connection:
            for statement in FILL.replace("%s", str(JOBS)).split(";\n"):
                if statement.strip():
                    connection.execute(statement.encode())
            connection.execute(b"VACUUM ANALYZE jobs")
        async with Database.open(server.database("million").status, application="bench", connections=1) as database:
            return await _measure(JobListStore(database), rounds)
    finally:
        await asyncio.to_thread(server.stop)


async def _measure(jobs: JobListStore, rounds: int) -> Pages:
    wanted = JobFilter(workspace="bench")
    far = UUID(int=UUID("01900000-0000-7000-8000-000000000000").int + JOBS - (FAR - 1) * PAGE + 1)
    first: list[float] = []
    last: list[float] = []
    for _ in range(rounds):
        for times, after in ((first, None), (last, far)):
            took = []
            for _ in range(CALLS):
                began = time.perf_counter()
                page = await jobs.page(wanted, MINE, after=after, size=PAGE + 1)
                took.append((time.perf_counter() - began) * 1000)
                assert len(page) == PAGE + 1
            times.append(median(took))
    return Pages(JOBS, median(first), median(last), Spread.of_ratios(last, first))
