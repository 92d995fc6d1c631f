"""What every backend promises, checked on each there is. See services/submission/backends for the promises."""

import asyncio
import urllib.parse
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.submission.backends import Backend, Execution, FailureReason, RunState, StageIn
from services.submission.backends.cwltool import Cwltool
from tests.backend_runs import ECHO, execution, follow, keep_inputs, shell_tool

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


CANDIDATES = {"cwltool": cwltool(fork_server=True), "cwltool without a fork server": cwltool(fork_server=False)}


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
    ended = await follow(backend, await backend.launch(candidate.good()))

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
        ended = await follow(backend, await backend.launch(job))

        began = [event.step for event in ended.steps if event.state == "running"]
        over = [event.step for event in ended.steps if event.state in ("successful", "failed")]
        assert began
        assert sorted(began) == sorted(over)
        assert len(set(began)) == len(began)
        assert [event.time for event in ended.steps] == sorted(event.time for event in ended.steps)


async def test_a_failing_job_says_why(backend: Backend, candidate: Candidate) -> None:
    ended = await follow(backend, await backend.launch(candidate.failing()))

    assert ended.state is RunState.failed
    assert ended.last.outputs is None
    assert ended.failure.reason is FailureReason.STEP_FAILED
    assert ended.failure.step == ended.steps[-1].step
    assert ended.failure.exit_code == ended.steps[-1].exit_code == 3
    assert ended.failure.message.endswith(".")
    assert ended.failure.log_tail == ("the reason",)


async def test_launching_again_finds_the_first(backend: Backend, candidate: Candidate) -> None:
    job = candidate.endless()

    handles = {await backend.launch(job)}
    await begun(backend, next(iter(handles)))
    handles |= set(await asyncio.gather(*(backend.launch(job) for _ in range(3))))

    assert len(handles) == 1
    (handle,) = handles
    assert len([event for event in (await backend.observe(handle, "")).steps if event.state == "running"]) == 1
    await backend.dismiss(handle)


async def test_a_run_is_found_by_another_process_of_the_service(
    backend: Backend, candidate: Candidate, directory: Path
) -> None:
    handle = await backend.launch(candidate.endless())
    await begun(backend, handle)

    async with candidate.open(directory, keep_inputs) as other:
        seen = await other.observe(handle, "")
        assert seen.state is RunState.running
        await other.dismiss(handle)

    assert (await backend.observe(handle, "")).state is RunState.lost


async def test_the_same_cursor_gives_the_same_answer(backend: Backend, candidate: Candidate) -> None:
    handle = await backend.launch(candidate.failing())
    ended = await follow(backend, handle)

    first, second = [await backend.observe(handle, "") for _ in range(2)]

    assert first.steps == second.steps == tuple(ended.steps)
    assert first.logs == second.logs
    assert first.failure == second.failure == ended.failure
    assert (await backend.observe(handle, ended.last.cursor)).steps == ()


async def test_a_dismissed_run_is_gone_and_may_be_dismissed_again(backend: Backend, candidate: Candidate) -> None:
    handle = await backend.launch(candidate.endless())
    await begun(backend, handle)

    await asyncio.gather(*(backend.dismiss(handle) for _ in range(3)))

    assert (await backend.observe(handle, "")).state is RunState.lost
    await backend.dismiss(handle)


async def test_an_ended_run_stays_until_it_is_dismissed(backend: Backend, candidate: Candidate) -> None:
    handle = await backend.launch(candidate.good())
    ended = await follow(backend, handle)

    assert (await backend.observe(handle, ended.last.cursor)).state is RunState.successful
    await backend.dismiss(handle)

    assert (await backend.observe(handle, ended.last.cursor)).state is RunState.lost


async def test_a_run_nobody_started_is_lost(backend: Backend, candidate: Candidate) -> None:
    handle = await backend.launch(candidate.good())
    await follow(backend, handle)
    await backend.dismiss(handle)

    seen = await backend.observe(handle, "")

    assert seen.state is RunState.lost
    assert seen.failure is not None
    assert seen.failure.reason is FailureReason.BACKEND_LOST_JOB
    assert seen.drained


async def test_observing_a_running_job_does_not_wait_for_it(backend: Backend, candidate: Candidate) -> None:
    handle = await backend.launch(candidate.endless())

    seen = await asyncio.wait_for(backend.observe(handle, ""), timeout=5)

    assert seen.state is RunState.running
    assert not seen.drained
    assert seen.progress is None or seen.progress < 100
    await backend.dismiss(handle)
