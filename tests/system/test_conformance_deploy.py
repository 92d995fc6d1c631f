"""Deploying, replacing and removing processes over REST: OGC API - Processes Part 2, requirement by requirement."""

import json
from typing import Any

import pytest

from tests.support.doors import Answer, Workspace, problem
from tests.support.listeners import Origin

YAML, CWL, CWL_JSON = "application/cwl+yaml", "application/cwl", "application/cwl+json"
OGC_PACKAGE = "application/ogcapppkg+json"
GRAPH = """\
cwlVersion: v1.2
$namespaces: {s: https://schema.org/}
s:softwareVersion: 1.2.3
$graph:
- class: Workflow
  id: first
  inputs: {}
  outputs: {}
  steps: {}
- class: Workflow
  id: second
  inputs: {}
  outputs: {}
  steps: {}
"""
TOOL: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "id": "tool",
    "baseCommand": ["echo", "hello"],
    "inputs": {"size": "int"},
    "outputs": {"said": {"type": "stdout"}},
}


def put(workspace: Workspace, process: str, body: str, media_type: str | None) -> Answer:
    return workspace.ask(f"/processes/{process}", method="PUT", body=body, media_type=media_type)


def application_package(**process: Any) -> str:
    """The tool as an OGC application package, with what is said of the process beside it."""
    unit = {"value": TOOL, "mediaType": CWL_JSON}
    return json.dumps({"executionUnit": unit, **({"processDescription": {"process": process}} if process else {})})


@pytest.mark.requirement(
    "deploy-replace-undeploy/deploy-post-op",
    "deploy-replace-undeploy/deploy-body",
    "deploy-replace-undeploy/deploy-response-success",
    "deploy-replace-undeploy/deploy-response-body",
    "deploy-replace-undeploy/deploy-response-pid",
    "deploy-replace-undeploy/static-indicator",
    "cwl/body",
    "cwl/deploy-body",
    "cwl/execution-unit",
)
@pytest.mark.parametrize("media_type", [CWL, YAML, CWL_JSON])
def test_cwl_is_deployed(workspace: Workspace, media_type: str) -> None:
    answer = workspace.deploy(json.dumps(TOOL), media_type)

    summary = answer.json
    url = f"http://127.0.0.1:{workspace.port}/workspaces/{workspace.name}/processes/tool"
    assert (201, url) == (answer.status, answer.headers["location"])
    assert ("tool", True, 1) == (summary["id"], summary["mutable"], summary["revision"])
    assert {"version", "jobControlOptions", "outputTransmission"} <= summary.keys()
    assert ["size"] == list(workspace.ask("/processes/tool").json["inputs"])


@pytest.mark.requirement(
    "ogcapppkg/schema", "ogcapppkg/body", "ogcapppkg/deploy-body", "ogcapppkg/process-description", "cwl/execution-unit"
)
def test_an_application_package_is_deployed_with_what_it_says(workspace: Workspace) -> None:
    answer = workspace.deploy(application_package(id="named", title="A title", version="2.0.0"), OGC_PACKAGE)

    described = workspace.ask("/processes/named").json
    assert (201, "named") == (answer.status, answer.json["id"])
    assert ("A title", "2.0.0") == (described["title"], described["version"])


@pytest.mark.requirement("ogcapppkg/schema", "cwl/execution-unit")
def test_an_execution_unit_may_be_somewhere_else(workspace: Workspace, origin: Origin) -> None:
    origin.pages["/unit.cwl"] = (200, {"Content-Type": CWL}, json.dumps(TOOL).encode())
    unit = {"href": f"{origin.url}/unit.cwl", "type": CWL}

    answer = workspace.deploy(json.dumps({"executionUnit": unit}), OGC_PACKAGE)

    assert (201, "tool") == (answer.status, answer.json["id"])


@pytest.mark.requirement("ogcapppkg/schema")
@pytest.mark.parametrize("body", ["{}", '{"executionUnit": []}', '{"executionUnit": {}}', '{"executionUnit": 1}', "[]"])
def test_what_is_no_application_package_is_refused(workspace: Workspace, body: str) -> None:
    document = problem(workspace.deploy(body, OGC_PACKAGE), 400, "INVALID_PACKAGE")

    assert document["errors"]


@pytest.mark.requirement("ogcapppkg/profile-docker")
def test_a_docker_unit_is_known_and_refused(workspace: Workspace) -> None:
    profile = "http://www.opengis.net/profiles/eoc/dockerizedApplication"
    unit = {"type": "docker", "image": "example/image", "deployment": profile}

    document = problem(workspace.deploy(json.dumps({"executionUnit": unit}), OGC_PACKAGE), 400, "INVALID_PACKAGE")

    assert "Wrap the image in a CWL CommandLineTool" in document["detail"]


@pytest.mark.requirement(
    "deploy-replace-undeploy/deploy-content-type",
    "deploy-replace-undeploy/deploy-unsupported-media-type",
    "deploy-replace-undeploy/replace-content-type",
)
@pytest.mark.parametrize("media_type", [None, "text/plain", "application/xml"])
def test_the_media_type_of_a_package_is_stated(workspace: Workspace, media_type: str | None) -> None:
    deployed = workspace.ask("/processes", method="POST", body=json.dumps(TOOL), media_type=media_type)
    replaced = put(workspace, "nothing", json.dumps(TOOL), media_type)

    for answer in (deployed, replaced):
        problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE", ogc="2/1.0/unsupported-media-type")


@pytest.mark.requirement("deploy-replace-undeploy/deploy-response-duplicate")
def test_a_second_process_of_one_id_is_refused(workspace: Workspace) -> None:
    assert workspace.deploy(json.dumps(TOOL), CWL_JSON).status == 201

    answer = workspace.deploy(json.dumps(TOOL), CWL_JSON)

    problem(answer, 409, "DUPLICATED_PROCESS", ogc="2/1.0/duplicated-process")


@pytest.mark.requirement("deploy-replace-undeploy/deploy-response-immutable")
def test_what_is_built_in_cannot_be_changed(workspace: Workspace) -> None:
    answers = [
        workspace.deploy(json.dumps(TOOL | {"id": "echo"}), CWL_JSON),
        put(workspace, "echo", json.dumps(TOOL | {"id": "echo"}), CWL_JSON),
        workspace.ask("/processes/echo", method="DELETE"),
    ]

    for answer in answers:
        problem(answer, 403, "IMMUTABLE_PROCESS", ogc="2/1.0/immutable-process")


@pytest.mark.requirement(
    "deploy-replace-undeploy/replace-put-op",
    "deploy-replace-undeploy/replace-body",
    "deploy-replace-undeploy/replace-response",
    "cwl/replace-body",
    "ogcapppkg/replace-body",
)
@pytest.mark.parametrize("media_type", [CWL_JSON, OGC_PACKAGE])
def test_a_package_is_replaced(workspace: Workspace, media_type: str) -> None:
    assert workspace.deploy(json.dumps(TOOL), CWL_JSON).status == 201
    changed = TOOL | {"inputs": {"name": "string"}}
    body = changed if media_type == CWL_JSON else {"executionUnit": {"value": changed, "mediaType": CWL_JSON}}

    answer = put(workspace, "tool", json.dumps(body), media_type)

    described = workspace.ask("/processes/tool").json
    assert (204, b"") == (answer.status, answer.body)
    assert (2, ["name"]) == (described["revision"], list(described["inputs"]))
    assert ["size"] == list(workspace.ask("/processes/tool?revision=1").json["inputs"])


def test_what_is_not_there_is_neither_replaced_nor_removed(workspace: Workspace) -> None:
    answers = [
        put(workspace, "tool", json.dumps(TOOL), CWL_JSON),
        workspace.ask("/processes/tool", method="DELETE"),
        workspace.ask("/processes/tool/package"),
    ]

    for answer in answers:
        problem(answer, 404, "NO_SUCH_PROCESS", ogc="1/1.0/no-such-process")


@pytest.mark.requirement("deploy-replace-undeploy/undeploy-delete-op", "deploy-replace-undeploy/undeploy-response")
def test_a_process_is_removed(workspace: Workspace) -> None:
    assert workspace.deploy(json.dumps(TOOL), CWL_JSON).status == 201

    answer = workspace.ask("/processes/tool", method="DELETE")

    assert (204, b"", 404) == (answer.status, answer.body, workspace.ask("/processes/tool").status)


@pytest.mark.requirement(
    "deploy-replace-undeploy/package-get-op",
    "deploy-replace-undeploy/package-response-success",
    "deploy-replace-undeploy/package-response-body",
    "cwl/package-response-body",
    "ogcapppkg/package-response-body",
)
@pytest.mark.parametrize("media_type", [YAML, OGC_PACKAGE])
def test_the_package_is_answered_as_it_was_deployed(workspace: Workspace, media_type: str) -> None:
    body = GRAPH if media_type == YAML else application_package(id="first")
    assert workspace.deploy(body, media_type).status == 201

    answer = workspace.ask("/processes/first/package")

    assert 200 == answer.status
    if media_type == YAML:
        assert (YAML, GRAPH.encode()) == (answer.headers["content-type"], answer.body)
    else:
        assert (CWL_JSON, TOOL) == (answer.headers["content-type"], answer.json)


@pytest.mark.requirement("cwl/deploy-w-param")
@pytest.mark.parametrize(("query", "process"), [("", "first"), ("?w=second", "second"), ("?w=first", "first")])
def test_the_workflow_of_a_package_is_chosen(workspace: Workspace, query: str, process: str) -> None:
    answer = workspace.deploy(GRAPH, YAML, query=query)

    assert (201, process, "1.2.3") == (answer.status, answer.json["id"], answer.json["version"])


@pytest.mark.requirement("cwl/deploy-exception-workflow-not-found")
def test_a_workflow_that_is_not_in_the_package_is_an_exception(workspace: Workspace) -> None:
    answer = workspace.deploy(GRAPH, YAML, query="?w=third")

    problem(answer, 400, "WORKFLOW_NOT_FOUND", ogc="2/1.0/workflow-not-found")


def test_a_deployment_is_tried_without_deploying(workspace: Workspace) -> None:
    answer = workspace.deploy(json.dumps(TOOL), CWL_JSON, query="?validate-only=true")

    assert (200, ["size"]) == (answer.status, list(answer.json["inputs"]))
    assert 404 == workspace.ask("/processes/tool").status
