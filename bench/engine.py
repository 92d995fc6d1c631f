"""What the engine costs for a job that does nothing: ours, warm and cold, and the whole suite, against bare cwltool."""

import asyncio
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bench.programs import BenchmarkFailed
from bench.starts import ECHO_INPUTS
from bench.suite import JOB_SECONDS, Suite
from services.submission.backends import Execution, Limits, RunState
from services.submission.backends.cwltool import Cwltool

TOOL = b"""\
cwlVersion: v1.2
class: CommandLineTool
id: bench-echo
label: Says what it is told
s:softwareVersion: 1.0.0
baseCommand: echo
inputs:
  message: {type: string, inputBinding: {}}
stdout: said.txt
outputs:
  said: {type: stdout}
$namespaces: {s: https://schema.org/}
"""
PROCESS = "bench-echo"
OBSERVE_SECONDS = 0.005

BARE = "bare cwltool command"
AT_ONCE = 4

Run = Callable[[], Awaitable[float]]
"""One job; gives the seconds from launch to result."""


async def measure_engine(suite: Suite, directory: Path, *, rounds: int) -> dict[str, list[float]]:
    """Runs one job of each variant in turn, round after round; gives the seconds from launch to result."""
    document = directory / "echo.cwl"
    document.write_bytes(TOOL)
    async with AsyncExitStack() as stack:
        cold = await stack.enter_async_context(Cwltool.open(directory / "cold", keep_inputs, fork_server=False))
        warm = await stack.enter_async_context(Cwltool.open(directory / "warm", keep_inputs))
        await deploy(suite)
        # Side by side with the engine's clean-up a job takes longer, so the one that has no engine comes first.
        runs: dict[str, Run] = {
            BARE: lambda: run_command(document, directory / "outputs"),
            "our backend, cold": lambda: run_backend(cold),
            "our backend, warm": lambda: run_backend(warm),
            "suite over REST, built-in echo": lambda: run_suite(suite, "echo"),
            "suite over REST": lambda: run_suite(suite, PROCESS),
            f"suite over REST, each of {AT_ONCE} at once": lambda: run_suite(suite, PROCESS, jobs=AT_ONCE),
        }
        for run in runs.values():
            # The first of each reads files and, behind a fork server, waits until that is warm.
            await run()
        seconds: dict[str, list[float]] = {variant: [] for variant in runs}
        for _ in range(rounds):
            for variant, run in runs.items():
                seconds[variant].append(await run())
    return seconds


async def deploy(suite: Suite) -> None:
    """Deploys the tool, so that the suite can execute it."""
    status, answer = await suite.call("POST", "processes", body=TOOL, headers={"content-type": "application/cwl+yaml"})
    if status != 201:
        raise BenchmarkFailed(f"the tool was not deployed: {status} {answer}")


async def run_command(document: Path, outputs: Path) -> float:
    """What somebody without the suite would type."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cwltool", "--no-container", "--quiet", "--outdir", str(outputs)),
        *(str(document), "--message", "hello"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, complaint = await asyncio.wait_for(process.communicate(), JOB_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise BenchmarkFailed(f"cwltool ended with exit code {process.returncode}: {complaint.decode()[-500:]}")
    return time.perf_counter() - began


async def run_backend(backend: Cwltool) -> float:
    """One job as the dispatcher does it, but observed more often; what is left of it is removed off the clock."""
    began = time.perf_counter()
    staged = await backend.stage(
        Execution(
            job_id=str(uuid.uuid4()),
            attempt=1,
            workspace="bench",
            process_id=PROCESS,
            package=TOOL,
            workflow_id="",
            inputs={"message": "hello"},
            limits=Limits(),
        )
    )
    handle = await backend.launch(staged)
    cursor = ""
    try:
        async with asyncio.timeout(JOB_SECONDS):
            while (seen := await backend.observe(handle, cursor)).state is RunState.running or not seen.drained:
                cursor = seen.cursor
                await asyncio.sleep(OBSERVE_SECONDS)
        if seen.state is not RunState.successful:
            raise BenchmarkFailed(f"a run did not end well: {seen.failure}")
        return time.perf_counter() - began
    finally:
        # Cut short, the run would go on without us.
        await backend.dismiss(handle)


async def run_suite(suite: Suite, process_id: str, *, jobs: int = 1) -> float:
    """Jobs over REST, from the first request to the moment in which their caller sees that all were successful; gives
    the seconds for each."""
    began = time.perf_counter()
    accepted = [await suite.accept(process_id, ECHO_INPUTS) for _ in range(jobs)]
    for job_id in accepted:
        await suite.successful(job_id)
    return (time.perf_counter() - began) / jobs


async def keep_inputs(inputs: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Stands for stage-in: there are no files to bring."""
    return inputs
