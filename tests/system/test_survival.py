"""Whatever is killed, every job ends as it would have, once, and leaves no run behind."""

import os
import signal
from dataclasses import dataclass

from tests.support.doors import Workspace, eventually
from tests.system.suite import Suite
from tests.system.test_two_doors import FAILING

SLEEP = """\
cwlVersion: v1.2
class: CommandLineTool
id: sleep
requirements: {ShellCommandRequirement: {}}
baseCommand: [sh, -c]
arguments: ['echo begins; sleep $(inputs.seconds); echo ends; exit $(inputs.code)']
inputs: {seconds: float, code: int}
outputs: {said: {type: stdout}}
"""


@dataclass(frozen=True)
class Expected:
    """A job and how it will end."""

    job: str
    status: str
    reason: str | None = None


def ten_jobs(workspace: Workspace) -> list[Expected]:
    """Jobs of every kind that run for some seconds."""
    assert workspace.deploy(SLEEP).status == 201
    assert workspace.deploy(FAILING.read_bytes()).status == 201

    def sleep(seconds: float, code: int = 0) -> str:
        return workspace.accept("sleep", {"seconds": seconds, "code": code})

    def echo(pause: int) -> str:
        return workspace.accept("echo", {"message": "hello", "pause": pause})

    return [
        *(Expected(sleep(seconds), "successful") for seconds in (1, 2, 4, 6)),
        Expected(sleep(3, code=7), "failed", "STEP_FAILED"),
        Expected(workspace.accept("failing-step", {"exit_code": 3}), "failed", "STEP_FAILED"),
        *(Expected(echo(pause), "successful") for pause in (1, 3, 5)),
        Expected(sleep(600), "dismissed"),
    ]


def check(workspace: Workspace, jobs: list[Expected], *, lost: bool = False) -> None:
    """Shows that each of the jobs has ended as it would have and has run once, or says that its run is `lost`."""
    for expected in jobs:
        job = workspace.end_of(expected.job)
        ending = job["status"], job.get("failure", {}).get("reason")
        if lost and ending == ("failed", "BACKEND_LOST_JOB"):
            assert job["message"]
            continue
        assert (expected.status, expected.reason) == ending, job
        assert job["attempt"] <= 1, job
        if expected.status == "successful" and job["processID"] == "sleep":
            assert b"begins\nends\n" == workspace.ask(f"/jobs/{expected.job}/results/said").body
    listed = workspace.ask("/jobs?limit=100").json["jobs"]
    assert {expected.job for expected in jobs} == {entry["jobID"] for entry in listed}


def run_together(workspace: Workspace) -> bool:
    """Whether all ten jobs run."""
    return len(workspace.ask("/jobs?limit=100&status=running").json["jobs"]) == 10


def test_ten_jobs_end_as_they_would_have_when_submission_is_killed(suite: Suite, workspace: Workspace) -> None:
    children = len(suite.children())
    jobs = ten_jobs(workspace)
    eventually(lambda: run_together(workspace))
    killed = suite.submission()

    os.kill(killed, signal.SIGKILL)

    eventually(lambda: workspace.ask(f"/jobs/{jobs[-1].job}", method="DELETE").status == 200)
    check(workspace, jobs)
    assert killed != suite.submission()
    eventually(lambda: suite.runs() == frozenset() and len(suite.children()) == children)


def test_all_jobs_are_accounted_for_when_everything_is_killed(suite: Suite, workspace: Workspace) -> None:
    children = len(suite.children())
    jobs = ten_jobs(workspace)
    eventually(lambda: run_together(workspace))

    dismissed = workspace.ask(f"/jobs/{jobs[-1].job}", method="DELETE")
    suite.running.kill()
    suite.running.start()

    assert 200 == dismissed.status
    check(workspace, jobs, lost=True)
    eventually(lambda: suite.runs() == frozenset() and len(suite.children()) == children)
