"""What is said while a part is away, that nothing is done meanwhile, and that all goes on by itself afterwards."""

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody

from services.standalone.opa import Opa
from tests.policy.opa_server import MISSING, find_opa
from tests.support.doors import Answer, Refusal, Workspace, eventually, problem
from tests.support.listeners import own_address
from tests.system.running import Running, scratch
from tests.system.suite import Suite
from workflow_runner.v1 import status_service_pb2 as status
from workflow_runner.v1 import submission_service_pb2 as submission
from workflow_runner.v1.ingestion_service_pb2 import ListIngestionsRequest

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
id: tool
baseCommand: [echo, hello]
inputs: {}
outputs: {said: {type: stdout}}
"""
NO_JOB = "01900000-0000-7000-8000-000000000000"


def attempts(workspace: Workspace) -> list[tuple[Answer, Refusal]]:
    """The same requests over REST and over gRPC, to each of the services, all at once."""
    root = f"workspaces/{workspace.name}"
    execution = submission.ExecuteProcessRequest(name=f"{root}/processes/echo")
    execution.inputs.update({"message": "hello"})
    package = HttpBody(content_type="application/cwl+yaml", data=TOOL.encode())
    over_rest: list[Callable[[], Answer]] = [
        lambda: workspace.execute("echo", {"message": "hello"}),
        lambda: workspace.deploy(TOOL),
        lambda: workspace.ask(f"/jobs/{NO_JOB}", method="DELETE"),
        lambda: workspace.ask("/jobs"),
        lambda: workspace.ask("/processes/echo"),
        lambda: workspace.ask("/ingestions"),
    ]
    over_grpc = [
        ("ExecuteProcess", execution),
        ("DeployProcess", submission.DeployProcessRequest(parent=root, package=package)),
        ("DismissJob", submission.DismissJobRequest(name=f"{root}/jobs/{NO_JOB}")),
        ("ListJobs", status.ListJobsRequest(parent=root)),
        ("GetProcess", status.GetProcessRequest(name=f"{root}/processes/echo")),
        ("ListIngestions", ListIngestionsRequest(parent=root)),
    ]
    with ThreadPoolExecutor(12) as threads:
        answers = [threads.submit(ask) for ask in over_rest]
        refusals = [threads.submit(workspace.call, method, request) for method, request in over_grpc]
        return [(answer.result(), refusal.result()) for answer, refusal in zip(answers, refusals, strict=True)]


def test_without_the_database_that_is_said_and_nothing_is_done(suite: Suite, workspace: Workspace) -> None:
    with suite.leaves_nothing(workspace), suite.database_away():
        refused = attempts(workspace)

    for answer, refusal in refused:
        assert "Try again" in problem(answer, 503, "DATABASE_UNAVAILABLE")["detail"]
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE") == (refusal.code, refusal.reason)
        assert refusal.retry_seconds


def test_when_the_database_is_back_all_goes_on_by_itself(suite: Suite, workspace: Workspace) -> None:
    submission_before = suite.submission()
    jobs = [workspace.accept("echo", {"message": "hello", "pause": pause}) for pause in (0, 1, 2)]

    with suite.database_away():
        assert 503 == workspace.ask("/jobs").status

    accepted = eventually(lambda: (answer := workspace.execute("echo", {"message": "x"})).status == 201 and answer)
    ends = [workspace.end_of(job)["status"] for job in (*jobs, accepted.json["jobID"])]
    assert ["successful"] * 4 == ends
    assert submission_before == suite.submission()


@dataclass(frozen=True)
class Undecided:
    """An installation whose policy engine is to be elsewhere, where there is none yet."""

    suite: Suite
    engine: str
    """Where it is to be."""


@pytest.fixture(scope="module")
def undecided() -> Iterator[Undecided]:
    engine = f"{own_address()}:8181"
    with scratch() as directory:
        running = Running(directory / "data", options=["--opa", f"http://{engine}"])
        try:
            yield Undecided(Suite(running), engine)
        finally:
            running.stop()


def test_without_the_policy_engine_nothing_is_allowed(undecided: Undecided) -> None:
    owner = undecided.suite.workspace()
    operator = undecided.suite.token("anywhere", role="operator")
    callers = [owner, Workspace(owner.port, owner.name, operator), Workspace(owner.port, owner.name, None)]

    refused = [attempt for caller in callers for attempt in attempts(caller)]

    for answer, refusal in refused:
        problem(answer, 503, "AUTHORIZATION_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) >= 1
        assert (grpc.StatusCode.UNAVAILABLE, "AUTHORIZATION_UNAVAILABLE") == (refusal.code, refusal.reason)
    nothing = undecided.suite.rows(owner.name), undecided.suite.objects(), undecided.suite.runs()
    assert (frozenset(), frozenset(), frozenset()) == nothing


@pytest.mark.skipif(find_opa() is None, reason=MISSING)
def test_when_the_policy_engine_is_back_it_decides_again(undecided: Undecided) -> None:
    owner = undecided.suite.workspace()
    visitor = Workspace(owner.port, owner.name, undecided.suite.token("elsewhere"))

    with opa_at(undecided.engine, undecided.suite.directory.policy_data):
        eventually(lambda: owner.ask("/jobs").status == 200)
        job = owner.accept("echo", {"message": "hello"})
        foreign = visitor.ask("/jobs")

    assert 403 == foreign.status
    problem(
        eventually(lambda: (answer := owner.ask("/jobs")).status != 200 and answer), 503, "AUTHORIZATION_UNAVAILABLE"
    )
    assert [("jobs", job)] == list(undecided.suite.rows(owner.name))


@contextmanager
def opa_at(address: str, overlay: Path) -> Iterator[None]:
    """An OPA server with our policy and the data of an installation."""
    with scratch() as directory:
        opa = Opa(
            program=Path(find_opa() or ""), socket=directory / "socket", bundle=directory / "policy", overlay=overlay
        )
        opa.prepare()
        command = [argument.replace(f"unix://{opa.socket}", address) for argument in opa.command()]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            server.kill()
            server.wait()
