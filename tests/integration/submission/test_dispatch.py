"""Every stage of the dispatcher by its steps: what it does, what fails in it, and that every job ends."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.shared.errors import Unavailable
from services.standalone.postgres import DatabaseAddresses
from services.submission.backends import Failure, FailureReason, LaunchRefused, LogChunk, RunState
from services.submission.builtin.echo import ECHO
from services.submission.dispatch.dispatcher import FAULTS, LAUNCH_FAULTS
from services.submission.settings import DispatchSettings
from tests.fake_backend import step
from tests.integration.submission.dispatching import DAYS, Installation, Replica, always, installed, settle
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_STORAGE_FULL, ERROR_REASON_STORE_UNAVAILABLE

AWAY = Unavailable(ERROR_REASON_STORE_UNAVAILABLE, "The object store cannot be reached. Try again.")
FULL = Unavailable(ERROR_REASON_STORAGE_FULL, "The object store has no room. Try again.")
TO_RUN = ("stage", "launch")
TO_END = (*TO_RUN, "look", "publish", "release")


@pytest.fixture
async def installation(database: DatabaseAddresses, tmp_path: Path) -> AsyncIterator[Installation]:
    # Failures are wanted here, and drawing each of them takes a second.
    with capture_logs():
        async with installed(database.submission, tmp_path) as installation:
            yield installation


@pytest.fixture
async def replica(installation: Installation) -> AsyncIterator[Replica]:
    async with installation.replica() as replica:
        yield replica


async def test_a_job_goes_through_its_stages_and_leaves_nothing(installation: Installation, replica: Replica) -> None:
    job = await installation.accept("a")
    script = replica.backend.scripts["a"]
    script.states = [RunState.running, RunState.successful]
    script.outputs = {"answer": 42}
    script.logs = (LogChunk(step="main", offset=0, data=b"said\n"),)
    script.steps = (step("main", "running", 1), step("main", "successful", 2, 0))

    seen = []
    for name in ("stage", "launch", "look", "look", "publish"):
        assert await replica.step(name), name
        seen.append((await installation.stages())["a"])

    assert ["staged", "running", "running", "publishing", "releasing"] == seen
    ended = await installation.ended(job)
    assert ("successful", 100, {"answer": {"value": 42}}) == (ended.state, ended.progress, ended.results)
    assert ended.start_time is not None
    assert ended.end_time is not None
    assert ended.create_time < ended.start_time < ended.end_time
    assert await replica.step("release")
    assert {} == await installation.stages()
    assert [] == await replica.backend.runs()


@pytest.mark.parametrize("stage", ["stage_fails", "launch_fails"])
async def test_a_job_that_cannot_be_launched_fails_after_twelve_attempts(
    installation: Installation, replica: Replica, stage: str
) -> None:
    job = await installation.accept("a")
    setattr(replica.backend.scripts["a"], stage, always(OSError("no such device")))

    attempts = 0
    while not (await installation.jobs.get(job.name)).ended:
        await replica.step("stage")
        await replica.step("launch")
        attempts += 1
        await installation.due()
        assert attempts <= LAUNCH_FAULTS

    assert LAUNCH_FAULTS == len(replica.backend.called(stage.removesuffix("_fails")))
    failure = (await installation.ended(job)).failure
    assert failure is not None
    assert "BACKEND_FAILED" == failure["reason"]
    assert "12 attempts" in failure["message"]
    assert "no such device" not in failure["message"]


async def test_a_job_whose_inputs_cannot_be_had_fails_at_once(installation: Installation, replica: Replica) -> None:
    job = await installation.accept("a")
    refusal = LaunchRefused(Failure(reason=FailureReason.INPUT_UNAVAILABLE, message="The input f cannot be had."))
    replica.backend.scripts["a"].stage_fails = [refusal]

    await replica.step("stage")

    assert "The input f cannot be had." == (await installation.ended(job)).message
    assert {"a": "releasing"} == await installation.stages()


async def test_a_job_whose_package_is_missing_fails_and_says_so(installation: Installation, replica: Replica) -> None:
    job = await installation.accept("a")
    await installation.artifacts.remove("packages/")

    await replica.step("stage")

    assert "The package of the process is missing from the object store." == (await installation.ended(job)).message


async def test_a_run_that_is_gone_is_lost_and_says_so(installation: Installation, replica: Replica) -> None:
    job = await installation.accept("a")
    for name in TO_RUN:
        await replica.step(name)
    replica.backend.started.clear()

    await replica.step("look")
    await replica.step("publish")

    failure = (await installation.ended(job)).failure
    assert failure is not None
    assert "BACKEND_LOST_JOB" == failure["reason"]


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"short": "Landsat 9\ud83d"}, "Output short cannot be kept: it has half of a character"),
        ({"deep": {"list": [1, {"x\udcff": 1}]}}, "Output deep cannot be kept: /list/1 has a member whose name"),
        ({"number": 2**63 * 3 + 1}, "Output number cannot be kept: it is an integer of more than 64 bits"),
        ({"nan": [float("nan")]}, "Output nan cannot be kept: /0 is nan"),
        ({"inf": float("-inf")}, "Output inf cannot be kept: it is -inf"),
        ({"name\ud800": 1}, "cannot be kept: it has a member whose name has half of a character"),
    ],
)
async def test_an_output_that_cannot_be_kept_fails_its_job_at_once(
    installation: Installation, replica: Replica, outputs: dict[str, Any], said: str
) -> None:
    job = await installation.accept("a")
    replica.backend.scripts["a"].outputs = outputs

    for name in TO_END:
        await replica.step(name)

    ended = await installation.ended(job)
    assert ended.failure is not None
    assert ("failed", "OUTPUT_REFUSED") == (ended.state, ended.failure["reason"])
    assert said in ended.failure["message"]
    assert {} == await installation.stages()


async def test_words_of_a_failure_that_cannot_be_kept_are_shown_as_far_as_they_can(
    installation: Installation, replica: Replica
) -> None:
    job = await installation.accept("a")
    replica.backend.scripts["a"].states = [RunState.failed]
    replica.backend.scripts["a"].failure = Failure(
        reason=FailureReason.STEP_FAILED,
        message="bad \0 and \ud800" + "x" * 10_000,
        step="s\0\udcff",
        exit_code=1 << 40,
        log_tail=("a\0b\ud800", *("l" * 5_000 for _ in range(50))),
    )
    replica.backend.scripts["a"].steps = (step("s\0\udcff", "failed", 1, 1 << 40),)

    for name in TO_END:
        await replica.step(name)

    failure = (await installation.ended(job)).failure
    assert failure is not None
    assert "s\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}" == failure["step"]
    assert "exit_code" not in failure
    assert failure["message"].startswith("bad \N{REPLACEMENT CHARACTER} and \N{REPLACEMENT CHARACTER}x")
    assert {} == await installation.stages()


@pytest.mark.parametrize("error", [TypeError("not serializable"), KeyError("terminated"), RecursionError()])
async def test_a_job_that_cannot_be_looked_at_fails_after_some_attempts(
    installation: Installation, replica: Replica, error: Exception
) -> None:
    job = await installation.accept("a")
    replica.backend.scripts["a"].observe_fails = always(error)
    for name in TO_RUN:
        await replica.step(name)

    for _ in range(FAULTS):
        await replica.step("look")
        await installation.due()

    failure = (await installation.ended(job)).failure
    assert failure is not None
    assert f"failed in {FAULTS} attempts" in failure["message"]
    assert await replica.step("release")
    assert [] == await replica.backend.runs()


@pytest.mark.parametrize(
    "error", [TypeError("poison"), ExceptionGroup("several", [AWAY, ValueError("a key that no store takes")])]
)
async def test_a_publication_that_fails_in_the_same_way_ends_and_leaves_nothing(
    installation: Installation, replica: Replica, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    job = await installation.accept("a")
    for name in (*TO_RUN, "look"):
        await replica.step(name)
    await fail_publishing(monkeypatch, error)

    for _ in range(FAULTS):
        assert {"a": "publishing"} == await installation.stages()
        await replica.step("publish")
        await installation.due()

    failure = (await installation.ended(job)).failure
    assert failure is not None
    assert "To store what the job left failed in 5 attempts" in failure["message"]
    removals = await installation.database.fetch("SELECT prefix FROM artifact_removals")
    assert [f"jobs/ada/{job.job_id}/outputs/"] == [row["prefix"] for row in removals]


async def fail_publishing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def publish(*_: object) -> None:
        raise error

    monkeypatch.setattr("services.submission.dispatch.publication.Publisher.publish", publish)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AWAY, "BACKEND_FAILED"),
        (ExceptionGroup("uploads", [AWAY, ExceptionGroup("more", [AWAY])]), "BACKEND_FAILED"),
        (ExceptionGroup("uploads", [FULL]), "STORAGE_FULL"),
    ],
    ids=["away", "several", "full"],
)
async def test_an_outage_is_waited_for_longer_and_not_for_ever(
    installation: Installation, replica: Replica, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    job = await installation.accept("a")
    for name in (*TO_RUN, "look"):
        await replica.step(name)
    await fail_publishing(monkeypatch, error)

    for _ in range(3 * FAULTS):
        await replica.step("publish")
        await installation.due()
    assert {"a": "publishing"} == await installation.stages()

    await installation.due(ago=timedelta(hours=6))
    await replica.step("publish")

    ended = await installation.ended(job)
    assert "The object store" in (ended.message or "")
    assert "during 6 hours" in (ended.message or "")
    assert reason == (ended.failure or {}).get("reason")


async def test_an_outage_that_ends_costs_no_job(
    installation: Installation, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await installation.accept("a")
    for name in (*TO_RUN, "look"):
        await replica.step(name)
    with monkeypatch.context() as away:
        await fail_publishing(away, AWAY)
        await replica.step("publish")
        await installation.due(ago=DAYS)

    await replica.step("publish")

    assert "successful" == (await installation.ended(job)).state


async def test_a_publication_without_end_is_ended(installation: Installation, replica: Replica) -> None:
    job = await installation.accept("a")
    for name in (*TO_RUN, "look"):
        await replica.step(name)
    await installation.database.execute("UPDATE dispatch SET stage_time = now() - interval '1 day'")

    await replica.step("publish")

    assert "The outputs were not stored within 2 hours" in ((await installation.ended(job)).message or "")


async def test_a_run_that_cannot_be_released_is_forgotten_in_the_end(
    installation: Installation, replica: Replica
) -> None:
    await installation.accept("a")
    replica.backend.scripts["a"].dismiss_fails = always(PermissionError("not mine"))
    for name in TO_END[:-1]:
        await replica.step(name)

    for _ in range(FAULTS):
        assert {"a": "releasing"} == await installation.stages()
        await replica.step("release")
        await installation.due()

    assert {} == await installation.stages()


async def test_a_run_that_is_over_holds_no_slot(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    async with installation.replica(slots=1) as replica:
        for message in ("a", "b"):
            await installation.accept(message)
            await replica.step("stage")
        await replica.step("launch")
        assert not await replica.step("launch")

        await replica.step("look")
        await fail_publishing(monkeypatch, AWAY)
        await replica.step("publish")

        assert await replica.step("launch")
        assert {"a": "publishing", "b": "running"} == await installation.stages()


async def test_slots_are_never_exceeded_however_many_launch(installation: Installation) -> None:
    async with installation.replica(slots=3) as one, installation.replica(slots=3) as two:
        # Two processes over the same directory.
        two.backend.staged, two.backend.started = one.backend.staged, one.backend.started
        for number in range(8):
            await installation.accept(str(number), workspace=f"w{number}")
        await asyncio.gather(*(replica.step("stage") for replica in (one, two) * 8))

        await asyncio.gather(*(replica.step("launch") for replica in (one, two) * 8))

        assert 3 == list((await installation.stages()).values()).count("running")


async def test_one_workspace_cannot_take_all_places_for_inputs(installation: Installation) -> None:
    settings = DispatchSettings(stagings=4, stagings_each=2)
    async with installation.replica(settings=settings) as replica:
        for number in range(6):
            await installation.accept(f"slow{number}")
            replica.backend.scripts[f"slow{number}"].arrival = asyncio.Event()
        await installation.accept("quick", workspace="bob")

        for _ in range(6):
            await replica.begin("stage")
            await settle()
        while (await installation.stages())["quick"] != "staged":
            await settle()
        assert await replica.step("launch")

        stages = list((await installation.stages()).values())
        assert (2, 4, 1) == (stages.count("staging"), stages.count("waiting"), stages.count("running"))


async def test_workspaces_take_turns(installation: Installation) -> None:
    async with installation.replica(slots=2) as replica:
        for number in range(20):
            await installation.accept(f"a{number}")
        await installation.accept("b", workspace="bob")

        for _ in range(4):
            await replica.step("stage")
        for _ in range(2):
            await replica.step("launch")

        assert ["a0", "b"] == replica.backend.called("launch")


async def test_a_dismissal_ends_the_fetching_of_inputs_and_removes_them(
    installation: Installation, replica: Replica
) -> None:
    job = await installation.accept("slow")
    replica.backend.scripts["slow"].arrival = asyncio.Event()
    await replica.begin("stage")
    while not replica.backend.staged:
        await settle()

    await installation.jobs.dismiss(job.name)
    await replica.dispatcher.leases.step()
    async with asyncio.timeout(5):
        await replica.dispatcher.workers["", "stage"].rest()

    assert {} == replica.backend.staged
    assert await replica.step("release")
    assert {} == await installation.stages()


async def test_inputs_that_take_too_long_fail_their_job(installation: Installation) -> None:
    async with installation.replica(settings=DispatchSettings(staging_time=timedelta(milliseconds=50))) as replica:
        job = await installation.accept("slow")
        replica.backend.scripts["slow"].arrival = asyncio.Event()

        await replica.step("stage")

        failure = (await installation.ended(job)).failure
        assert failure is not None
        assert "INPUT_UNAVAILABLE" == failure["reason"]
        assert {} == replica.backend.staged


async def test_a_job_removed_in_the_middle_of_anything_is_released(
    installation: Installation, replica: Replica
) -> None:
    for name in ("launch", "look", "publish"):
        job = await installation.accept(name)
        for earlier in TO_END[: TO_END.index(name)]:
            await replica.step(earlier)
        for _ in range(2):
            await installation.jobs.dismiss(job.name)

        await replica.step(name)
        await installation.due()
        await replica.step("release")

        assert 0 == await installation.database.fetchval("SELECT count(*) FROM dispatch"), name
        assert [] == await replica.backend.runs()


async def test_a_launch_whose_record_was_lost_finds_its_run(installation: Installation, replica: Replica) -> None:
    await installation.accept("a")
    await replica.step("stage")
    claim = await installation.queue.claim_launch(replica.lane, slots=1)
    assert claim is not None
    assert claim.handle is not None
    await replica.backend.launch(claim.handle)
    # The process dies here; the slot is held until somebody goes on.
    assert await installation.queue.claim_launch(replica.lane, slots=1) is None
    await installation.due()

    await replica.step("launch")

    assert ["a"] == replica.backend.called("launch")
    assert {"a": "running"} == await installation.stages()


async def test_what_was_prepared_and_is_gone_is_prepared_again(installation: Installation, replica: Replica) -> None:
    job = await installation.accept("a")
    await replica.step("stage")
    replica.backend.staged.clear()

    await replica.step("launch")
    assert {"a": "waiting"} == await installation.stages()
    for name in TO_END:
        await replica.step(name)

    assert "successful" == (await installation.ended(job)).state


async def test_a_preparation_that_nobody_goes_on_with_is_done_again(
    installation: Installation, replica: Replica
) -> None:
    await installation.accept("a")
    claim = await installation.queue.claim_staging(replica.lane, most=1, most_each=1, slots=1)
    assert claim is not None

    await replica.keeper.step()
    assert {"a": "staging"} == await installation.stages()
    await installation.due()
    await replica.keeper.step()

    assert {"a": "waiting"} == await installation.stages()
    assert not await installation.queue.staged(claim, "late")


async def test_what_is_under_way_when_the_service_stops_is_put_back(installation: Installation) -> None:
    async with installation.replica() as replica:
        await installation.accept("slow")
        replica.backend.scripts["slow"].arrival = asyncio.Event()
        await replica.begin("stage")
        while not replica.backend.staged:
            await settle()

    assert {} == replica.backend.staged
    await installation.queue.restage()
    assert {"slow": "waiting"} == await installation.stages()


async def test_built_in_processes_wait_for_nobody(installation: Installation) -> None:
    async with installation.replica(slots=1, settings=DispatchSettings(stagings=1, stagings_each=1)) as replica:
        for message in ("slow", "slower"):
            replica.backend.scripts[message].arrival = asyncio.Event()
            await installation.accept(message)
        await replica.begin("stage")
        job = await installation.accept("hello", process=ECHO)

        for name in ("launch", "look", "publish", "release"):
            assert await replica.step(name, "builtin")

        assert {"message": {"value": "hello"}} == (await installation.ended(job)).results


async def test_a_look_that_takes_long_is_late_for_its_own_job_only(
    installation: Installation, replica: Replica
) -> None:
    for message in ("stuck", "fine"):
        await installation.accept(message)
        for name in TO_RUN:
            await replica.step(name)
    stuck = asyncio.Event()
    observe = replica.backend.observe

    async def slow(handle: str, cursor: str) -> Any:
        if replica.backend.started[handle].inputs["message"] == "stuck":
            await stuck.wait()
        return await observe(handle, cursor)

    replica.backend.observe = slow  # type: ignore[method-assign]
    await replica.begin("look")
    while (await installation.stages())["fine"] == "running":
        await settle()

    await replica.step("publish")

    assert {"stuck": "running", "fine": "releasing"} == await installation.stages()
    stuck.set()


async def test_a_job_waits_while_there_is_no_room_and_what_runs_goes_on(
    installation: Installation, replica: Replica
) -> None:
    running = await installation.accept("runs")
    replica.backend.scripts["runs"].states = [RunState.running, RunState.successful]
    assert [True, True] == [await replica.step(name) for name in ("stage", "launch")]
    await installation.accept("waits")
    installation.has_room = False

    assert [False, False] == [await replica.step(name) for name in ("stage", "launch")]
    assert [True, True, True] == [await replica.step(name) for name in ("look", "look", "publish")]
    assert "successful" == (await installation.ended(running)).state
    assert "waiting" == (await installation.stages())["waits"]

    installation.has_room = True
    assert [True, True] == [await replica.step(name) for name in ("stage", "launch")]
    assert "running" == (await installation.stages())["waits"]
