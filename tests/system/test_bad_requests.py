"""Requests that are refused: names, queries, inputs, bodies; with a reason and without a trace."""

import json
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.struct_pb2 import Struct

from tests.support.doors import JSON, Answer, Workspace, problem
from tests.system.suite import Suite
from workflow_runner.v1 import status_service_pb2 as status
from workflow_runner.v1 import submission_service_pb2 as submission
from workflow_runner.v1.ingestion_service_pb2 import ListIngestionsRequest

NO_JOB = "01900000-0000-7000-8000-000000000000"
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
QUERY_PARAMETER = "1/1.0/invalid-query-parameter-value"
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
id: tool
baseCommand: [echo, hello]
inputs: {size: int, name: string?}
outputs: {said: {type: stdout}}
"""


def execute(workspace: Workspace, process: str, body: str, media_type: str | None = JSON) -> Answer:
    return workspace.ask(f"/processes/{process}/execution", method="POST", body=body, media_type=media_type)


def call_execute(workspace: Workspace, process: str, inputs: dict[str, Any], **arguments: Any) -> Any:
    given = Struct()
    given.update(inputs)
    name = f"workspaces/{workspace.name}/processes/{process}"
    return workspace.call("ExecuteProcess", submission.ExecuteProcessRequest(name=name, inputs=given), **arguments)


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("process", ["unknown", "tool.v2", "x" * 63])
def test_an_unknown_process_is_said_to_be_unknown(workspace: Workspace, process: str) -> None:
    name = f"workspaces/{workspace.name}/processes/{process}"
    answers = [
        execute(workspace, process, "{}"),
        workspace.ask(f"/processes/{process}"),
        workspace.ask(f"/processes/{process}/package"),
        workspace.ask(f"/processes/{process}", method="DELETE"),
    ]
    refusals = [
        call_execute(workspace, process, {}),
        workspace.call("GetProcess", status.GetProcessRequest(name=name)),
        workspace.call("GetPackage", status.GetPackageRequest(name=name)),
        workspace.call("UndeployProcess", submission.UndeployProcessRequest(name=name)),
    ]

    for answer in answers:
        assert process in problem(answer, 404, "NO_SUCH_PROCESS", ogc="1/1.0/no-such-process")["detail"]
    for refusal in refusals:
        assert (grpc.StatusCode.NOT_FOUND, "NO_SUCH_PROCESS") == (refusal.code, refusal.reason)


INPUTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "missing": ({}, "/inputs/size", "required"),
    "wrong-type": ({"size": "large"}, "/inputs/size", "Expected a 32-bit integer, got the string large."),
    "fraction": ({"size": 1.5}, "/inputs/size", "Expected a 32-bit integer, got the number 1.5."),
    "too-large": ({"size": 2**31}, "/inputs/size", "Expected a 32-bit integer"),
    "list": ({"size": [1, 2]}, "/inputs/size", "Expected a 32-bit integer, got a list."),
    "unknown": ({"size": 1, "sise": 2}, "/inputs/sise", "It has: size, name."),
    "wrong-optional": ({"size": 1, "name": {"value": 3}}, "/inputs/name/value", "Expected a string"),
}


@pytest.mark.parametrize(("inputs", "pointer", "says"), INPUTS.values(), ids=INPUTS)
def test_inputs_that_do_not_fit_are_refused_at_their_place(
    suite: Suite, workspace: Workspace, inputs: dict[str, Any], pointer: str, says: str
) -> None:
    assert workspace.deploy(TOOL).status == 201

    with suite.leaves_nothing(workspace):
        answer = execute(workspace, "tool", json.dumps({"inputs": inputs}))
        refusal = call_execute(workspace, "tool", inputs)

    document = problem(answer, 400, "INVALID_INPUTS")
    assert [pointer] == [error["pointer"] for error in document["errors"]]
    assert says in document["errors"][0]["detail"]
    assert (INVALID, "INVALID_INPUTS", (pointer,)) == (refusal.code, refusal.reason, refusal.places)


BODIES = {
    "cut": ('{"inputs": {"message": "hel', "(line 1, column"),
    "not-a-number": ('{"inputs": {"message": "hello", "pause": NaN}}', "(line 1, column"),
    "infinity": ('{"inputs": {"message": "hello", "pause": -Infinity}}', "(line 1, column"),
    "twice": ('{"inputs": {}} {"inputs": {}}', "(line 1, column"),
    "no-json": ("inputs: {message: hello}", "(line 1, column"),
    "list": ("[]", "must be a JSON object"),
    "inputs-list": ('{"inputs": []}', "inputs must be an object"),
    "response": ('{"inputs": {"message": "hello"}, "response": "xml"}', "raw or document"),
    "deep": (f'{{"inputs": {{"message": {"[" * 70}{"]" * 70}}}}}', "deeper than 64"),
    "lone-surrogate": ('{"inputs": {"message": "\\ud800"}}', "(line 1, column"),
}


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize(("body", "says"), BODIES.values(), ids=BODIES)
def test_a_request_that_is_no_execute_request_is_refused(workspace: Workspace, body: str, says: str) -> None:
    answer = execute(workspace, "echo", body)
    refusal = workspace.call(
        "ExecuteProcess",
        submission.ExecuteProcessRequest(
            name=f"workspaces/{workspace.name}/processes/echo",
            request=HttpBody(content_type=JSON, data=body.encode()),
        ),
    )

    assert says in problem(answer, 400, "INVALID_EXECUTE_REQUEST")["detail"]
    assert (INVALID, "INVALID_EXECUTE_REQUEST") == (refusal.code, refusal.reason)


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("process", ["echo", "unknown"])
@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", None])
def test_another_content_type_is_refused_before_the_process_is_looked_for(
    workspace: Workspace, process: str, media_type: str | None
) -> None:
    answer = execute(workspace, process, '{"inputs": {"message": "hello"}}', media_type)

    document = problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE", ogc="2/1.0/unsupported-media-type")
    assert "application/json" in document["detail"]
    assert "application/json" in answer.headers["accept-post"]


@pytest.mark.usefixtures("leaves_nothing")
def test_an_output_that_the_process_does_not_have_cannot_be_asked_for(workspace: Workspace) -> None:
    answer = execute(workspace, "echo", '{"inputs": {"message": "hello"}, "outputs": {"echo": {}}}')

    document = problem(answer, 400, "NO_SUCH_OUTPUT", ogc="1/1.0/no-such-output")
    assert "It has: message" in document["detail"]


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize(
    "path",
    [
        "/jobs?name=workspaces/other/jobs",
        "/jobs?parent=workspaces/other",
        "/jobs?workspace=other",
        f"/jobs/{NO_JOB}?name=workspaces/other/jobs/{NO_JOB}",
        f"/jobs/{NO_JOB}/logs/main?step=other",
        "/jobs?unknown=1",
        "/jobs?limit=1&limit=2",
        "/jobs?limit=many",
        "/jobs?limit=",
        "/processes?limit=1.5",
        "/processes?name=workspaces/other/processes/echo",
    ],
)
def test_a_query_parameter_that_there_is_not_is_refused(workspace: Workspace, path: str) -> None:
    ogc = "1/1.0/invalid-query-parameter-value"

    document = problem(workspace.ask(path), 400, "INVALID_QUERY_PARAMETER", ogc=ogc)

    assert "query parameter" in document["detail"]


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("kind", ["jobs", "processes", "ingestions"])
def test_a_limit_below_one_is_refused(workspace: Workspace, kind: str) -> None:
    parent = f"workspaces/{workspace.name}"
    lists = {
        "jobs": ("ListJobs", status.ListJobsRequest),
        "processes": ("ListProcesses", status.ListProcessesRequest),
        "ingestions": ("ListIngestions", ListIngestionsRequest),
    }
    method, request = lists[kind]

    for limit in (0, -1, -(2**31)):
        document = problem(workspace.ask(f"/{kind}?limit={limit}"), 400, "INVALID_QUERY_PARAMETER", ogc=QUERY_PARAMETER)
        refusal = workspace.call(method, request(parent=parent, page_size=limit))

        assert ["/limit"] == [error["pointer"] for error in document["errors"]] == list(refusal.places)
        assert (INVALID, "INVALID_REQUEST") == (refusal.code, refusal.reason)


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("status=finished", "INVALID_QUERY_PARAMETER"),
        ("datetime=yesterday", "INVALID_QUERY_PARAMETER"),
        ("pageToken=bm90aGluZw", "INVALID_PAGE_TOKEN"),
        ("minDuration=-1", "INVALID_QUERY_PARAMETER"),
    ],
)
def test_a_query_parameter_of_a_wrong_value_is_refused(workspace: Workspace, query: str, reason: str) -> None:
    ogc = "1/1.0/invalid-query-parameter-value" if reason == "INVALID_QUERY_PARAMETER" else None

    problem(workspace.ask(f"/jobs?{query}"), 400, reason, ogc=ogc)


TRAVERSING = [
    "../other",
    "..",
    ".",
    "%2e%2e",
    "%2e%2e%2fother",
    "..%2fother",
    "a%2fb",
    "a%5cb",
    "a%00",
    "a%0d%0ab",
    "%2f",
]


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("path", ["/jobs/{}", "/processes/{}/execution", "/jobs/{}/results/out", "/../{}/jobs"])
def test_a_path_that_could_lead_elsewhere_is_refused(workspace: Workspace, path: str) -> None:
    method = "POST" if path.endswith("execution") else "GET"

    answers = [workspace.ask(path.format(segment), method=method, body="{}", media_type=JSON) for segment in TRAVERSING]

    for answer in answers:
        assert "path" in problem(answer, 400, None)["detail"]


NO_NAMES = {
    "long": "x" * 300,
    "dots": "a..b",
    "hyphen": "-a",
    "space": "a b",
    "upper": "A" * 64,
    "unicode": "ａda",
    "bidi": "a\u202eb",
    "percent": "%2e%2e",
    "quote": "' OR 1=1 --",
    "backslash": "..\\a",
    "nul": "a\0b",
    "line": "a\r\nb",
    "nothing": "",
}


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("segment", NO_NAMES.values(), ids=NO_NAMES)
def test_an_id_outside_of_its_grammar_is_refused_over_grpc(workspace: Workspace, segment: str) -> None:
    root = f"workspaces/{workspace.name}"
    refusals = [
        workspace.call("GetJob", status.GetJobRequest(name=f"{root}/jobs/{segment}")),
        workspace.call("DismissJob", submission.DismissJobRequest(name=f"{root}/jobs/{segment}")),
        workspace.call("GetProcess", status.GetProcessRequest(name=f"{root}/processes/{segment}")),
        workspace.call("ExecuteProcess", submission.ExecuteProcessRequest(name=f"{root}/processes/{segment}")),
        workspace.call("ListJobs", status.ListJobsRequest(parent=f"workspaces/{segment}")),
        workspace.call("GetJob", status.GetJobRequest(name=f"workspaces/{segment}/jobs/{NO_JOB}")),
        workspace.call("GetJob", status.GetJobRequest(name=f"{root}/../{segment}/jobs/{NO_JOB}")),
    ]

    job, process = (NOT_FOUND, "NO_SUCH_JOB"), (NOT_FOUND, "NO_SUCH_PROCESS")
    no_name = (INVALID, "INVALID_NAME")
    # A slash makes it a name of another form.
    expected = [job, job, process, process, no_name, no_name, no_name] if "/" not in segment else [no_name] * 7
    assert expected == [(refusal.code, refusal.reason) for refusal in refusals]


JOBS_OF_NOBODY = ("nope", "1", "x" * 300, f"invalid-job-{NO_JOB}", NO_JOB.replace("-", ""), NO_JOB.upper(), "%C3%A9")
PROCESSES_OF_NOBODY = ("echo:1.0", "a%20b", "a..b", "%C3%A9", "%E2%80%AEb", "x" * 300, ".hidden", "Echo")


@pytest.mark.requirement("core/job-exception-no-such-job", "core/job-results-exception/no-such-job")
@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("job", JOBS_OF_NOBODY)
def test_an_id_that_no_job_can_have_is_that_of_no_job(workspace: Workspace, job: str) -> None:
    below = ("", "/results", "/results/out", "/results/out/a/b", "/logs", "/logs/step", "/events", "/callbacks")
    answers = [workspace.ask(f"/jobs/{job}{path}") for path in below]
    answers.append(workspace.ask(f"/jobs/{job}", method="DELETE"))

    for answer in answers:
        problem(answer, 404, "NO_SUCH_JOB", ogc="1/1.0/no-such-job")


@pytest.mark.requirement("core/process-exception/no-such-process")
@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("process", PROCESSES_OF_NOBODY)
def test_an_id_that_no_process_can_have_is_that_of_no_process(workspace: Workspace, process: str) -> None:
    answers = [
        workspace.ask(f"/processes/{process}"),
        workspace.ask(f"/processes/{process}/package"),
        workspace.ask(f"/processes/{process}", method="DELETE"),
        workspace.ask(f"/processes/{process}/execution", method="POST", body="{}", media_type="application/json"),
    ]

    for answer in answers:
        problem(answer, 404, "NO_SUCH_PROCESS", ogc="1/1.0/no-such-process")


@pytest.mark.parametrize("name", ["x" * 300, "Ada", "-ada", "ada_b", "a.b"])
def test_a_workspace_outside_of_its_grammar_is_refused(workspace: Workspace, name: str) -> None:
    answer = workspace.ask(f"/workspaces/{name}/jobs", absolute=True)

    assert "must match" in problem(answer, 400, "INVALID_NAME")["detail"]


@pytest.mark.parametrize("door", ["rest", "grpc"])
def test_a_job_is_dismissed_then_removed_then_unknown(suite: Suite, workspace: Workspace, door: str) -> None:
    before = suite.traces(workspace)
    job = workspace.accept("echo", {"message": "hello", "pause": 60})
    name = f"workspaces/{workspace.name}/jobs/{job}"

    def dismiss() -> Any:
        if door == "rest":
            return workspace.ask(f"/jobs/{job}", method="DELETE")
        return workspace.call("DismissJob", submission.DismissJobRequest(name=name))

    first, second, third = dismiss(), dismiss(), dismiss()

    if door == "rest":
        assert (200, "dismissed", job) == (first.status, first.json["status"], first.json["jobID"])
        assert (200, "dismissed") == (second.status, second.json["status"])
        problem(third, 404, "NO_SUCH_JOB", ogc="1/1.0/no-such-job")
        problem(workspace.ask(f"/jobs/{job}"), 404, "NO_SUCH_JOB", ogc="1/1.0/no-such-job")
    else:
        assert ["dismissed"] * 2 == [type(answer).State.Name(answer.state) for answer in (first, second)]
        assert (grpc.StatusCode.NOT_FOUND, "NO_SUCH_JOB") == (third.code, third.reason)
    suite.nothing_more(workspace, before)
