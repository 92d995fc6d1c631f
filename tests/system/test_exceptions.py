"""Every exception of the standards that this server can give, with its URI and its status."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from services.ogc.problems import OGC_TYPES
from tests.support.doors import JSON, OGC, YAML, Answer, Workspace

NO_JOB = "01900000-0000-7000-8000-000000000000"
TOOL: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "id": "tool",
    "baseCommand": ["echo", "hello"],
    "inputs": {},
    "outputs": {},
}


def deploy(workspace: Workspace, query: str = "", **changes: Any) -> Answer:
    return workspace.deploy(json.dumps(TOOL | changes), YAML, query=query)


def deploy_twice(workspace: Workspace) -> Answer:
    assert deploy(workspace).status == 201
    return deploy(workspace)


def execute(workspace: Workspace, **request: Any) -> Answer:
    body = json.dumps({"inputs": {"message": "hello"}, **request})
    return workspace.ask("/processes/echo/execution", method="POST", body=body, media_type=JSON)


def results_of_a_running_job(workspace: Workspace) -> Answer:
    job = workspace.accept("echo", {"message": "hello", "pause": 600})
    answer = workspace.ask(f"/jobs/{job}/results")
    workspace.ask(f"/jobs/{job}", method="DELETE")
    return answer


def results_of_a_dismissed_job(workspace: Workspace) -> Answer:
    job = workspace.accept("echo", {"message": "hello", "pause": 600})
    workspace.ask(f"/jobs/{job}", method="DELETE")
    return workspace.ask(f"/jobs/{job}/results")


CASES: dict[str, tuple[int, Callable[[Workspace], Answer]]] = {
    "1/1.0/no-such-process": (404, lambda workspace: workspace.ask("/processes/nothing")),
    "1/1.0/no-such-job": (404, lambda workspace: workspace.ask(f"/jobs/{NO_JOB}")),
    "1/1.0/result-not-ready": (404, results_of_a_running_job),
    "1/1.0/result-not-available": (404, results_of_a_dismissed_job),
    "1/1.0/no-such-output": (400, lambda workspace: execute(workspace, outputs={"nothing": {}})),
    "1/1.0/invalid-query-parameter-value": (400, lambda workspace: workspace.ask("/jobs?status=finished")),
    "2/1.0/duplicated-process": (409, deploy_twice),
    "2/1.0/immutable-process": (403, lambda workspace: deploy(workspace, id="echo")),
    "2/1.0/unsupported-media-type": (415, lambda workspace: workspace.deploy("{}", "text/plain")),
    "2/1.0/workflow-not-found": (400, lambda workspace: deploy(workspace, "?w=other")),
}


@pytest.mark.parametrize("exception", CASES)
def test_an_exception_has_the_uri_and_the_status_of_the_standard(workspace: Workspace, exception: str) -> None:
    status, provoke = CASES[exception]

    answer = provoke(workspace)

    document = answer.json
    assert (status, "application/problem+json") == (answer.status, answer.headers["content-type"])
    assert (f"{OGC}{exception}", status) == (document["type"], document["status"])
    assert document["title"]
    assert document["detail"]
    assert document["instance"].startswith(f"/workspaces/{workspace.name}")


def test_no_exception_is_left_out() -> None:
    assert {f"ogcapi-processes-{exception}" for exception in CASES} == set(OGC_TYPES.values())
