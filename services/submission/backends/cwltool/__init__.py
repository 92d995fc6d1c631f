"""The embedded backend: cwltool, as a library, in one sandbox per run on this machine.

A run is a directory. It holds everything there is to know, so any process of the service finds the run again, and the
run goes on when every process of the service is gone:

    <runs>/<job id>-<attempt>/
        plan.json lock supervisor.json verdict.json engine.log   ours; see supervisor.py
        box/                                                     all that the sandbox can write
            package.cwl request.json inputs/                     what to do
            events.jsonl logs/                                   what happens, see journal.py
            work/outputs/ result.json                            what came of it
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from services.submission.backends import (
    Execution,
    Failure,
    FailureReason,
    LaunchRefused,
    Observation,
    RunState,
    StageIn,
)

from . import reading
from .cgroups import MIB, Cgroups
from .forkserver import ForkServer
from .sandbox import NOBODY_ID, Identity, Sandbox, SandboxUnavailable, find_bubblewrap
from .supervisor import Plan, read_record, start_detached, start_time

__all__ = ["Cwltool", "SandboxUnavailable"]

HANDLE = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,100}-[0-9]{1,9}")
ASKS_FOR_NETWORK = re.compile(
    rb"""networkAccess["']?\s*:\s*["']?(?:true|True|TRUE|\$)|cwlVersion["']?\s*:\s*["']?(?:cwl:)?v1\.0\b"""
)
"""A package written for CWL 1.0 had network always; a later one says that it needs it."""
THREADS = 16
POLL_SECONDS = 0.02
TERMINATE_SECONDS = 10.0
PREPARE_SECONDS = 600.0

logger = logging.getLogger(__name__)
Found = TypeVar("Found")


class Cwltool:
    """Runs CWL packages on this machine; see Backend for what its methods promise."""

    def __init__(
        self,
        runs_dir: Path,
        stage_in: StageIn,
        *,
        bubblewrap: str,
        identity: Identity,
        fork_server: ForkServer | None,
        threads: ThreadPoolExecutor,
        readable: Sequence[str] = (),
    ) -> None:
        self._runs_dir = runs_dir
        self._stage_in = stage_in
        self._bubblewrap = bubblewrap
        self._identity = identity
        self._fork_server = fork_server
        self._threads = threads
        self._readable = tuple(readable)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, runs_dir: Path, stage_in: StageIn, *, fork_server: bool = True, readable: Sequence[Path] = ()
    ) -> AsyncIterator["Cwltool"]:
        """Checks that this machine can start a sandbox and warms the engine up; runs outlive the context.

        `readable` are directories a job may read beside the system's programs and this Python. Raises
        SandboxUnavailable with a sentence that says what to do.
        """
        runs_dir = runs_dir.resolve()
        async with AsyncExitStack() as stack:
            threads = stack.enter_context(ThreadPoolExecutor(THREADS, thread_name_prefix="cwltool"))
            loop = asyncio.get_running_loop()
            paths = [str(path.resolve()) for path in readable]
            bubblewrap = find_bubblewrap()
            identity = await loop.run_in_executor(threads, prepare_machine, runs_dir, bubblewrap, paths)
            warm = await stack.enter_async_context(ForkServer.open()) if fork_server else None
            yield cls(
                runs_dir,
                stage_in,
                bubblewrap=bubblewrap,
                identity=identity,
                fork_server=warm,
                threads=threads,
                readable=paths,
            )

    async def launch(self, execution: Execution) -> str:
        handle = f"{execution.job_id}-{execution.attempt}"
        run = self._run(handle)
        lock = await self._lock_for_launch(run)
        if lock is None:
            return handle
        try:
            await self._in_thread(prepare, run)
            try:
                inputs = await self._stage_in(dict(execution.inputs), run / "box" / "inputs")
            except LaunchRefused:
                await self._in_thread(remove, run)
                raise
            await self._in_thread(self._plan(run, execution, inputs).write, run)
            if self._fork_server is None or not await self._fork_server.start(run, lock):
                await self._start_cold(run, lock)
        finally:
            os.close(lock)
        return handle

    async def observe(self, handle: str, cursor: str) -> Observation:
        return await self._in_thread(observe, self._run(handle), reading.Cursor.parse(cursor))

    async def dismiss(self, handle: str) -> None:
        run = self._run(handle)
        asked = 0.0
        waited = 0.0
        while (lock := await self._in_thread(try_lock, run)) is None:
            if not await self._in_thread(run.exists):
                return
            if waited >= asked:
                # First politely; when that does not help the kernel ends the supervisor, and with it the sandbox.
                await self._in_thread(end_supervisor, run, signal.SIGTERM if waited == 0 else signal.SIGKILL)
                asked = waited + TERMINATE_SECONDS
            await asyncio.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
        try:
            await self._in_thread(remove, run)
        finally:
            os.close(lock)

    @property
    def fork_server_pid(self) -> int | None:
        """The process id of the fork server, while there is one."""
        return self._fork_server.pid if self._fork_server is not None else None

    def _run(self, handle: str) -> Path:
        if HANDLE.fullmatch(handle) is None:
            raise ValueError(f"{handle!r} is not a handle of this backend")
        return self._runs_dir / handle

    async def _in_thread(self, function: Callable[..., Found], *arguments: object) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _lock_for_launch(self, run: Path) -> int | None:
        """The lock of a run that has to be started; None when somebody has started it."""
        await self._in_thread(lambda: run.mkdir(mode=0o700, exist_ok=True))
        while True:
            lock = await self._in_thread(try_lock, run)
            if (run / "supervisor.json").exists():
                if lock is not None:
                    os.close(lock)
                return None
            if lock is not None:
                return lock
            await asyncio.sleep(POLL_SECONDS)
            await self._in_thread(lambda: run.mkdir(mode=0o700, exist_ok=True))

    def _plan(self, run: Path, execution: Execution, inputs: dict[str, Any]) -> Plan:
        limits = execution.limits
        box = run / "box"
        (box / "package.cwl").write_bytes(execution.package)
        request = {
            "workflow_id": execution.workflow_id,
            "inputs": inputs,
            "cores": limits.cores,
            "memory_mib": limits.memory_mib,
            "output_bytes": limits.output_mib * MIB,
            "processes": limits.processes,
        }
        (box / "request.json").write_text(json.dumps(request))
        if self._identity == "nobody":
            give_away(box)
        return Plan(
            name=f"workflow-runner-{run.name}",
            sandbox=Sandbox(
                bubblewrap=self._bubblewrap,
                identity=self._identity,
                box=str(box),
                memory_bytes=limits.memory_mib * MIB,
                network=limits.network and ASKS_FOR_NETWORK.search(execution.package) is not None,
                readable=self._readable,
            ),
            seconds=limits.time.total_seconds(),
            output_bytes=limits.output_mib * MIB,
            memory_bytes=limits.memory_mib * MIB,
            processes=limits.processes,
            cores=limits.cores,
        )

    async def _start_cold(self, run: Path, lock: int) -> None:
        process = await self._in_thread(start_and_wait, run, lock)
        # Its end is nobody's business here, but somebody has to take note of it.
        self._threads.submit(process.poll)


def prepare_machine(runs_dir: Path, bubblewrap: str, readable: Sequence[str]) -> Identity:
    """Makes the directory of all runs, cleans up after a crash, and finds out as whom the sandbox can work."""
    runs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in runs_dir.glob(".gone-*"):
        remove_tree(left)
    probe = runs_dir / f".gone-probe-{os.getpid()}"
    errors: list[str] = []
    candidates: tuple[Identity, ...] = ("nobody", "self") if os.getuid() == 0 else ("self",)
    try:
        for identity in candidates:
            box = probe / identity
            box.mkdir(parents=True)
            if identity == "nobody":
                give_away(box)
            error = probe_sandbox(bubblewrap, identity, box, readable)
            if error is None:
                return identity
            logger.warning("the sandbox cannot be used this way", extra={"identity": identity, "error": error})
            errors.append(error)
    finally:
        remove_tree(probe)
    raise SandboxUnavailable(
        f"bubblewrap ({bubblewrap}) cannot start a sandbox: {errors[-1]}. Allow unprivileged user namespaces "
        "(sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces>0, or an AppArmor profile for bwrap), "
        "or in a container add the capability SYS_ADMIN and a seccomp profile that permits unshare."
    )


def probe_sandbox(bubblewrap: str, identity: Identity, box: Path, readable: Sequence[str]) -> str | None:
    """Tries a sandbox with this Python in it, and returns why it does not work."""
    sandbox = Sandbox(
        bubblewrap=bubblewrap, identity=identity, box=str(box), memory_bytes=64 * MIB, network=False, readable=readable
    )
    code = f"from {__name__}.confinement import drop_privileges; drop_privileges(); open('written', 'w').close()"
    read, write = os.pipe()
    try:
        started = sandbox.start([sys.executable, "-I", "-c", code], stderr=write)
    except OSError as error:
        os.close(write)
        said = os.read(read, 2000).decode("utf-8", "replace").strip()
        os.close(read)
        return said.splitlines()[-1] if said else str(error)
    os.close(write)
    with open(read, "rb") as pipe:
        said = pipe.read(4000).decode("utf-8", "replace").strip()
    status = started.process.wait()
    started.kill()
    if status == 0 and (box / "written").exists():
        return None
    return said.splitlines()[-1] if said else f"it ended with exit code {status}"


def try_lock(run: Path) -> int | None:
    """Takes the lock of a run, or returns None when somebody has it or there is no such run."""
    path = run / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it before may have removed the run meanwhile.
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def is_locked(run: Path) -> bool:
    """Whether somebody prepares or supervises the run."""
    lock = try_lock(run)
    if lock is None:
        return run.exists()
    os.close(lock)
    return False


def prepare(run: Path) -> None:
    """Makes an empty box, whatever an earlier attempt to launch left behind."""
    box = run / "box"
    if box.exists():
        remove_tree(box)
    for path in (box, box / "inputs", box / "work"):
        path.mkdir(mode=0o755)


def give_away(directory: Path) -> None:
    """Gives a directory, of which nobody else has had a say yet, to the user the work runs as."""
    for path, _, files in os.walk(directory):
        os.chown(path, NOBODY_ID, NOBODY_ID, follow_symlinks=False)
        for name in files:
            os.chown(os.path.join(path, name), NOBODY_ID, NOBODY_ID, follow_symlinks=False)


def remove_tree(path: Path) -> None:
    """Removes a directory of any depth and with any rights; a system tool does it without recursion."""
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        subprocess.run([*command, "--", os.fspath(path)], stdin=subprocess.DEVNULL, capture_output=True, check=False)


def remove(run: Path) -> None:
    """Removes all of a run that no longer runs; the caller has its lock."""
    record = read_record(run / "supervisor.json") or {}
    groups = Cgroups([Path(group) for group in record.get("groups", [])])
    for _ in range(500):
        groups.kill()
        if groups.remove():
            break
        # The kernel takes a moment to bury what was killed.
        time.sleep(POLL_SECONDS)
    gone = run.with_name(f".gone-{run.name}-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        run.rename(gone)
        remove_tree(gone)


def end_supervisor(run: Path, number: int) -> None:
    """Signals the supervisor of a run, if it is the process it says it is."""
    record = read_record(run / "supervisor.json")
    if record is None:
        return
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        pidfd = os.pidfd_open(record["pid"])
        try:
            if start_time(record["pid"]) == record["start_time"]:
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def start_and_wait(run: Path, lock: int) -> "subprocess.Popen[bytes]":
    """Starts a supervisor as a program of its own and waits until it has taken over; raises OSError when it fails."""
    read, write = os.pipe()
    try:
        process = start_detached(run, lock, write)
    finally:
        os.close(write)
    with open(read, "rb", buffering=0) as pipe:
        if pipe.read(1) != b"1":
            raise OSError("the supervisor of the run did not start")
    return process


def observe(run: Path, cursor: reading.Cursor) -> Observation:
    """Looks at a run; see Backend.observe."""
    verdict = read_record(run / "verdict.json")
    if verdict is None and not is_locked(run):
        verdict = read_record(run / "verdict.json")
        if verdict is None:
            return _lost(cursor)
    box = run / "box"
    piece = reading.read_on(box, cursor, final=verdict is not None)
    state, outputs, failure = RunState.running, None, None
    if verdict is not None:
        state, outputs, failure = conclude(run, verdict, cursor)
        if state is RunState.successful:
            cursor.progress = 100
    return Observation(
        state=state,
        progress=cursor.progress,
        steps=piece.steps,
        logs=piece.logs,
        outputs=outputs,
        output_root=box / "work" / "outputs" if outputs is not None else None,
        failure=failure,
        cursor=str(cursor),
        drained=piece.drained,
    )


def _lost(cursor: reading.Cursor) -> Observation:
    failure = Failure(reason=FailureReason.BACKEND_LOST_JOB, message="Nothing is left of the run of this job.")
    return Observation(
        state=RunState.lost,
        progress=cursor.progress,
        steps=(),
        logs=(),
        outputs=None,
        output_root=None,
        failure=failure,
        cursor=str(cursor),
        drained=True,
    )


def conclude(
    run: Path, verdict: dict[str, Any], cursor: reading.Cursor
) -> tuple[RunState, dict[str, Any] | None, Failure | None]:
    """The end of a run, from what was seen from outside and, after that, from what the worker says."""
    if verdict["dismissed"]:
        return RunState.dismissed, None, None
    box = run / "box"
    try:
        result = reading.read_result(box) or {}
        if verdict["exit_code"] == 0 and "outputs" in result:
            return RunState.successful, reading.check_outputs(result["outputs"], box / "work" / "outputs"), None
    except reading.OutputsRefusedError as error:
        return RunState.failed, None, Failure(reason=FailureReason.OUTPUT_REFUSED, message=str(error))
    failure = explain(Plan.read(run), verdict, reading.failure_from(result.get("failure")), cursor.cut)
    if failure.step is not None:
        failure = with_log(failure, reading.tail(box, failure.step))
    return RunState.failed, None, failure


def explain(plan: Plan, verdict: dict[str, Any], told: Failure | None, cut: str | None) -> Failure:
    """Why a run failed: a limit first, then what the worker says."""
    step = told.step if told is not None and told.step is not None else cut
    subject = f"Step {step}" if step is not None else "The job"
    code = told.exit_code if told is not None else None
    if verdict["timed_out"]:
        message = f"The job was ended after {_duration(plan.seconds)}, the longest it may take."
        return Failure(reason=FailureReason.TIME_LIMIT_EXCEEDED, message=message, step=step)
    if verdict["too_much_output"]:
        message = f"The job was ended since its files take more than the {plan.output_bytes // MIB} MiB it may use."
        return Failure(reason=FailureReason.OUTPUT_LIMIT_EXCEEDED, message=message, step=step)
    if verdict["out_of_memory"] > 0:
        message = f"{subject} needed more than the {plan.memory_bytes // MIB} MiB of memory the job may use."
        return Failure(reason=FailureReason.MEMORY_EXCEEDED, message=message, step=step, exit_code=code)
    if told is not None:
        return told
    if verdict["error"] is not None:
        return Failure(reason=FailureReason.BACKEND_FAILED, message=f"The sandbox did not start: {verdict['error']}.")
    message = f"The engine ended without a result (exit code {verdict['exit_code']})."
    return Failure(reason=FailureReason.BACKEND_FAILED, message=message, step=cut)


def with_log(failure: Failure, lines: tuple[str, ...]) -> Failure:
    """The failure with the last lines of its step, which may tell a limit from an ordinary failure."""
    changed: dict[str, Any] = {"log_tail": lines}
    last = "\n".join(lines[-3:])
    if failure.reason is FailureReason.STEP_FAILED and "MemoryError" in last:
        changed["reason"] = FailureReason.MEMORY_EXCEEDED
        changed["message"] = f"Step {failure.step} ran out of memory (exit code {failure.exit_code})."
    elif failure.reason is FailureReason.STEP_FAILED and (
        failure.exit_code == 128 + signal.SIGXFSZ or "File too large" in last
    ):
        changed["reason"] = FailureReason.OUTPUT_LIMIT_EXCEEDED
        changed["message"] = f"Step {failure.step} wrote a file larger than the output the job may have."
    return Failure(**{**{name: getattr(failure, name) for name in asdict(failure)}, **changed})


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} seconds"
