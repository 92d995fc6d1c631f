"""Jobs in the database: what races must not break."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from services.shared.jobs import Job
from services.shared.names import ProcessName
from services.shared.postgres import Database
from services.standalone.postgres import DatabaseAddresses
from services.submission.echo import ECHO, echo
from services.submission.jobs import Caller, Claim, Ending, JobStore, Progress, StepChange
from services.submission.processes import ProcessStore

SHORT = timedelta(milliseconds=1)
LONG = timedelta(minutes=1)


@pytest.fixture
async def opened(database: DatabaseAddresses) -> AsyncIterator[Database]:
    async with Database.open(database.submission, application="test", connections=20) as opened:
        await ProcessStore(opened).install(ECHO, echo())
        yield opened


@pytest.fixture
def jobs(opened: Database) -> JobStore:
    return JobStore(opened)


async def accept(opened: Database, jobs: JobStore) -> Job:
    process = await ProcessStore(opened).get(ProcessName("ada", ECHO))
    request = {"inputs": {"message": "x"}}
    return await jobs.accept(process, request, Caller(subject="ada", workspace="ada"), idempotency_key=None)


async def launch(jobs: JobStore) -> Claim:
    claim = await jobs.claim_waiting(slots=1, lease=LONG)
    assert claim is not None
    assert await jobs.launched(claim, "handle")
    (running,) = await jobs.claim_running(limit=1, lease=LONG)
    return running


async def test_a_due_job_is_handed_to_one_of_many_claimants(opened: Database, jobs: JobStore) -> None:
    job = await accept(opened, jobs)

    claims = await asyncio.gather(*(jobs.claim_waiting(slots=1, lease=LONG) for _ in range(8)))

    assert [job.job_id] == [claim.job_id for claim in claims if claim]


async def test_a_claim_that_was_overtaken_changes_nothing(opened: Database, jobs: JobStore) -> None:
    job = await accept(opened, jobs)
    late = await jobs.claim_waiting(slots=1, lease=-LONG)
    assert late is not None
    overtaking = await jobs.claim_waiting(slots=1, lease=LONG)
    assert overtaking is not None

    assert not await jobs.launched(late, "late")
    assert not await jobs.record(late, Progress(cursor="late", percent=50), due_in=SHORT)
    assert (
        await jobs.end(late, None, Ending(state="failed", message="Late.", failure={"reason": "STEP_FAILED"})) is None
    )
    assert "accepted" == (await jobs.get(job.name)).state
    assert await jobs.launched(overtaking, "handle")


async def test_a_dismissal_and_a_look_never_wait_for_each_other(opened: Database, jobs: JobStore) -> None:
    for _ in range(30):
        job = await accept(opened, jobs)
        claim = await launch(jobs)
        step = StepChange(step="a", state="running", time=datetime.now(UTC), exit_code=None)

        # A deadlock would end one of them with an error of the database.
        await asyncio.gather(
            *(jobs.record(claim, Progress(cursor="", percent=n, steps=[step]), due_in=LONG) for n in range(1, 4)),
            jobs.dismiss(job.name),
        )

        assert "dismissed" == (await jobs.get(job.name)).state


async def test_of_an_end_and_a_dismissal_one_counts(opened: Database, jobs: JobStore) -> None:
    for _ in range(20):
        job = await accept(opened, jobs)
        claim = await launch(jobs)

        ended, _ = await asyncio.gather(
            jobs.end(claim, None, Ending(state="successful", message="Done.", results={})),
            jobs.dismiss(job.name),
        )

        states = await opened.fetch(
            "SELECT details ->> 'status' AS state FROM job_events WHERE job_id = $1 AND kind = 'state'", job.job_id
        )
        final = [row["state"] for row in states if row["state"] in ("successful", "dismissed")]
        # The dismissal of a job that has ended removes it, with its events.
        assert (["dismissed"] if ended is None else []) == final


async def test_an_ended_job_stays_ended_whatever_is_tried(opened: Database, jobs: JobStore) -> None:
    job = await accept(opened, jobs)
    await jobs.dismiss(job.name)

    with pytest.raises(Exception, match="stays so"):
        await opened.execute("UPDATE jobs SET state = 'running', end_time = NULL WHERE job_id = $1", job.job_id)
