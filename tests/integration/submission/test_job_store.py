"""Jobs in the database: what races must not break."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from services.records.jobs import Job
from services.shared.errors import FailedPrecondition
from services.shared.names import ProcessName
from services.shared.postgres import Database
from services.standalone.postgres import DatabaseAddresses
from services.submission.acceptance import Caller, JobStore
from services.submission.builtin.echo import ECHO, echo
from services.submission.dispatch.progress import Ending, Progress, StepChange
from services.submission.dispatch.queue import Claim, Lane, Queue
from services.submission.processes import ProcessStore

SHORT = timedelta(milliseconds=1)
LONG = timedelta(minutes=1)
NOW = timedelta(0)
BUILTIN = Lane(backend="builtin")


@pytest.fixture
async def opened(database: DatabaseAddresses) -> AsyncIterator[Database]:
    async with Database.open(database.submission, application="test", connections=20) as opened:
        await ProcessStore(opened).install(ECHO, echo())
        yield opened


@pytest.fixture
def jobs(opened: Database) -> JobStore:
    return JobStore(opened)


@pytest.fixture
def queue(opened: Database) -> Queue:
    return Queue(opened)


async def accept(opened: Database, jobs: JobStore) -> Job:
    process = await ProcessStore(opened).get(ProcessName("ada", ECHO))
    request = {"inputs": {"message": "x"}}
    return await jobs.accept(process, request, Caller(subject="ada", workspace="ada"), idempotency_key=None)


async def launch(queue: Queue) -> Claim:
    (claim,) = await queue.claim_unstaged(BUILTIN, limit=1)
    assert await queue.launched(claim, "handle")
    return await look(queue)


async def look(queue: Queue) -> Claim:
    (running,) = await queue.claim(BUILTIN, "running", limit=1)
    return running


async def expire(opened: Database) -> None:
    await opened.execute("UPDATE dispatch SET due_time = now()")


async def test_a_due_job_is_handed_to_one_of_many_claimants(opened: Database, jobs: JobStore, queue: Queue) -> None:
    job = await accept(opened, jobs)

    claims = await asyncio.gather(*(queue.claim_unstaged(BUILTIN, limit=1) for _ in range(8)))

    assert [job.job_id] == [claim.job_id for claimed in claims for claim in claimed]


async def test_a_claim_that_was_overtaken_changes_nothing(opened: Database, jobs: JobStore, queue: Queue) -> None:
    job = await accept(opened, jobs)
    (late,) = await queue.claim_unstaged(BUILTIN, limit=1)
    await expire(opened)
    (overtaking,) = await queue.claim_unstaged(BUILTIN, limit=1)

    assert not await queue.staged(late, "late")
    assert not await queue.launched(late, "late")
    assert not await queue.over(late)
    assert not await queue.record(late, Progress(cursor="late", percent=50), due_in=SHORT)
    assert (
        await queue.end(late, None, Ending(state="failed", message="Late.", failure={"reason": "STEP_FAILED"})) is None
    )
    await queue.postpone(late, LONG, fault=True)
    await queue.put_back([late])
    assert set() == await queue.renew([late])
    assert {job.job_id} == await queue.renew([overtaking])
    assert "accepted" == (await jobs.get(job.name)).state
    assert await queue.launched(overtaking, "handle")


async def test_a_claim_counts_once(opened: Database, jobs: JobStore, queue: Queue) -> None:
    await accept(opened, jobs)
    claim = await launch(queue)

    assert await queue.record(claim, Progress(cursor="1", percent=None), due_in=NOW)

    # A renewal that comes late must not hide the job again.
    assert set() == await queue.renew([claim])
    assert not await queue.record(claim, Progress(cursor="2", percent=None), due_in=NOW)
    assert "1" == (await look(queue)).cursor


async def test_a_dismissal_and_a_look_never_wait_for_each_other(opened: Database, jobs: JobStore, queue: Queue) -> None:
    for _ in range(30):
        job = await accept(opened, jobs)
        claim = await launch(queue)
        step = StepChange(step="a", state="running", time=datetime.now(UTC), exit_code=None)

        # A deadlock would end one of them with an error of the database.
        await asyncio.gather(
            *(queue.record(claim, Progress(cursor="", percent=n, steps=[step]), due_in=LONG) for n in range(1, 4)),
            jobs.dismiss(job.name),
        )

        assert "dismissed" == (await jobs.get(job.name)).state


async def test_of_an_end_and_a_dismissal_one_counts(opened: Database, jobs: JobStore, queue: Queue) -> None:
    for _ in range(20):
        job = await accept(opened, jobs)
        claim = await launch(queue)

        ended, _ = await asyncio.gather(
            queue.end(claim, None, Ending(state="successful", message="Done.", results={})),
            jobs.dismiss(job.name),
        )

        states = await opened.fetch(
            "SELECT details ->> 'status' AS state FROM job_events WHERE job_id = $1 AND kind = 'state'", job.job_id
        )
        final = [row["state"] for row in states if row["state"] in ("successful", "dismissed")]
        # The dismissal of a job that has ended removes it, with its events.
        assert (["dismissed"] if ended is None else []) == final


async def test_an_ended_job_stays_ended_whatever_is_tried(opened: Database, jobs: JobStore, queue: Queue) -> None:
    job = await accept(opened, jobs)
    await jobs.dismiss(job.name)

    with pytest.raises(Exception, match="stays so"):
        await opened.execute("UPDATE jobs SET state = 'running', end_time = NULL WHERE job_id = $1", job.job_id)


async def test_changes_of_one_look_are_kept_once_and_in_order(opened: Database, jobs: JobStore, queue: Queue) -> None:
    job = await accept(opened, jobs)
    claim = await launch(queue)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    ended = began + timedelta(seconds=1)
    changes = [
        StepChange(step="b", state="running", time=began, exit_code=None),
        StepChange(step="a", state="running", time=began, exit_code=None),
        StepChange(step="b", state="failed", time=ended, exit_code=3),
    ]

    assert await queue.record(
        claim, Progress(cursor="1", percent=100, steps=changes, log_sizes=(("c", 7),)), due_in=LONG
    )

    steps = await opened.fetch("SELECT step, state, start_time, end_time, exit_code FROM job_steps ORDER BY position")
    assert [
        ("b", "failed", began, ended, 3),
        ("a", "running", began, None, None),
    ] == [tuple(row.values()) for row in steps[:2]]
    assert "c" == steps[2]["step"]
    events = await opened.fetch("SELECT kind, details FROM job_events WHERE job_id = $1 ORDER BY sequence", job.job_id)
    assert [
        {"step": "b", "status": "running"},
        {"step": "a", "status": "running"},
        {"step": "b", "status": "failed", "exitCode": 3},
        {"step": "c", "size": 7},
        # Nothing is done whole before it has ended.
        {"progress": 99},
    ] == [row["details"] for row in events if row["kind"] != "state"]


async def test_the_last_steps_are_recorded_as_fast_as_the_first(opened: Database, jobs: JobStore, queue: Queue) -> None:
    await accept(opened, jobs)
    await launch(queue)
    await expire(opened)
    now = datetime.now(UTC)
    statements = []

    for batch in range(20):
        changes = [
            StepChange(step=f"s{batch}-{number}", state="running", time=now, exit_code=None) for number in range(250)
        ]
        claim = await look(queue)
        before = await opened.fetchval("SELECT clock_timestamp()")
        await queue.record(claim, Progress(cursor="", percent=None, steps=changes), due_in=NOW)
        statements.append(await opened.fetchval("SELECT clock_timestamp()") - before)

    assert 5000 == await opened.fetchval("SELECT count(DISTINCT position) FROM job_steps")
    assert sorted(statements[-9:])[4] < 5 * sorted(statements[:9])[4]


async def test_an_idempotency_key_covers_the_subscriber(opened: Database, jobs: JobStore, queue: Queue) -> None:
    process = await ProcessStore(opened).get(ProcessName("ada", ECHO))

    async def again(subscriber: dict[str, str] | None) -> Job:
        return await jobs.accept(
            process,
            {"inputs": {"message": "x"}},
            Caller(subject="ada", workspace="ada"),
            idempotency_key="key",
            subscriber=subscriber,
        )

    first = await again({"success_uri": "https://eo.example/a", "root": "https://one.example"})

    # By another name of this service it is the same request.
    assert first.job_id == (await again({"success_uri": "https://eo.example/a", "root": "https://two.example"})).job_id
    for other in ({"success_uri": "https://eo.example/b", "root": "https://one.example"}, None):
        with pytest.raises(FailedPrecondition, match="another request"):
            await again(other)
