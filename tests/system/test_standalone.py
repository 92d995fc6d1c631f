"""One command brings everything up, keeps it up, takes it down; and goes on whatever was killed."""

import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest

from services.standalone.accounts import UNOWNED_NUMBERS
from tests.system.running import COMMAND, Running

PROGRAMS = {"services.submission", "services.status", "services.ingestion", "envoy", "postgres"}
ECHO = {"inputs": {"message": "hello"}}


OPA = shutil.which("opa", path=f"{Path(__file__).parents[2] / '.tools' / 'bin'}:{os.environ['PATH']}")
SLEEPER = b"""
cwlVersion: v1.2
class: CommandLineTool
id: sleeper
baseCommand: [sh, -c, "sleep 4; echo awake"]
inputs: {}
outputs: {said: {type: stdout}}
stdout: said.txt
"""

pytestmark = pytest.mark.xdist_group("standalone")


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def accept(running: Running, *, process: str = "echo", inputs: Mapping[str, object]) -> str:
    """Has a job accepted and gives its id."""
    answer = running.call_until(
        201,
        f"/processes/{process}/execution",
        method="POST",
        body={"inputs": inputs},
        headers={"Prefer": "respond-async"},
    )
    job: str = answer.body["jobID"]
    return job


def test_it_is_up_from_an_empty_directory_within_15_seconds(running: Running) -> None:
    answer = running.call("/processes/echo/execution", method="POST", body=ECHO)

    assert answer.status in {200, 201}, answer
    assert running.seconds < 15
    assert set(running.processes()) >= PROGRAMS


def test_nothing_in_the_data_directory_is_open_to_others(running: Running) -> None:
    assert 0o700 == stat.S_IMODE(running.directory.stat().st_mode)


def test_no_token_lies_in_a_file_that_others_may_read(running: Running) -> None:
    signed = re.compile(r"eyJ[\w-]+\.eyJ")
    logs = running.directory / "logs"

    assert not signed.search(running.output)
    assert f"$(workflow-runner token --workspace demo --data-dir {running.directory})" in running.output
    assert {0o600} == {stat.S_IMODE(log.stat().st_mode) for log in logs.iterdir()}
    assert [] == [log.name for log in logs.iterdir() if signed.search(log.read_text(errors="replace"))]


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user runs everything as themselves")
def test_what_needs_nothing_of_root_runs_as_somebody_else(running: Running) -> None:
    users = {name: os.stat(f"/proc/{found[0]}").st_uid for name, found in running.processes().items() if found}

    assert users["envoy"] in UNOWNED_NUMBERS
    assert users["postgres"] in UNOWNED_NUMBERS
    assert users["envoy"] != users["postgres"]


def test_without_a_token_nothing_is_allowed(running: Running) -> None:
    answer = running.call("/jobs", anonymous=True)

    assert 401 == answer.status


def test_a_second_instance_on_the_same_directory_is_refused(running: Running) -> None:
    second = subprocess.run(
        [*COMMAND, "up", "--data-dir", str(running.directory), "--port", "0"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert 2 == second.returncode
    assert f"already up on {running.directory} (process {running.process.pid})" in second.stderr


def test_a_port_that_is_taken_is_refused_with_a_sentence(running: Running, short_path: Path) -> None:
    second = subprocess.run(
        [*COMMAND, "up", "--data-dir", str(short_path / "data"), "--port", str(running.port)],
        check=False,
        capture_output=True,
        text=True,
    )

    assert 2 == second.returncode
    assert f"Port {running.port} on 127.0.0.1 cannot be had (Address already in use)" in second.stderr


def test_a_token_of_the_command_is_taken_while_it_is_up(running: Running) -> None:
    token = subprocess.run(
        [*COMMAND, "token", "--data-dir", str(running.directory), "--workspace", "demo", "--role", "viewer"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()

    listed = running.call("/jobs", headers={"Authorization": f"Bearer {token}"})
    executed = running.call(
        "/processes/echo/execution", method="POST", body=ECHO, headers={"Authorization": f"Bearer {token}"}
    )

    assert (200, 403) == (listed.status, executed.status)


@pytest.mark.parametrize("program", ["services.submission", "services.status", "envoy", "postgres"])
def test_a_part_that_is_killed_comes_back(running: Running, program: str) -> None:
    killed = running.processes()[program][0]

    os.kill(killed, signal.SIGKILL)

    job = accept(running, inputs={"message": "hello"})
    assert "successful" == running.end_of(job)["status"]
    assert killed not in running.processes()[program]


def test_it_goes_on_after_everything_was_killed(running: Running) -> None:
    jobs = [accept(running, inputs={"message": "hello", "pause": pause}) for pause in (0, 2, 2)]
    running.kill()

    running.start()

    assert ["successful"] * 3 == [running.end_of(job)["status"] for job in jobs]
    assert running.seconds < 10


def test_a_run_goes_on_while_everything_else_is_started_again(running: Running) -> None:
    running.call_until(201, "/processes", method="POST", body=SLEEPER, headers={"Content-Type": "application/cwl+yaml"})
    job = accept(running, process="sleeper", inputs={})
    running.job_until({"running"}, job)
    running.process.kill()
    running.process.wait()

    running.start()

    ended = running.end_of(job)
    assert ("successful", 1) == (ended["status"], ended["attempt"])


def test_a_stop_ends_every_process_in_good_order(running: Running) -> None:
    everybody = [process for family in running.processes().values() for process in family]

    code = running.stop()

    assert 0 == code
    assert [] == [process for process in everybody if is_running(process)]
    assert "is killed" not in running.output
    assert not (running.directory / "postgres" / "data" / "postmaster.pid").exists()


@pytest.mark.skipif(OPA is None, reason="there is no opa: `make tools` builds it where Go is")
def test_a_real_opa_decides_and_an_open_workspace_needs_no_token(short_path: Path) -> None:
    running = Running(short_path / "data", options=["--opa", str(OPA), "--open", "try-out"])

    try:
        statuses = [
            running.call(
                "/processes/echo/execution",
                workspace=workspace,
                method="POST",
                body=ECHO,
                anonymous=True,
            ).status
            for workspace in ("demo", "try-out")
        ]

        assert [401, 200] == statuses
        assert "workspace try-out is OPEN" in running.output
        assert "opa" in running.processes()
    finally:
        running.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_plain_user_needs_no_root(short_path: Path) -> None:
    somebody = pwd.getpwnam("nobody")
    short_path.chmod(0o755)
    home = short_path / "home"
    home.mkdir()
    shutil.chown(home, somebody.pw_uid, somebody.pw_gid)
    become = ["setpriv", f"--reuid={somebody.pw_uid}", f"--regid={somebody.pw_gid}", "--clear-groups"]

    running = Running(
        home / "data",
        command=[*become, str(python_for_everybody(short_path)), "-m", "services.standalone"],
        environment={"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
    )

    try:
        assert "successful" == running.end_of(accept(running, inputs={"message": "hello"}))["status"]
        users = {os.stat(f"/proc/{process}").st_uid for family in running.processes().values() for process in family}
        assert {somebody.pw_uid} == users
    finally:
        running.stop()


def python_for_everybody(directory: Path) -> Path:
    """Makes an environment with our packages, of an interpreter that every user may run: ours may lie below /root."""
    version = f"python3.{sys.version_info.minor}"
    for name in (sys.executable, f"/usr/bin/{version}"):
        interpreter = Path(name).resolve()
        if interpreter.exists() and all(parent.stat().st_mode & 0o001 for parent in interpreter.parents):
            break
    else:
        pytest.skip("every Python of this version here is root's own")
    environment = directory / "environment"
    packages = environment / "lib" / version / "site-packages"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(interpreter)
    (environment / "pyvenv.cfg").write_text(f"home = {interpreter.parent}\ninclude-system-site-packages = false\n")
    try:
        shutil.copytree(sysconfig.get_path("purelib"), packages, symlinks=True, copy_function=os.link)
    except shutil.Error:
        pytest.skip("the temporary directory is on another disk than the environment")
    return environment / "bin" / "python"
