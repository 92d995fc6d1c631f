"""A run belongs to the directory that holds it: who judges it, who gives it up, and what is swept away."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from services.shared.errors import Unavailable
from services.standalone.postgres import DatabaseAddresses
from services.submission.backends import RunState
from services.submission.dispatch.directories import DirectoryStore, RunSweeper
from tests.backend_runs import ECHO, execution, launch
from tests.integration.submission.dispatching import Installation, Replica, installed
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_DATABASE_UNAVAILABLE

MINUTE = 60.0
KEPT = timedelta(hours=24)


@pytest.fixture
async def installation(database: DatabaseAddresses, tmp_path: Path) -> AsyncIterator[Installation]:
    with capture_logs():
        async with installed(database.submission, tmp_path) as installation:
            yield installation


@pytest.fixture
async def here(installation: Installation) -> AsyncIterator[Replica]:
    async with installation.replica(directory="here") as replica:
        yield replica


@pytest.fixture
async def there(installation: Installation) -> AsyncIterator[Replica]:
    async with installation.replica(directory="there") as replica:
        yield replica


async def started(installation: Installation, replica: Replica, message: str) -> None:
    replica.backend.scripts[message].states = [RunState.running]
    for name in ("stage", "launch"):
        assert await replica.step(name)
    assert "running" == (await installation.stages())[message]


async def keep(replica: Replica, *, minutes: int, alive: tuple[Replica, ...] = ()) -> None:
    """Lets time go by for one process, of which the others hear nothing but the signs of those that live."""
    for _ in range(minutes):
        replica.time[0] += MINUTE
        for other in alive:
            await other.keeper.step()
        await replica.keeper.step()


async def test_two_directories_share_the_jobs_and_judge_their_own_only(
    installation: Installation, here: Replica, there: Replica
) -> None:
    jobs = [await installation.accept(str(number)) for number in range(8)]
    for name in ("stage", "stage", "launch", "launch"):
        assert await here.step(name)
        assert await there.step(name)

    for _ in range(4):
        for replica in (here, there):
            for name in ("look", "publish", "release", "stage", "stage", "launch", "launch"):
                await replica.step(name)

    assert ["successful"] * 8 == [(await installation.ended(job)).state for job in jobs]
    assert 8 == len(here.backend.called("launch") + there.backend.called("launch"))
    assert here.backend.called("launch")
    assert there.backend.called("launch")


async def test_a_directory_does_not_hoard_jobs_while_another_has_slots_free(
    installation: Installation, here: Replica, there: Replica
) -> None:
    for number in range(6):
        await installation.accept(str(number))

    for _ in range(6):
        await here.step("stage")
    for _ in range(6):
        await there.step("stage")

    # Two slots each, and one job more that is ready when one becomes free.
    assert (3, 3) == (len(here.backend.staged), len(there.backend.staged))


async def test_a_run_is_left_alone_by_who_does_not_hold_it(
    installation: Installation, here: Replica, there: Replica
) -> None:
    job = await installation.accept("a")
    await started(installation, here, "a")

    for name in ("stage", "launch", "look", "publish", "release"):
        assert not await there.step(name)
    await keep(there, minutes=60, alive=(here,))

    assert "running" == (await installation.jobs.get(job.name)).state


async def test_a_machine_of_which_nothing_is_heard_gives_its_jobs_up(
    installation: Installation, here: Replica, there: Replica
) -> None:
    job = await installation.accept("a")
    await started(installation, here, "a")

    await keep(there, minutes=9)
    assert not (await installation.jobs.get(job.name)).ended
    await keep(there, minutes=2)

    failure = (await installation.ended(job)).failure
    assert failure is not None
    assert "BACKEND_LOST_JOB" == failure["reason"]
    assert "(host of here) has not been heard of for 10 minutes" in failure["message"]
    assert {} == await installation.stages()
    assert ["there"] == [
        row["directory"] for row in await installation.database.fetch("SELECT directory FROM run_directories")
    ]


async def test_a_database_that_was_away_is_no_sign_of_a_machine_that_is_gone(
    installation: Installation, here: Replica, there: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await installation.accept("a")
    await started(installation, here, "a")
    await keep(there, minutes=8)

    async def away(*_: object) -> None:
        raise Unavailable(ERROR_REASON_DATABASE_UNAVAILABLE, "Away.")

    with monkeypatch.context() as patched:
        patched.setattr(DirectoryStore, "seen", away)
        there.time[0] += 60 * MINUTE
        with pytest.raises(Unavailable):
            await there.keeper.step()
    await keep(there, minutes=8)

    assert not (await installation.jobs.get(job.name)).ended


async def test_what_is_only_prepared_elsewhere_is_soon_prepared_here(
    installation: Installation, here: Replica, there: Replica
) -> None:
    job = await installation.accept("a")
    await here.step("stage")
    assert not await there.step("launch")

    await keep(there, minutes=2)
    for name in ("stage", "launch", "look", "publish", "release"):
        assert await there.step(name)

    assert "successful" == (await installation.ended(job)).state
    assert not await here.step("launch")


async def test_a_run_from_before_directories_were_known_is_adopted_by_who_holds_it(
    installation: Installation, here: Replica, there: Replica
) -> None:
    job = await installation.accept("a")
    await started(installation, here, "a")
    await installation.database.execute("UPDATE dispatch SET directory = ''")
    assert not await here.step("look")

    await keep(there, minutes=1)
    assert not await there.step("look")
    await here.keeper.step()

    await installation.due()
    assert await here.step("look")
    assert "running" == (await installation.jobs.get(job.name)).state


async def test_a_run_from_before_that_nobody_holds_is_given_up(
    installation: Installation, here: Replica, there: Replica
) -> None:
    job = await installation.accept("a")
    await started(installation, here, "a")
    await installation.database.execute("UPDATE dispatch SET directory = ''")

    await keep(there, minutes=11)

    assert "failed" == (await installation.ended(job)).state


async def test_runs_without_a_job_are_swept_and_those_of_a_job_never(installation: Installation, here: Replica) -> None:
    jobs = {}
    for message in ("running", "prepared", "removed"):
        jobs[message] = await installation.accept(message)
    for name in ("stage", "stage", "stage", "launch"):
        assert await here.step(name)
    stranger, fresh = execution(ECHO, {"message": "stranger"}), execution(ECHO, {"message": "fresh"})
    for order in (stranger, fresh):
        await launch(here.backend, order)
    here.backend.ages[f"{fresh.job_id}-1"] = timedelta(hours=1)
    await installation.database.execute("DELETE FROM dispatch WHERE job_id = $1", jobs["removed"].job_id)
    await installation.database.execute(
        "UPDATE jobs SET state = 'dismissed', end_time = now() WHERE job_id = $1", jobs["removed"].job_id
    )
    # Whose database is an older one knows nothing of a run that has just begun.
    sweeper = RunSweeper(DirectoryStore(installation.database), here.lane, here.backend, kept_for=KEPT)

    assert not await sweeper.step()

    left = {run.job_id for run in await here.backend.runs()}
    assert {str(jobs["running"].job_id), str(jobs["prepared"].job_id), fresh.job_id} == left


async def test_a_preparation_that_went_elsewhere_is_swept(
    installation: Installation, here: Replica, there: Replica
) -> None:
    await installation.accept("a")
    await here.step("stage")
    await keep(there, minutes=2)
    await there.step("stage")

    await RunSweeper(DirectoryStore(installation.database), here.lane, here.backend, kept_for=KEPT).step()

    assert [] == await here.backend.runs()
    assert 1 == len(await there.backend.runs())


async def test_many_strangers_are_swept_a_few_at_a_time(installation: Installation, here: Replica) -> None:
    for _ in range(20):
        await launch(here.backend, execution(ECHO, {"message": str(uuid4())}))
    sweeper = RunSweeper(DirectoryStore(installation.database), here.lane, here.backend, kept_for=KEPT)

    assert await sweeper.step()
    assert 4 == len(await here.backend.runs())
    assert not await sweeper.step()
    assert [] == await here.backend.runs()
