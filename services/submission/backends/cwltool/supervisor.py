"""Watches one run from outside its sandbox: starts it, enforces its limits, kills it when told, and notes how it ended.

There is one such process per run. It depends on nobody: the service and the fork server may end and start as they like.
Its directory, which the sandbox does not show, is how the service finds it again:

    plan.json        what to run, written by the service before the start
    lock             held by whoever prepares the run, then by the supervisor as long as it lives
    supervisor.json  its process id and control groups, written before anything runs
    sandbox.json     the first process inside the sandbox
    dismissed        made by the service before it has the run ended on request
    verdict.json     how the run ended, written when nothing of it is left
    engine.log       what the engine says, for whoever looks after the machine
    written          how many bytes it has written, for the supervisors of the others
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from .cgroups import MIB, Cgroups, Share, find_parents
from .confinement import (
    PROCESSES_OF_THE_ENGINE,
    close_all_but,
    end_with_parent,
    forbid_user_namespaces,
    fork_into,
    status_of,
    synchronize,
)
from .measuring import TICK_SECONDS, Allowance, Meter
from .sandbox import START_SECONDS, Sandbox, StartedSandbox
from .stalling import StallWatch

MEMORY_OF_THE_ENGINE = 192 * MIB
"""What the engine itself needs beside the steps, with room for the files the kernel caches for it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a supervisor needs to know of its run."""

    name: str
    sandbox: Sandbox
    seconds: float
    output_bytes: int
    files: int
    reserve_bytes: int
    """When less than this is free on the disk, the run that has written most is ended."""
    memory_bytes: int
    processes: int
    cores: float

    def write(self, directory: Path) -> None:
        write_whole(directory / "plan.json", asdict(self))

    @classmethod
    def read(cls, directory: Path) -> "Plan":
        fields = json.loads((directory / "plan.json").read_bytes())
        return cls(**{**fields, "sandbox": Sandbox.from_json(fields["sandbox"])})


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a run ended, as seen from outside."""

    exit_code: int | None
    """Of the worker; absent when it was killed from here."""
    timed_out: bool = False
    excess: str | None = None
    """What there was too much of in the box, one of `Excess`."""
    written_bytes: int = 0
    """What the run had written in the end."""
    disk_full: bool = False
    """Whether the disk of the runs was nearly full in the end."""
    stalled: bool = False
    """The engine, or every process, was stopped from inside for so long that it was ended."""
    terminated: bool = False
    """Told to end, by the service or by a machine that shuts down."""
    out_of_memory: int = 0
    """How often the kernel killed a process of the run for want of memory."""
    counts_memory: bool = False
    """Whether the kernel counts that."""
    error: str | None = None
    """Why the sandbox did not start."""

    @classmethod
    def read(cls, directory: Path) -> "Verdict | None":
        """None when there is none yet, or none that says how the run ended."""
        fields = read_record(directory / "verdict.json")
        if fields is None or "exit_code" not in fields:
            return None
        return cls(**{name: value for name, value in fields.items() if name in cls.__dataclass_fields__})


def write_whole(path: Path, content: object) -> None:
    """Writes a JSON file so that a reader sees all of it or none, whatever happens meanwhile."""
    _write_aside(path, content).replace(path)


def _write_aside(path: Path, content: object) -> Path:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with open(descriptor, "w") as file:
        json.dump(content, file)
    return Path(temporary)


def claim(path: Path, content: object) -> bool:
    """Writes a JSON file unless there is one already, and says whether it did; of several, one does."""
    temporary = _write_aside(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def start_time(pid: int) -> int:
    """When a process started, in ticks since the machine did; with the process id it names one process for good.

    Raises ProcessLookupError when there is none, or one that has ended and waits for its parent to notice.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return int(fields[19])


def is_alive(record: Mapping[str, int]) -> bool:
    """Whether the process of a record, which has `pid` and `start_time`, is still there."""
    try:
        return start_time(record["pid"]) == record["start_time"]
    except (ProcessLookupError, KeyError):
        return False


@dataclass(frozen=True, kw_only=True)
class RunningWork:
    """The worker in its sandbox, as a process this one can wait for."""

    sandbox: StartedSandbox
    pid: int
    """A child of this process that ends when the worker does, with its exit status."""
    hold: int | None = None
    """A descriptor that keeps the sandbox alive while it is open."""


StartWork = Callable[[Plan, Cgroups, IO[bytes]], RunningWork]


def start_cold(plan: Plan, cgroups: Cgroups, log: IO[bytes]) -> RunningWork:
    """Runs a fresh Python as the worker."""
    command = [sys.executable, "-I", "-m", f"{__package__}.worker", plan.sandbox.box]
    sandbox = plan.sandbox.start(
        command, stdout=log.fileno(), stderr=log, before=lambda: cgroups.add(os.getpid()), harden=forbid_user_namespaces
    )
    return RunningWork(sandbox=sandbox, pid=sandbox.process.pid)


def start_warm(plan: Plan, cgroups: Cgroups, log: IO[bytes], work: Callable[[str], int]) -> RunningWork:
    """Runs the worker as a child of this process, which has its modules loaded already.

    bubblewrap builds the sandbox around a shell that only waits; the child then joins it.
    """
    hold_read, hold = os.pipe()
    built_read, built = os.pipe()
    try:
        sandbox = plan.sandbox.start(
            ["/bin/sh", "-c", "echo; read _"],
            stdin=hold_read,
            stdout=built,
            stderr=log,
            before=lambda: cgroups.add(os.getpid()),
            harden=forbid_user_namespaces,
        )
    except OSError:
        os.close(hold)
        os.close(built_read)
        raise
    finally:
        os.close(hold_read)
        os.close(built)
    ready, _, _ = select.select([built_read], [], [], START_SECONDS)
    if not ready or os.read(built_read, 1) != b"\n":
        sandbox.kill()
        raise OSError("bubblewrap could not build the sandbox")
    os.close(built_read)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            end_with_parent(parent)
            cgroups.add(os.getpid())
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            close_all_but({0, 1, 2, sandbox.pidfd})
            os.setsid()
            code = fork_into(sandbox.pidfd, lambda: work(plan.sandbox.box))
        finally:
            os._exit(code)
    return RunningWork(sandbox=sandbox, pid=pid, hold=hold)


def supervise(directory: Path, started: int, start: StartWork) -> None:
    """Runs what the plan in the directory says, until it ends; `started` is told, and closed, before anything runs."""
    with (directory / "engine.log").open("ab", buffering=0) as log:
        os.dup2(log.fileno(), 2)
        _supervise(directory, started, start, log)


def _supervise(directory: Path, started: int, start: StartWork, log: IO[bytes]) -> None:
    plan = Plan.read(directory)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    share = Share(
        memory_bytes=plan.memory_bytes + MEMORY_OF_THE_ENGINE,
        processes=plan.processes + PROCESSES_OF_THE_ENGINE,
        cores=plan.cores,
    )
    mounts = Path("/proc/self/mountinfo").read_text()
    cgroups = Cgroups.create(plan.name, share, find_parents(Path("/proc/self/cgroup").read_text(), mounts))
    record = {"pid": os.getpid(), "start_time": start_time(os.getpid()), "groups": list(map(str, cgroups.groups))}
    if not claim(directory / "supervisor.json", record):
        # Somebody took a slow start for none and made another.
        return
    # Whoever asked for the start may be gone; the run is taken over all the same.
    with contextlib.suppress(BrokenPipeError):
        os.write(started, b"1")
    os.close(started)
    box = Path(plan.sandbox.box)
    (box / "shared.json").write_text(json.dumps({"memory": cgroups.limits_memory, "cores": cgroups.limits_cores}))
    (box / "shared.json").chmod(0o644)
    try:
        work = start(plan, cgroups, log)
    except OSError as error:
        verdict = Verdict(exit_code=None, error=str(error))
        full = False
    else:
        first = work.sandbox.first
        with contextlib.suppress(ProcessLookupError):
            write_whole(directory / "sandbox.json", {"pid": first, "start_time": start_time(first)})
        allowed = Allowance(bytes=plan.output_bytes, files=plan.files)
        meter = Meter(directory, allowed, first=first, reserve_bytes=plan.reserve_bytes)
        verdict = _watch(plan, work, wake_read, meter)
        full = meter.is_scarce
        work.sandbox.kill()
        if work.pid != work.sandbox.process.pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(work.pid, 0)
    verdict = replace(
        verdict, out_of_memory=cgroups.count_out_of_memory(), counts_memory=cgroups.limits_memory, disk_full=full
    )
    cgroups.kill()
    cgroups.remove()
    # Who finds a verdict after the machine has crashed must find what it speaks of, too.
    synchronize(directory)
    write_whole(directory / "verdict.json", asdict(verdict))


def _watch(plan: Plan, work: RunningWork, wake: int, meter: Meter) -> Verdict:
    poller = select.poll()
    ended = os.pidfd_open(work.pid)
    poller.register(ended, select.POLLIN)
    poller.register(wake, select.POLLIN)
    deadline = time.monotonic() + plan.seconds
    stall = StallWatch(work.sandbox.first)
    while True:
        ready = dict(poller.poll(1000 * max(0.0, min(deadline - time.monotonic(), TICK_SECONDS))))
        if ended in ready:
            code = _reap(work)
            # What a run wrote in its last moment counts like everything before it.
            work.sandbox.kill()
            return Verdict(exit_code=code, excess=meter.measure(ended=True), written_bytes=meter.written.bytes)
        if wake in ready and signal.SIGTERM in os.read(wake, 64):
            return Verdict(exit_code=None, terminated=True)
        if time.monotonic() >= deadline:
            return Verdict(exit_code=None, timed_out=True)
        if (excess := meter.look()) is not None:
            return Verdict(exit_code=None, excess=excess, written_bytes=meter.written.bytes)
        if stall.look():
            return Verdict(exit_code=None, stalled=True)


def _reap(work: RunningWork) -> int:
    if work.pid == work.sandbox.process.pid:
        code = work.sandbox.process.wait()
        return code if code >= 0 else 128 - code
    return status_of(os.waitpid(work.pid, 0)[1])


def main(arguments: list[str]) -> None:
    """The supervisor as a program of its own: its directory, then the descriptors of the lock and of the start."""
    directory, lock, started = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    os.set_inheritable(lock, False)
    os.set_inheritable(started, False)
    supervise(directory, started, start_cold)


def cold_command(directory: Path, lock: int, started: int) -> list[str]:
    """The command line that `main` answers to."""
    return [sys.executable, "-I", "-m", f"{__package__}.supervisor", os.fspath(directory), str(lock), str(started)]


def clean_environment() -> dict[str, str]:
    """What our own processes are started with: nothing of the service's environment."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


def start_detached(directory: Path, lock: int, started: int) -> "subprocess.Popen[bytes]":
    """Starts a supervisor that depends on nobody; the two descriptors are inherited."""
    return subprocess.Popen(
        cold_command(directory, lock, started),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
        cwd="/",
        pass_fds=(lock, started),
        start_new_session=True,
    )


def read_record(path: Path) -> dict[str, Any] | None:
    """Reads one of the files above; None when it has not been written, or a crash of the machine left it half so."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


if __name__ == "__main__":
    main(sys.argv[1:])
