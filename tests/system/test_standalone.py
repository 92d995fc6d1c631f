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
from typing import Any

import pytest

from services.standalone.accounts import UNOWNED_NUMBERS
from tests.system.running import COMMAND, Running

# Sets its own numbers and view to those of a process, and prints which files it may read.
AS_ANOTHER = """if True:
    import ctypes, os, sys
    process, *paths = sys.argv[1:]
    facts = dict(line.split(":", 1) for line in open(f"/proc/{process}/status"))
    view = os.open(f"/proc/{process}/ns/mnt", os.O_RDONLY)
    assert 0 == ctypes.CDLL(None, use_errno=True).setns(view, 0x20000)
    os.setgroups([int(group) for group in facts["Groups"].split()])
    os.setresgid(*[int(facts["Gid"].split()[0])] * 3)
    os.setresuid(*[int(facts["Uid"].split()[0])] * 3)
    for path in paths:
        if os.access(path, os.R_OK):
            print(path)
"""
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


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user runs everything as themselves")
@pytest.mark.parametrize("service", ["status", "ingestion"])
def test_a_service_that_needs_nothing_of_root_has_nothing_of_it(running: Running, service: str) -> None:
    process = running.processes()[f"services.{service}"][0]
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    facts = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}

    assert {True} == {int(user) in UNOWNED_NUMBERS for user in facts["Uid"] + facts["Gid"] + facts["Groups"]}
    assert {"0" * 16} == {facts[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    assert ["1"] == facts["NoNewPrivs"]


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user runs everything as themselves")
def test_a_service_reads_only_what_is_for_it(running: Running) -> None:
    (running.directory / "artifacts" / "one").write_text("one")
    (running.directory / "artifacts" / "one").chmod(0o640)
    secrets = ["identity/key.pem", "identity", "postgres/passwords.json", "postgres/data/PG_VERSION", "runs", "reserve"]
    secrets += ["logs/submission.log", "logs", "policy.json", "database.json", "lock"]

    assert {"artifacts/one"} == readable(running, "status", [*secrets, "artifacts/one", "harvest", "run/ingestion.jwt"])
    assert {"harvest", "run/ingestion.jwt"} == readable(
        running, "ingestion", [*secrets, "artifacts/one", "artifacts", "harvest", "run/ingestion.jwt"]
    )
    processes = {name: found[0] for name, found in running.processes().items() if found}
    environment = Path(f"/proc/{processes['services.submission']}/environ")
    assert set() == readable(running, "status", [str(environment)])


def readable(running: Running, service: str, names: list[str]) -> set[str]:
    """Tells which of the files a program may open in the place of a service, with its numbers and in its view."""
    process = running.processes()[f"services.{service}"][0]
    paths = [str(running.directory / name) for name in names]
    tried = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER, str(process), *paths], check=True, capture_output=True, text=True
    )
    return {name for name, path in zip(names, paths, strict=True) if path in tried.stdout.splitlines()}


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user runs everything as themselves")
def test_an_installation_that_was_roots_is_taken_over(short_path: Path) -> None:
    running = Running(short_path / "data")
    try:
        deploy: dict[str, Any] = {"method": "POST", "headers": {"Content-Type": "application/cwl"}}
        assert 201 == running.call("/processes", body=SLEEPER, **deploy).status
        job = accept(running, process="sleeper", inputs={})
        assert "successful" == running.end_of(job)["status"]
        assert 0 == running.stop()
        packages = running.directory / "harvest" / "packages"
        packages.mkdir()
        (packages / "other.cwl").write_bytes(SLEEPER.replace(b"id: sleeper", b"id: other"))
        # As services left it that were root.
        for place in ("artifacts", "harvest"):
            for parent, _, files in os.walk(running.directory / place):
                for path, mode in ((parent, 0o700), *((os.path.join(parent, name), 0o600) for name in files)):
                    os.chown(path, 0, 0)
                    os.chmod(path, mode)
        shutil.rmtree(running.directory / "postgres" / "data" / "socket")

        running.start()

        assert "awake" in str(running.call(f"/jobs/{job}/results").body)
        message = {"id": "1", "bucket_name": "packages", "source": "git", "target": "", "added_keys": ["other.cwl"]}
        assert 201 == running.call("/ingestions", method="POST", body=message).status
        assert "other" == running.call_until(200, "/processes/other").body["id"]
    finally:
        running.kill()


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
