"""One port, two doors: grpcurl finds the services behind it, and both doors tell the same."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.doors import JSON, Workspace
from workflow_runner.v1 import status_service_pb2 as status
from workflow_runner.v1 import submission_service_pb2 as submission

REPOSITORY = Path(__file__).parents[2]
FAILING = REPOSITORY / "examples" / "failing-step" / "package.cwl"
SERVICES = {f"workflow_runner.v1.{name}Service" for name in ("Submission", "Status", "Ingestion")}


def find_grpcurl() -> str | None:
    """The grpcurl of the tools folder, or else of the machine."""
    own = REPOSITORY / ".tools" / "bin" / "grpcurl"
    return str(own) if own.is_file() else shutil.which("grpcurl")


needs_grpcurl = pytest.mark.skipif(
    find_grpcurl() is None, reason="no grpcurl: neither .tools/bin/grpcurl nor `grpcurl` on the PATH"
)


def grpcurl(workspace: Workspace, *arguments: str, request: Any = None) -> subprocess.CompletedProcess[str]:
    """Calls grpcurl at the port of the installation."""
    given = ["-d", json.dumps(request)] if request is not None else []
    return subprocess.run(
        [
            *(find_grpcurl() or "", "-plaintext", "-max-time", "30", "-H", f"authorization: Bearer {workspace.token}"),
            *(*given, f"127.0.0.1:{workspace.port}", *arguments),
        ],
        check=False,
        capture_output=True,
        text=True,
    )


@needs_grpcurl
def test_grpcurl_lists_and_describes_the_services(workspace: Workspace) -> None:
    listed = grpcurl(workspace, "list")
    described = grpcurl(workspace, "describe", "workflow_runner.v1.SubmissionService")

    assert set(listed.stdout.split()) >= {*SERVICES, "grpc.health.v1.Health"}, listed
    assert "rpc ExecuteProcess" in described.stdout, described


@needs_grpcurl
def test_a_job_that_grpcurl_has_accepted_is_the_one_that_rest_shows(workspace: Workspace) -> None:
    name = f"workspaces/{workspace.name}/processes/echo"

    executed = grpcurl(
        workspace,
        "workflow_runner.v1.SubmissionService/ExecuteProcess",
        request={"name": name, "inputs": {"message": "hello"}},
    )
    job = json.loads(executed.stdout)["job"]["jobID"]
    ended = workspace.end_of(job)
    got = grpcurl(
        workspace,
        "workflow_runner.v1.StatusService/GetJob",
        request={"name": f"workspaces/{workspace.name}/jobs/{job}"},
    )

    assert ("successful", "echo", job) == (ended["status"], ended["processID"], ended["id"])
    told = json.loads(got.stdout)
    same = ("jobID", "id", "processID", "status", "created", "started", "finished", "digest", "owner", "progress")
    assert {key: ended[key] for key in same} == {key: told[key] for key in same}


@needs_grpcurl
def test_grpcurl_is_told_the_reason_of_a_refusal(workspace: Workspace) -> None:
    refused = grpcurl(
        workspace,
        "workflow_runner.v1.SubmissionService/ExecuteProcess",
        request={"name": f"workspaces/{workspace.name}/processes/unknown", "inputs": {}},
    )

    assert "Code: NotFound" in refused.stderr
    assert "NO_SUCH_PROCESS" in refused.stderr


def test_a_job_is_the_same_on_both_doors(workspace: Workspace) -> None:
    job = workspace.accept("echo", {"message": "hello"})
    rest = workspace.end_of(job)

    listed = workspace.call("ListJobs", status.ListJobsRequest(parent=f"workspaces/{workspace.name}")).jobs
    message = workspace.call("GetJob", status.GetJobRequest(name=f"workspaces/{workspace.name}/jobs/{job}"))

    assert [job] == [entry.job_id for entry in listed]
    assert [job] == [entry["jobID"] for entry in workspace.ask("/jobs").json["jobs"]]
    assert (rest["jobID"], rest["status"]) == (message.job_id, type(message).State.Name(message.state))
    assert rest["created"] == message.create_time.ToJsonString()


def test_a_failed_job_says_which_step_and_why_on_both_doors(workspace: Workspace) -> None:
    assert workspace.deploy(FAILING.read_bytes()).status == 201

    job = workspace.accept("failing-step", {"exit_code": 3})
    rest = workspace.end_of(job)
    message = workspace.call("GetJob", status.GetJobRequest(name=f"workspaces/{workspace.name}/jobs/{job}"))

    assert "failed" == rest["status"]
    failure = rest["failure"]
    assert ("STEP_FAILED", "calibrate", 3) == (failure["reason"], failure["step"], failure["exitCode"])
    assert ["calibrating B02", "calibrating B03", "calibrating B04"] == failure["logTail"][:3]
    assert "no calibration coefficients for B04" == failure["logTail"][-1]
    assert "calibrate" in rest["message"]
    assert "3" in rest["message"]
    steps = {step["step"]: (step["status"], step.get("exitCode")) for step in rest["steps"]}
    assert {"prepare": ("successful", 0), "calibrate": ("failed", 3)} == {
        step: told for step, told in steps.items() if step != "publish"
    }
    assert ("calibrate", 3, failure["logTail"]) == (
        message.failure.step,
        message.failure.exit_code,
        list(message.failure.log_tail),
    )


def test_a_job_that_one_door_dismisses_is_dismissed_on_the_other(workspace: Workspace) -> None:
    root = f"workspaces/{workspace.name}"
    execution = submission.ExecuteProcessRequest(name=f"{root}/processes/echo")
    execution.inputs.update({"message": "hello", "pause": 60})
    job = workspace.call("ExecuteProcess", execution).job

    dismissed = workspace.ask(f"/jobs/{job.job_id}", method="DELETE")
    seen = workspace.call("GetJob", status.GetJobRequest(name=job.name))

    assert (200, "dismissed") == (dismissed.status, dismissed.json["status"])
    assert "dismissed" == type(seen).State.Name(seen.state)


def test_one_idempotency_key_is_one_job_on_both_doors(workspace: Workspace) -> None:
    execution = submission.ExecuteProcessRequest(
        name=f"workspaces/{workspace.name}/processes/echo", idempotency_key="once"
    )
    execution.inputs.update({"message": "hello"})

    first = workspace.call("ExecuteProcess", execution).job.job_id
    second = workspace.ask(
        "/processes/echo/execution",
        method="POST",
        body='{"inputs": {"message": "hello"}}',
        media_type=JSON,
        headers={"Prefer": "respond-async", "Idempotency-Key": "once"},
    )

    assert (201, first) == (second.status, second.json["jobID"])
    assert 1 == len(workspace.ask("/jobs").json["jobs"])
