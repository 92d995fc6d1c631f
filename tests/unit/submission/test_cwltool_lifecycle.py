"""Runs that outlive the service, and what is left of them afterwards: nothing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.submission.backends import Failure, FailureReason, LaunchRefused, Limits, RunState
from services.submission.backends.cwltool import Cwltool
from tests.backend_runs import (
    ECHO,
    execution,
    follow,
    keep_inputs,
    launch,
    package,
    python_tool,
    run,
    shell_tool,
    until,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAITS = package(
    """\
    cwlVersion: v1.2
    class: CommandLineTool
    id: waits
    baseCommand: [sh, -c, 'echo began; i=0; while [ $i -lt 20 ]; do sleep 0.1; i=$((i+1)); done; echo ended']
    inputs: []
    stdout: said.txt
    outputs: {said: stdout}
    """
)


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(runs_dir: Path) -> AsyncIterator[Cwltool]:
    async with Cwltool.open(runs_dir, keep_inputs) as opened:
        yield opened


def processes_of(handle: str) -> list[int]:
    """The processes that have the directory of a run in sight, as this machine sees them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                mounts = (entry / "mountinfo").read_text()
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if f"{handle}/box" in mounts + command or f"/{handle}\0" in command:
                found.append(int(entry.name))
    return found


def groups_of(handle: str) -> list[Path]:
    return list(Path("/sys/fs/cgroup").rglob(f"workflow-runner-{handle}"))


async def started(backend: Cwltool, handle: str) -> None:
    """Waits until the first step of a run has begun."""
    while not (await backend.observe(handle, "")).steps:
        await asyncio.sleep(0.01)


async def test_launching_twice_at_once_starts_once(backend: Cwltool, runs_dir: Path) -> None:
    job = execution(shell_tool("echo once >> ../../../count; sleep 0.2"))

    handles = await asyncio.gather(*(launch(backend, job) for _ in range(8)))
    ended = await follow(backend, handles[0])
    again = await launch(backend, job)

    assert set(handles) == {again}
    assert ended.state is RunState.successful, ended.last
    assert (runs_dir / again / "box" / "count").read_text() == "once\n"


async def test_another_attempt_is_another_run(backend: Cwltool) -> None:
    job = execution(ECHO, {"message": "x"})

    first = await launch(backend, job)
    second = await launch(backend, execution(ECHO, {"message": "x"}, job_id=job.job_id, attempt=2))

    assert first != second


async def test_a_launch_that_died_before_the_start_is_done_again(backend: Cwltool, runs_dir: Path) -> None:
    job = execution(ECHO, {"message": "again"})
    left = runs_dir / f"{job.job_id}-1"
    (left / "box" / "inputs").mkdir(parents=True)
    (left / "box" / "inputs" / "half").write_text("of a file")
    (left / "plan.json").write_text("{")

    before = await backend.observe(left.name, "")
    ended = await follow(backend, await launch(backend, job))

    assert before.state is RunState.lost
    assert ended.text("said") == "again\n"
    assert not (left / "box" / "inputs" / "half").exists()


async def test_a_refused_stage_in_refuses_the_job_and_leaves_nothing(runs_dir: Path) -> None:
    async def refuse(inputs: dict[str, Any], directory: Path) -> dict[str, Any]:
        (directory / "part").write_text("downloaded")
        raise LaunchRefused(Failure(reason=FailureReason.INPUT_UNAVAILABLE, message="There is no such file."))

    async with Cwltool.open(runs_dir / "refusing", refuse, fork_server=False) as backend:
        with pytest.raises(LaunchRefused, match="no such file"):
            await launch(backend, execution(ECHO, {"message": "x"}))

    assert list((runs_dir / "refusing").glob("[!.]*")) == []


async def test_a_stage_in_that_breaks_leaves_nothing_and_may_be_tried_again(runs_dir: Path) -> None:
    failures = [OSError("the disk is full")]

    async def break_once(inputs: dict[str, Any], directory: Path) -> dict[str, Any]:
        if failures:
            raise failures.pop()
        return inputs

    job = execution(ECHO, {"message": "again"})
    async with Cwltool.open(runs_dir / "breaking", break_once, fork_server=False) as backend:
        with pytest.raises(OSError, match="disk is full"):
            await launch(backend, job)
        left = list((runs_dir / "breaking").glob("[!.]*"))
        ended = await follow(backend, await launch(backend, job))

    assert left == []
    assert ended.text("said") == "again\n"


async def test_a_stage_in_that_is_cut_off_leaves_nothing(runs_dir: Path) -> None:
    begun = asyncio.Event()

    async def drip(inputs: dict[str, Any], directory: Path) -> dict[str, Any]:
        (directory / "part").write_text("half")
        begun.set()
        await asyncio.Event().wait()
        return inputs

    async with Cwltool.open(runs_dir / "cut", drip, fork_server=False) as backend:
        staging = asyncio.create_task(backend.stage(execution(ECHO, {"message": "x"})))
        await begun.wait()
        present = len(await backend.runs())
        staging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await staging

        assert (1, []) == (present, await backend.runs())


async def test_what_stage_in_brings_is_there_for_the_job(runs_dir: Path) -> None:
    async def bring(inputs: dict[str, Any], directory: Path) -> dict[str, Any]:
        (directory / "a").mkdir()
        (directory / "a" / "table.csv").write_text("1,2\n")
        return {"file": {"class": "File", "location": (directory / "a" / "table.csv").as_uri()}}

    document = package(
        """\
        cwlVersion: v1.2
        class: CommandLineTool
        baseCommand: cat
        inputs: {file: {type: File, inputBinding: {}}}
        stdout: copy.csv
        outputs: {copy: stdout, same: {type: File, outputBinding: {outputEval: $(inputs.file)}}}
        """
    )
    spoil = shell_tool("echo spoiled > ../../../inputs/a/table.csv")
    async with Cwltool.open(runs_dir / "bringing", bring) as backend:
        ended = await run(backend, document)

        spoiled = await run(backend, spoil)

        assert ended.text("copy") == ended.text("same") == "1,2\n"
        assert spoiled.state is RunState.failed


async def test_a_dismissed_run_leaves_no_process_no_group_and_no_file(backend: Cwltool, runs_dir: Path) -> None:
    stubborn = python_tool(
        """
        import os, signal, time
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.chmod('.', 0)
                open('/tmp/ready', 'w').close()
                while True: time.sleep(1)
            os._exit(0)
        os.wait()
        os.makedirs('/tmp/deep/' + '/'.join('d' * 200 for _ in range(15)))
        while not os.path.exists('/tmp/ready'): time.sleep(0.01)
        print('ready', flush=True)
        time.sleep(600)
        """
    )
    handle = await launch(backend, execution(stubborn))
    cursor, said = "", b""
    while b"ready" not in said:
        seen = await backend.observe(handle, cursor)
        assert seen.state is RunState.running, seen
        cursor, said = seen.cursor, said + b"".join(chunk.data for chunk in seen.logs)
        await asyncio.sleep(0.01)
    assert len(processes_of(handle)) >= 4

    await backend.dismiss(handle)

    assert processes_of(handle) == []
    assert groups_of(handle) == []
    assert not (runs_dir / handle).exists()
    assert not list(runs_dir.glob(".gone-*"))
    assert (await backend.observe(handle, cursor)).state is RunState.lost
    await backend.dismiss(handle)


async def test_a_run_without_its_supervisor_dies_with_it_and_is_lost(backend: Cwltool, runs_dir: Path) -> None:
    handle = await launch(backend, execution(shell_tool("sleep 600")))
    await started(backend, handle)
    supervisor = json.loads((runs_dir / handle / "supervisor.json").read_text())["pid"]

    os.kill(supervisor, signal.SIGKILL)

    await until(lambda: processes_of(handle) == [], "the end of the sandbox")
    seen = await backend.observe(handle, "")
    assert seen.state is RunState.lost
    assert seen.failure is not None
    assert seen.failure.reason is FailureReason.BACKEND_LOST_JOB
    assert [event.state for event in seen.steps] == ["running", "failed"]
    await backend.dismiss(handle)
    assert groups_of(handle) == []


async def test_a_run_ended_by_a_shutdown_is_lost_and_not_dismissed(backend: Cwltool, runs_dir: Path) -> None:
    handle = await launch(backend, execution(shell_tool("sleep 600")))
    await started(backend, handle)

    os.kill(json.loads((runs_dir / handle / "supervisor.json").read_text())["pid"], signal.SIGTERM)
    ended = await follow(backend, handle)

    assert ended.state is RunState.lost
    assert "interrupted" in ended.failure.message
    assert processes_of(handle) == []
    await backend.dismiss(handle)


async def test_a_fork_server_that_dies_is_replaced_and_takes_no_run_with_it(backend: Cwltool) -> None:
    handle = await launch(backend, execution(WAITS))
    await started(backend, handle)
    dead = backend.fork_server_pid
    assert dead is not None

    os.kill(dead, signal.SIGKILL)
    after = await run(backend, ECHO, {"message": "after"})
    ended = await follow(backend, handle)

    assert ended.text("said") == "began\nended\n"
    assert after.text("said") == "after\n"
    assert backend.fork_server_pid not in (None, dead)


async def test_runs_go_on_when_the_backend_is_closed_and_are_found_again(runs_dir: Path) -> None:
    directory = runs_dir / "closed"
    async with Cwltool.open(directory, keep_inputs) as first:
        handle = await launch(first, execution(WAITS))
        server = first.fork_server_pid
    assert server is not None
    assert not Path(f"/proc/{server}").exists()

    async with Cwltool.open(directory, keep_inputs, fork_server=False) as second:
        assert (await second.observe(handle, "")).state is RunState.running
        ended = await follow(second, handle)

    assert ended.text("said") == "began\nended\n"


SERVICE = """
import asyncio, sys
from pathlib import Path
from services.submission.backends.cwltool import Cwltool
from tests.backend_runs import execution, keep_inputs, launch
from test_cwltool_lifecycle import WAITS

async def main():
    async with Cwltool.open(Path(sys.argv[1]), keep_inputs) as backend:
        for handle in await asyncio.gather(*(launch(backend, execution(WAITS)) for _ in range(5))):
            print(handle, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_runs_end_as_they_would_have_when_the_service_is_killed(runs_dir: Path) -> None:
    directory = runs_dir / "killed"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVICE, str(directory), cwd=Path(__file__).parent, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    handles = [(await process.stdout.readline()).decode().strip() for _ in range(5)]
    process.kill()
    await process.wait()

    async with Cwltool.open(directory, keep_inputs, fork_server=False) as backend:
        ended = await asyncio.gather(*(follow(backend, handle) for handle in handles))

        assert [one.text("said") for one in ended] == ["began\nended\n"] * 5
        for one in ended:
            await backend.dismiss(one.handle)
    assert list(directory.glob("[!.]*")) == []


async def test_a_time_limit_holds_while_no_service_runs(runs_dir: Path) -> None:
    from datetime import timedelta

    directory = runs_dir / "unwatched"
    async with Cwltool.open(directory, keep_inputs) as first:
        handle = await launch(first, execution(shell_tool("sleep 600"), limits=Limits(time=timedelta(seconds=1))))

    await until((directory / handle / "verdict.json").exists, "the end of the run")

    assert processes_of(handle) == []


async def test_many_runs_at_once_all_end_well(backend: Cwltool) -> None:
    ended = await asyncio.gather(*(run(backend, ECHO, {"message": str(n)}) for n in range(20)))

    assert [one.text("said") for one in ended] == [f"{n}\n" for n in range(20)]


async def test_a_run_inherits_no_descriptor_of_the_service(backend: Cwltool) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        handle = await launch(backend, execution(shell_tool("sleep 600")))
        await started(backend, handle)
        pipe = os.readlink(f"/proc/self/fd/{write}")

        holders = [
            pid
            for pid in processes_of(handle)
            if pipe in [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        ]

        assert holders == []
    finally:
        os.close(read)
        os.close(write)
    await backend.dismiss(handle)


@pytest.mark.parametrize("handle", ["", "..", "../x-1", "a/b-1", "x-1/..", "nothing", "x" * 300 + "-1", "a-1\n"])
async def test_what_is_no_handle_is_refused(backend: Cwltool, handle: str) -> None:
    with pytest.raises(ValueError, match="not a handle"):
        await backend.observe(handle, "")
    with pytest.raises(ValueError, match="not a handle"):
        await backend.dismiss(handle)


async def test_a_run_goes_on_when_whoever_asked_for_it_dies_before_the_answer(
    backend: Cwltool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(descriptor: int) -> bytes:
        raise asyncio.CancelledError

    order = execution(ECHO, inputs={"message": "hello"})
    with monkeypatch.context() as patched:
        patched.setattr("services.submission.backends.cwltool.forkserver._first_byte", die)
        with pytest.raises(asyncio.CancelledError):
            await launch(backend, order)

    handle = await launch(backend, order)
    seen = await follow(backend, handle)

    assert RunState.successful is seen.state, seen.failure
    await backend.dismiss(handle)


async def test_a_failure_names_no_path_of_this_machine(backend: Cwltool, runs_dir: Path) -> None:
    tool = shell_tool("ln -s /etc/passwd out.txt", outputs="{out: {type: File, outputBinding: {glob: out.txt}}}")

    seen = await run(backend, tool)

    assert seen.failure is not None
    assert str(runs_dir) not in seen.failure.message
