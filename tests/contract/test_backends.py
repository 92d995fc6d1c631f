"""What every backend promises, checked on each there is. See services/submission/backends for the promises."""

import asyncio
import urllib.parse
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.submission.backends import (
    Backend,
    Execution,
    Failure,
    FailureReason,
    NotStaged,
    RunState,
    StageIn,
)
from services.submission.backends.cwltool import Cwltool
from tests.backend_runs import ECHO, execution, follow, keep_inputs, launch, shell_tool
from tests.fake_backend import FakeBackend, Script, step

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A backend, and jobs for it that end well, fail in a step, and go on until somebody ends them."""

    open: Callable[[Path, StageIn], AbstractAsyncContextManager[Backend]]
    good: Callable[[], Execution]
    failing: Callable[[], Execution]
    endless: Callable[[], Execution]


def cwltool(*, fork_server: bool) -> Candidate:
    def open_backend(directory: Path, stage_in: StageIn) -> AbstractAsyncContextManager[Backend]:
        return Cwltool.open(directory, stage_in, fork_server=fork_server)

    return Candidate(
        open=open_backend,
        good=lambda: execution(ECHO, {"message": "hello"}),
        failing=lambda: execution(shell_tool("echo the reason; exit 3")),
        endless=lambda: execution(shell_tool("echo begun; sleep 600")),
    )


def fake() -> Candidate:
    """Stands for a backend in tests of the dispatcher, and so has to keep the same promises."""

    @asynccontextmanager
    async def open_backend(directory: Path, stage_in: StageIn) -> AsyncIterator[Backend]:
        # What a process of the service has in common with the others is the directory.
        backend = FAKES.setdefault(directory, FakeBackend(directory / "outputs"))
        (directory / "outputs").mkdir(exist_ok=True)
        said = directory / "outputs" / "said"
        said.write_text("hello")
        ended = (step("echo", "running", 1), step("echo", "failed", 2, 3))
        failure = Failure(
            reason=FailureReason.STEP_FAILED,
            message="Step echo ended with exit code 3.",
            step="echo",
            exit_code=3,
            log_tail=("the reason",),
        )
        backend.scripts["good"].steps = (ended[0], step("echo", "successful", 2, 0))
        backend.scripts["good"].outputs = {"said": {"class": "File", "location": said.as_uri(), "basename": "said"}}
        backend.scripts["failing"] = Script(states=[RunState.failed], steps=ended, failure=failure)
        backend.scripts["endless"] = Script(states=[RunState.running], steps=ended[:1])
        yield backend

    return Candidate(
        open=open_backend,
        good=lambda: execution(ECHO, {"message": "good"}),
        failing=lambda: execution(ECHO, {"message": "failing"}),
        endless=lambda: execution(ECHO, {"message": "endless"}),
    )


FAKES: dict[Path, FakeBackend] = {}
CANDIDATES = {
    "fake": fake(),
    "cwltool": cwltool(fork_server=True),
    "cwltool without a fork server": cwltool(fork_server=False),
}


@pytest.fixture(scope="module", params=CANDIDATES)
def candidate(request: pytest.FixtureRequest) -> Candidate:
    return CANDIDATES[request.param]


@pytest.fixture(scope="module")
def directory(candidate: Candidate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backend")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(candidate: Candidate, directory: Path) -> AsyncIterator[Backend]:
    async with candidate.open(directory, keep_inputs) as opened:
        yield opened


async def begun(backend: Backend, handle: str) -> None:
    while not (await backend.observe(handle, "")).steps:
        await asyncio.sleep(0.01)


async def test_a_good_job_ends_with_outputs_that_lie_in_their_root(backend: Backend, candidate: Candidate) -> None:
    ended = await follow(backend, await launch(backend, candidate.good()))

    assert ended.state is RunState.successful
    assert ended.last.progress == 100
    assert ended.last.failure is None
    assert ended.last.outputs
    root = ended.last.output_root
    assert root is not None
    for value in ended.last.outputs.values():
        for location in locations(value):
            path = Path(urllib.parse.unquote(location.removeprefix("file://")))
            assert root in path.parents
            assert path.exists()
            assert path.resolve() == path


def locations(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["location"]] if value.get("class") in ("File", "Directory") else []
        return own + [one for inner in value.values() for one in locations(inner)]
    return [one for inner in value for one in locations(inner)] if isinstance(value, list) else []


async def test_every_step_that_begins_ends(backend: Backend, candidate: Candidate) -> None:
    for job in (candidate.good(), candidate.failing()):
        ended = await follow(backend, await launch(backend, job))

        began = [event.step for event in ended.steps if event.state == "running"]
        over = [event.step for event in ended.steps if event.state in ("successful", "failed")]
        assert began
        assert sorted(began) == sorted(over)
        assert len(set(began)) == len(began)
        assert [event.time for event in ended.steps] == sorted(event.time for event in ended.steps)


async def test_a_failing_job_says_why(backend: Backend, candidate: Candidate) -> None:
    ended = await follow(backend, await launch(backend, candidate.failing()))

    assert ended.state is RunState.failed
    assert ended.last.outputs is None
    assert ended.failure.reason is FailureReason.STEP_FAILED
    assert ended.failure.step == ended.steps[-1].step
    assert ended.failure.exit_code == ended.steps[-1].exit_code == 3
    assert ended.failure.message.endswith(".")
    assert ended.failure.log_tail == ("the reason",)


async def test_launching_again_finds_the_first(backend: Backend, candidate: Candidate) -> None:
    job = candidate.endless()

    handles = {await launch(backend, job)}
    await begun(backend, next(iter(handles)))
    handles |= set(await asyncio.gather(*(launch(backend, job) for _ in range(3))))

    assert len(handles) == 1
    (handle,) = handles
    assert len([event for event in (await backend.observe(handle, "")).steps if event.state == "running"]) == 1
    await backend.dismiss(handle)


async def test_a_run_is_found_by_another_process_of_the_service(
    backend: Backend, candidate: Candidate, directory: Path
) -> None:
    handle = await launch(backend, candidate.endless())
    await begun(backend, handle)

    async with candidate.open(directory, keep_inputs) as other:
        seen = await other.observe(handle, "")
        assert seen.state is RunState.running
        await other.dismiss(handle)

    assert (await backend.observe(handle, "")).state is RunState.lost


async def test_the_same_cursor_gives_the_same_answer(backend: Backend, candidate: Candidate) -> None:
    handle = await launch(backend, candidate.failing())
    ended = await follow(backend, handle)

    first, second = [await backend.observe(handle, "") for _ in range(2)]

    assert first.steps == second.steps == tuple(ended.steps)
    assert first.logs == second.logs
    assert first.failure == second.failure == ended.failure
    assert (await backend.observe(handle, ended.last.cursor)).steps == ()


async def test_a_dismissed_run_is_gone_and_may_be_dismissed_again(backend: Backend, candidate: Candidate) -> None:
    handle = await launch(backend, candidate.endless())
    await begun(backend, handle)

    await asyncio.gather(*(backend.dismiss(handle) for _ in range(3)))

    assert (await backend.observe(handle, "")).state is RunState.lost
    await backend.dismiss(handle)


async def test_an_ended_run_stays_until_it_is_dismissed(backend: Backend, candidate: Candidate) -> None:
    handle = await launch(backend, candidate.good())
    ended = await follow(backend, handle)

    assert (await backend.observe(handle, ended.last.cursor)).state is RunState.successful
    await backend.dismiss(handle)

    assert (await backend.observe(handle, ended.last.cursor)).state is RunState.lost


async def test_a_run_nobody_started_is_lost(backend: Backend, candidate: Candidate) -> None:
    handle = await launch(backend, candidate.good())
    await follow(backend, handle)
    await backend.dismiss(handle)

    seen = await backend.observe(handle, "")

    assert seen.state is RunState.lost
    assert seen.failure is not None
    assert seen.failure.reason is FailureReason.BACKEND_LOST_JOB
    assert seen.drained


async def test_observing_a_running_job_does_not_wait_for_it(backend: Backend, candidate: Candidate) -> None:
    handle = await launch(backend, candidate.endless())

    seen = await asyncio.wait_for(backend.observe(handle, ""), timeout=5)

    assert seen.state is RunState.running
    assert not seen.drained
    assert seen.progress is None or seen.progress < 100
    await backend.dismiss(handle)


async def test_what_is_prepared_is_found_and_starts_later(backend: Backend, candidate: Candidate) -> None:
    job = candidate.good()
    before = await backend.find(job.job_id, job.attempt)

    staged = [await backend.stage(job) for _ in range(2)]
    found = await backend.find(job.job_id, job.attempt)
    ended = await follow(backend, await backend.launch(staged[0]))

    assert before is None
    assert len({*staged, found}) == 1
    assert ended.state is RunState.successful
    assert job.job_id in [run.job_id for run in await backend.runs()]


async def test_what_is_prepared_can_be_dismissed_and_then_not_be_launched(
    backend: Backend, candidate: Candidate
) -> None:
    job = candidate.good()
    staged = await backend.stage(job)

    await backend.dismiss(staged)

    assert await backend.find(job.job_id, job.attempt) is None
    with pytest.raises(NotStaged):
        await backend.launch(staged)
    assert job.job_id not in [run.job_id for run in await backend.runs()]


async def test_preparing_a_job_that_was_started_finds_it(backend: Backend, candidate: Candidate) -> None:
    job = candidate.endless()
    handle = await launch(backend, job)

    assert await backend.launch(await backend.stage(job)) == handle
    await backend.dismiss(handle)


async def test_a_directory_of_runs_keeps_its_id(backend: Backend, candidate: Candidate, directory: Path) -> None:
    async with candidate.open(directory, keep_inputs) as other:
        assert other.directory == backend.directory
    assert backend.directory
