"""Executions, results and dismissals over REST: OGC API - Processes 1.0, requirement by requirement."""

import base64
import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest

from tests.support.doors import JSON, Answer, Workspace, eventually, problem
from tests.support.listeners import Origin
from tests.system.suite import Suite

TIFF = "image/tiff; application=geotiff"
RASTER = b"raster\n" * 300_000
"""More than one piece, and less than what one message holds."""
TOOL = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "id": "shapes",
    "baseCommand": ["sh", "-c"],
    "arguments": [
        "yes raster | head -n 300000 > raster.tif;"
        " printf 'a,b\\n1,2\\n' > table.csv; printf '{\"mean\": 1.0}' > report.json"
    ],
    "inputs": {"fails": "string?", "file": "File?"},
    "outputs": {
        "table": {"type": "File", "outputBinding": {"glob": "table.csv"}},
        "raster": {"type": "File", "outputBinding": {"glob": "raster.tif"}},
        "report": {"type": "File", "outputBinding": {"glob": "report.json"}},
        "nothing": {"type": "File?", "outputBinding": {"glob": "nothing"}},
    },
}
FAILING = TOOL | {"id": "failing", "arguments": ["echo no such scene >&2; exit 3"]}


def package(tool: dict[str, Any], *options: str) -> str:
    process = {"id": tool["id"], "version": "1.0.0", "jobControlOptions": options}
    unit = {"value": tool, "mediaType": "application/cwl+json"}
    return json.dumps({"processDescription": {"process": process}, "executionUnit": unit})


@pytest.fixture(scope="module")
def shapes(suite: Suite) -> Workspace:
    """A workspace with processes that can be executed both ways: one that makes files, one that fails."""
    workspace = suite.workspace()
    for tool in (TOOL, FAILING):
        deployed = workspace.deploy(package(tool, "sync-execute", "async-execute"), "application/ogcapppkg+json")
        assert deployed.status == 201, deployed
    assert workspace.deploy(json.dumps(TOOL | {"id": "plain"}), "application/cwl+json").status == 201
    return workspace


def execute(
    workspace: Workspace, process: str, request: dict[str, Any], prefer: str | None = None, **headers: str
) -> Answer:
    return workspace.ask(
        f"/processes/{process}/execution",
        method="POST",
        body=json.dumps(request),
        media_type=JSON,
        headers={**headers, **({"Prefer": prefer} if prefer else {})},
    )


def synchronously(workspace: Workspace, process: str, request: dict[str, Any]) -> Answer:
    """The results in the answer of the execution itself."""
    answer = execute(workspace, process, request)
    assert 'rel="monitor"' in answer.headers["link"]
    return answer


def asynchronously(workspace: Workspace, process: str, request: dict[str, Any]) -> Answer:
    """The results of a job that was not waited for."""
    accepted = execute(workspace, process, request, "respond-async")
    assert accepted.status == 201, accepted
    job = accepted.json["jobID"]
    assert "successful" == workspace.end_of(job)["status"]
    return workspace.ask(f"/jobs/{job}/results")


both = pytest.mark.parametrize("way", [synchronously, asynchronously])


def parts_of(answer: Answer) -> dict[str, tuple[Message, bytes]]:
    """The parts of a multipart answer, and their bytes, by Content-ID."""
    content_type = answer.headers["content-type"]
    assert content_type.startswith("multipart/related; boundary="), content_type
    boundary = content_type.partition("boundary=")[2].partition(";")[0].encode()
    first, *parts, last = answer.body.split(b"--" + boundary)
    assert (b"", b"--\r\n") == (first, last)
    found = {}
    for part in parts:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        message = message_from_bytes(head + b"\r\n\r\n")
        found[message["Content-ID"]] = (message, content.removesuffix(b"\r\n"))
    return found


# Results, by response and transmission ------------------------------------------------------------------------------


@both
@pytest.mark.requirement(
    "core/process-execute-sync-raw-value-one", "core/job-results-async-raw-value-one", "core/job-results-op"
)
@pytest.mark.parametrize(
    ("output", "media_type", "body"), [("table", "text/csv", b"a,b\n1,2\n"), ("raster", TIFF, RASTER)]
)
def test_one_raw_value_is_the_body(shapes: Workspace, way: Any, output: str, media_type: str, body: bytes) -> None:
    answer = way(shapes, "shapes", {"outputs": {output: {"transmissionMode": "value"}}, "response": "raw"})

    assert (200, media_type, body) == (answer.status, answer.headers["content-type"], answer.body)
    assert str(len(body)) == answer.headers["content-length"]


@both
@pytest.mark.requirement("core/process-execute-sync-raw-value-multi", "core/job-results-async-raw-value-multi")
def test_several_raw_values_are_parts(shapes: Workspace, way: Any) -> None:
    parts = parts_of(way(shapes, "shapes", {"outputs": {"table": {}, "raster": {}}}))

    assert ["table", "raster"] == list(parts)
    assert ("text/csv", b"a,b\n1,2\n") == (parts["table"][0]["Content-Type"], parts["table"][1])
    assert (TIFF, RASTER) == (parts["raster"][0]["Content-Type"], parts["raster"][1])


@both
@pytest.mark.requirement("core/process-execute-sync-raw-ref", "core/job-results-async-raw-ref")
@pytest.mark.parametrize("outputs", [["table"], ["table", "raster"]])
def test_raw_references_are_links(shapes: Workspace, way: Any, outputs: list[str]) -> None:
    answer = way(shapes, "shapes", {"outputs": {name: {"transmissionMode": "reference"} for name in outputs}})

    links = [link.partition(">; ")[::2] for link in answer.headers["link"].split(", <")]
    items = [url.removeprefix("<") for url, about in links if about.startswith('rel="item"')]
    assert (204, b"", len(outputs)) == (answer.status, answer.body, len(items))
    assert b"a,b\n1,2\n" == shapes.ask(items[0].partition(str(shapes.port))[2], absolute=True).body


@both
@pytest.mark.requirement("core/process-execute-sync-raw-mixed-multi", "core/job-results-async-raw-mixed-multi")
def test_references_among_raw_values_are_parts_with_a_location(shapes: Workspace, way: Any) -> None:
    request = {"outputs": {"raster": {"transmissionMode": "reference"}, "table": {"transmissionMode": "value"}}}

    parts = parts_of(way(shapes, "shapes", request))

    raster, body = parts["raster"]
    assert (TIFF, b"") == (raster["Content-Type"], body)
    assert RASTER == shapes.ask(raster["Content-Location"].partition(str(shapes.port))[2], absolute=True).body
    assert (None, b"a,b\n1,2\n") == (parts["table"][0]["Content-Location"], parts["table"][1])


@both
@pytest.mark.requirement("core/process-execute-sync-document", "core/job-results-async-document")
def test_a_document_has_every_output(shapes: Workspace, way: Any) -> None:
    outputs: dict[str, Any] = {name: {"transmissionMode": "value"} for name in ("table", "raster", "report")}
    by_value = way(shapes, "shapes", {"response": "document", "outputs": outputs})
    outputs = {name: {"transmissionMode": "reference"} for name in outputs}
    by_reference = way(shapes, "shapes", {"response": "document", "outputs": outputs})

    values, links = by_value.json, by_reference.json
    assert (200, JSON) == (by_value.status, by_value.headers["content-type"])
    assert {"value": "a,b\n1,2\n", "mediaType": "text/csv"} == values["table"]
    assert {"value": {"mean": 1.0}, "mediaType": "application/json"} == values["report"]
    assert (RASTER, "base64") == (base64.b64decode(values["raster"]["value"]), values["raster"]["encoding"])
    assert {"table": "text/csv", "raster": TIFF, "report": JSON} == {name: link["type"] for name, link in links.items()}
    assert all(link["href"].startswith("http://") for link in links.values())


@both
@pytest.mark.requirement("core/process-execute-default-outputs")
@pytest.mark.parametrize("request_", [{}, {"outputs": {}}])
def test_all_outputs_are_answered_when_none_is_named(shapes: Workspace, way: Any, request_: dict[str, Any]) -> None:
    raw = way(shapes, "shapes", request_)
    document = way(shapes, "shapes", {**request_, "response": "document"})

    assert {"table", "raster", "report"} == set(parts_of(raw)) == set(document.json)


@both
def test_an_optional_output_that_was_not_made_is_no_content(shapes: Workspace, way: Any) -> None:
    answer = way(shapes, "shapes", {"outputs": {"nothing": {}}})

    assert (204, b"") == (answer.status, answer.body)


@pytest.mark.requirement("core/job-results-success-sync")
@pytest.mark.parametrize(
    "request_",
    [
        {"outputs": {"table": {}}},
        {"outputs": {"table": {"transmissionMode": "reference"}}},
        {"response": "document"},
        {"response": "document", "outputs": {"report": {"transmissionMode": "value"}}},
    ],
)
def test_the_job_of_a_synchronous_execution_has_the_results_that_were_answered(
    shapes: Workspace, request_: dict[str, Any]
) -> None:
    answered = synchronously(shapes, "shapes", request_)
    monitor = next(link for link in answered.headers["link"].split(", ") if link.endswith('rel="monitor"'))
    job = monitor.partition("/jobs/")[2].partition(">")[0]

    results = shapes.ask(f"/jobs/{job}/results")

    assert (answered.status, answered.body) == (results.status, results.body)
    assert answered.headers.get("content-type") == results.headers.get("content-type")
    assert results.headers.get("link", "") in answered.headers["link"]


# Modes --------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement(
    "core/process-execute-default-execution-mode",
    "core/process-execute-auto-execution-mode",
    "core/process-execute-op",
)
@pytest.mark.parametrize(
    ("process", "prefer", "status", "applied"),
    [
        ("plain", None, 201, None),
        ("plain", "respond-async", 201, "respond-async"),
        ("plain", "wait=20", 201, None),
        ("echo", None, 200, None),
        ("echo", "respond-sync", 200, None),
        ("echo", "respond-async", 201, "respond-async"),
        ("echo", "respond-async;return=representation", 201, "respond-async"),
        ("echo", "wait=20", 200, "wait=20"),
        ("echo", "respond-async, wait=20", 200, "wait=20"),
        ("echo", "wait=x", 200, None),
        ("echo", "wait=99999999999999999999", 200, "wait=30"),
    ],
)
def test_the_mode_is_negotiated(
    shapes: Workspace, process: str, prefer: str | None, status: int, applied: str | None
) -> None:
    inputs = {"message": "hello"} if process == "echo" else {}

    answer = execute(shapes, process, {"inputs": inputs}, prefer)

    assert (status, applied) == (answer.status, answer.headers.get("preference-applied"))


@pytest.mark.requirement("core/process-execute-success-async")
def test_an_asynchronous_execution_is_created_with_its_location(workspace: Workspace) -> None:
    answer = execute(workspace, "echo", {"inputs": {"message": "hello", "pause": 60}}, "respond-async")

    job = answer.json
    assert (201, JSON) == (answer.status, answer.headers["content-type"])
    assert answer.headers["location"].endswith(f"/workspaces/{workspace.name}/jobs/{job['jobID']}")
    assert job["status"] in ("accepted", "running")
    assert ("process", "echo", job["jobID"]) == (job["type"], job["processID"], job["id"])


@pytest.mark.requirement("core/process-execute-auto-execution-mode")
@pytest.mark.parametrize(("prefer", "applied"), [("wait=1", "wait=1"), ("respond-async, wait=1", "respond-async")])
def test_an_execution_that_outlasts_the_wait_is_asynchronous(workspace: Workspace, prefer: str, applied: str) -> None:
    answer = execute(workspace, "echo", {"inputs": {"message": "hello", "pause": 60}}, prefer)

    assert (201, applied) == (answer.status, answer.headers["preference-applied"])
    assert answer.headers["location"].endswith(answer.json["jobID"])


@pytest.mark.requirement("core/process-execute-auto-execution-mode")
def test_results_too_large_for_one_message_are_left_at_the_job(shapes: Workspace) -> None:
    tool = TOOL | {"id": "large", "arguments": ["head -c 7000000 /dev/zero > raster.tif; touch table.csv report.json"]}
    shapes.deploy(package(tool, "sync-execute"), "application/ogcapppkg+json")

    answer = execute(shapes, "large", {"outputs": {"raster": {}}})
    at_the_job = shapes.ask(f"/jobs/{answer.json['jobID']}/results")
    others = execute(shapes, "large", {"outputs": {"table": {}}})

    assert (201, "successful") == (answer.status, answer.json["status"])
    assert (200, 7_000_000, "7000000") == (
        at_the_job.status,
        len(at_the_job.body),
        at_the_job.headers["content-length"],
    )
    assert (200, b"") == (others.status, others.body)


def test_a_repeated_request_is_the_same_job_though_its_link_leads_to_something_else(
    workspace: Workspace, origin: Origin
) -> None:
    request = {"inputs": {"message": {"href": f"{origin.url}/changing"}}}
    answers = []
    for text in (b"first", b"second"):
        origin.pages["/changing"] = (200, {"Content-Type": "text/plain"}, text)
        answers.append(execute(workspace, "echo", request, **{"Idempotency-Key": "one"}))

    assert [(200, b"first")] * 2 == [(answer.status, answer.body) for answer in answers]


# Inputs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "output", "expected"),
    [
        pytest.param(
            {"message": {"value": "hello"}},
            "message",
            "hello",
            marks=pytest.mark.requirement("core/process-execute-inputs"),
        ),
        pytest.param(
            {"message": "x", "words": ["one", {"value": "two"}]},
            "words",
            ["one", "two"],
            marks=pytest.mark.requirement("core/process-execute-input-array"),
        ),
        pytest.param(
            {"message": "x", "words": "one"},
            "words",
            ["one"],
            marks=pytest.mark.requirement("core/process-execute-input-array"),
        ),
        pytest.param(
            {"message": "x", "object": {"value": {"a": [1, 9007199254740993, 1.0]}}},
            "object",
            {"value": {"a": [1, 9007199254740993, 1.0]}, "mediaType": "application/json"},
            marks=pytest.mark.requirement("core/process-execute-input-inline-object"),
        ),
        pytest.param(
            {"message": "x", "media": {"value": "aGk=", "mediaType": "text/plain"}},
            "media",
            {"value": "aGk=", "mediaType": "text/plain"},
            marks=pytest.mark.requirement("core/process-execute-input-inline-mixed"),
        ),
        pytest.param(
            {"message": "x", "media": {"value": "AAEC", "encoding": "base64", "mediaType": TIFF}},
            "media",
            {"value": "AAEC", "encoding": "base64", "mediaType": TIFF},
            marks=pytest.mark.requirement("core/process-execute-input-inline-binary"),
        ),
        pytest.param(
            {"message": "x", "bbox": {"bbox": [-1.5, 50, 0, 51]}},
            "bbox",
            {"bbox": [-1.5, 50, 0, 51]},
            marks=pytest.mark.requirement("core/process-execute-input-inline-bbox"),
        ),
        pytest.param(
            {"message": "x", "bbox": {"bbox": [1, 2, 3, 4, 5, 6], "crs": "http://www.opengis.net/def/crs/EPSG/0/4326"}},
            "bbox",
            {"bbox": [1, 2, 3, 4, 5, 6], "crs": "http://www.opengis.net/def/crs/EPSG/0/4326"},
            marks=pytest.mark.requirement("core/process-execute-input-inline-bbox"),
        ),
    ],
)
@pytest.mark.requirement("core/test-process", "core/process-execute-request")
def test_inputs_come_in_every_shape(workspace: Workspace, inputs: dict[str, Any], output: str, expected: Any) -> None:
    answer = execute(workspace, "echo", {"inputs": inputs, "outputs": {output: {}}, "response": "document"})

    assert (200, {output: expected}) == (answer.status, answer.json)


@pytest.mark.requirement("core/process-execute-input-inline-binary")
def test_binary_comes_back_as_its_bytes(workspace: Workspace) -> None:
    media = {"value": "AAEC", "encoding": "base64", "mediaType": TIFF}

    answer = execute(workspace, "echo", {"inputs": {"message": "x", "media": media}, "outputs": {"media": {}}})

    assert (200, TIFF, b"\0\1\2") == (answer.status, answer.headers["content-type"], answer.body)


@pytest.mark.requirement("core/process-execute-input-validation")
@pytest.mark.parametrize(
    ("inputs", "pointer"),
    [
        ({}, "/inputs/message"),
        ({"message": 1}, "/inputs/message"),
        ({"message": None}, "/inputs/message"),
        ({"message": "x", "numbers": ["a"]}, "/inputs/numbers/0"),
        ({"message": "x", "words": ["w"] * 11}, "/inputs/words"),
        ({"message": "x", "bbox": {"bbox": [1, 2, 3]}}, "/inputs/bbox/bbox"),
        ({"message": "x", "media": {"value": "x", "mediaType": "text/html"}}, "/inputs/media/mediaType"),
        ({"message": "x", "media": {"value": "?", "mediaType": TIFF}}, "/inputs/media/value"),
        ({"message": "x", "more": 1}, "/inputs/more"),
    ],
)
@pytest.mark.usefixtures("leaves_nothing")
def test_inputs_that_do_not_fit_are_refused(workspace: Workspace, inputs: dict[str, Any], pointer: str) -> None:
    document = problem(execute(workspace, "echo", {"inputs": inputs}), 400, "INVALID_INPUTS")

    assert pointer in [error["pointer"] for error in document["errors"]]


@pytest.mark.requirement("core/process-execute-inputs", "core/process-execute-input-validation")
def test_values_by_reference_are_fetched(workspace: Workspace, origin: Origin) -> None:
    origin.pages |= {
        "/text": (200, {"Content-Type": "text/plain; charset=utf-8"}, "grüße".encode()),
        "/numbers": (200, {"Content-Type": "application/json"}, b"[1, 2, 9007199254740993]"),
        "/box": (200, {"Content-Type": "application/octet-stream"}, b'{"bbox": [1, 2, 3, 4]}'),
        "/raster": (200, {"Content-Type": "image/tiff; application=geotiff"}, b"\0\1\2"),
    }
    inputs = {
        "message": {"href": f"{origin.url}/text"},
        "words": ["one", {"href": f"{origin.url}/text", "type": "text/plain", "rel": "item"}],
        "numbers": {"href": f"{origin.url}/numbers"},
        "bbox": {"href": f"{origin.url}/box", "type": "application/json"},
        "media": {"href": f"{origin.url}/raster", "type": TIFF},
    }

    answer = execute(workspace, "echo", {"inputs": inputs, "response": "document"})

    assert {
        "message": "grüße",
        "words": ["one", "grüße"],
        "numbers": [1, 2, 9007199254740993],
        "bbox": {"bbox": [1, 2, 3, 4]},
        "media": {"value": "AAEC", "encoding": "base64", "mediaType": TIFF},
    } == answer.json


@pytest.mark.requirement("core/process-execute-input-validation")
@pytest.mark.parametrize(
    ("name", "page", "reason"),
    [
        ("message", (200, {"Content-Type": "application/json"}, b"5"), "INVALID_INPUTS"),
        ("message", (200, {"Content-Type": "text/plain"}, b"\xff"), "INVALID_INPUTS"),
        ("numbers", (200, {"Content-Type": "application/json"}, b'[1, "b"]'), "INVALID_INPUTS"),
        ("numbers", (200, {"Content-Type": "application/json"}, b"[1,"), "INVALID_INPUTS"),
        ("numbers", (200, {"Content-Type": "text/plain"}, b"1, 2"), "INVALID_INPUTS"),
        ("media", (200, {"Content-Type": "text/html"}, b"<p>"), "INVALID_INPUTS"),
        ("message", (200, {"Content-Type": "text/plain"}, b"x" * (5 << 20)), "FETCH_FAILED"),
        ("message", (404, {}, b""), "FETCH_FAILED"),
    ],
)
@pytest.mark.usefixtures("leaves_nothing")
def test_values_by_reference_are_validated_like_any(
    workspace: Workspace, origin: Origin, name: str, page: Any, reason: str
) -> None:
    origin.pages["/value"] = page
    inputs = {"message": "x", name: {"href": f"{origin.url}/value"}}

    document = problem(execute(workspace, "echo", {"inputs": inputs}), 400, reason)

    assert {f"/inputs/{name}/href"} == {error["pointer"] for error in document["errors"]}


@pytest.mark.requirement("core/process-execute-inputs")
def test_a_file_by_reference_is_fetched_when_the_job_is_launched(shapes: Workspace, origin: Origin) -> None:
    origin.pages["/scene"] = (200, {"Content-Type": "image/tiff"}, b"scene")

    job = shapes.accept("plain", {"file": {"href": f"{origin.url}/scene", "type": "image/tiff"}})

    assert "successful" == shapes.end_of(job)["status"]
    assert "/scene" in origin.asked


# Requests that are refused ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize(
    ("request_", "pointer"),
    [
        ({"inputs": None}, "/inputs"),
        ({"inputs": {"message": "x"}, "response": "xml"}, "/response"),
        ({"inputs": {"message": "x"}, "outputs": ["message"]}, "/outputs"),
        ({"inputs": {"message": "x"}, "outputs": {"message": None}}, "/outputs/message"),
        ({"inputs": {"message": "x"}, "outputs": {"message": {"transmissionMode": "mail"}}}, "/outputs/message"),
        (
            {"inputs": {"message": "x"}, "outputs": {"message": {"format": {"mediaType": "image/png"}}}},
            "/outputs/message/format/mediaType",
        ),
        ({"inputs": {"message": "x"}, "outputs": {"message": {"format": "text"}}}, "/outputs/message/format"),
    ],
)
def test_what_is_no_execute_request_is_refused(workspace: Workspace, request_: Any, pointer: str) -> None:
    document = problem(execute(workspace, "echo", request_), 400, "INVALID_EXECUTE_REQUEST")

    assert [pointer] == [error["pointer"] for error in document["errors"]]


@pytest.mark.usefixtures("leaves_nothing")
def test_an_unknown_output_is_refused(workspace: Workspace) -> None:
    answer = execute(workspace, "echo", {"inputs": {"message": "x"}, "outputs": {"nothing": {}}})

    problem(answer, 400, "NO_SUCH_OUTPUT", ogc="1/1.0/no-such-output")


@pytest.mark.usefixtures("leaves_nothing")
def test_a_request_of_5_mib_is_too_large(workspace: Workspace) -> None:
    answer = execute(workspace, "echo", {"inputs": {"message": "x" * (5 << 20)}})

    assert (413, "application/problem+json") == (answer.status, answer.headers["content-type"])


@pytest.mark.requirement("core/process-exception/no-such-process")
def test_an_unknown_process_cannot_be_executed(workspace: Workspace) -> None:
    answer = execute(workspace, "unknown", {"inputs": {}})

    problem(answer, 404, "NO_SUCH_PROCESS", ogc="1/1.0/no-such-process")


# Results that there are not -----------------------------------------------------------------------------------------


@pytest.mark.requirement("core/job-results-failed")
def test_a_job_that_failed_has_an_error_by_cause_for_results(shapes: Workspace) -> None:
    at_once = execute(shapes, "failing", {})
    job = shapes.accept("failing")
    assert "failed" == shapes.end_of(job)["status"]

    for answer in (at_once, shapes.ask(f"/jobs/{job}/results")):
        assert (422, "application/problem+json") == (answer.status, answer.headers["content-type"])
        assert ("JOB_FAILED", 422) == (answer.json["reason"], answer.json["status"])
        assert "no such scene" in answer.json["detail"]
    assert 'rel="monitor"' in at_once.headers["link"]


@pytest.mark.requirement("core/job-results-exception/results-not-ready")
def test_a_job_that_goes_on_has_no_results_yet(workspace: Workspace) -> None:
    job = workspace.accept("echo", {"message": "hello", "pause": 60})

    problem(workspace.ask(f"/jobs/{job}/results"), 404, "RESULT_NOT_READY", ogc="1/1.0/result-not-ready")


@pytest.mark.requirement("core/job-results-exception/no-such-job")
def test_an_unknown_job_has_no_results(workspace: Workspace) -> None:
    job = "01900000-0000-7000-8000-000000000000"

    problem(workspace.ask(f"/jobs/{job}/results"), 404, "NO_SUCH_JOB", ogc="1/1.0/no-such-job")


# Acceptable representations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/conformance", "/processes", "/processes/echo", "/jobs", "/jobs/{job}"])
@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("*/*", 200),
        ("image/png, application/*;q=0.1", 200),
        ("image/png", 406),
        ("application/xml, application/json;q=0", 406),
    ],
)
def test_resources_are_json(workspace: Workspace, path: str, accept: str, status: int) -> None:
    job = workspace.accept("echo", {"message": "hello"}) if "{job}" in path else ""

    answer = workspace.ask(path.format(job=job), headers={"Accept": accept})

    if status == 406:
        assert "application/json" in problem(answer, 406, "NOT_ACCEPTABLE")["detail"]
    else:
        assert (200, JSON) == (answer.status, answer.headers["content-type"])


def test_results_are_what_the_caller_accepts(shapes: Workspace) -> None:
    job = shapes.accept("plain")
    shapes.end_of(job)

    document = shapes.ask(f"/jobs/{job}/results", headers={"Accept": "application/json"})
    refused = shapes.ask(f"/jobs/{job}/results", headers={"Accept": "image/png"})

    assert (200, {"table", "raster", "report"}) == (document.status, set(document.json))
    assert "multipart/related" in problem(refused, 406, "NOT_ACCEPTABLE")["detail"]


def test_head_and_options_of_results(shapes: Workspace) -> None:
    job = shapes.accept("plain")
    shapes.end_of(job)

    head = shapes.ask(f"/jobs/{job}/results", method="HEAD")
    file = shapes.ask(f"/jobs/{job}/results/raster", method="HEAD")
    options = shapes.ask(f"/jobs/{job}/results", method="OPTIONS")
    unknown = shapes.ask(f"/jobs/{job}/results/unknown", method="HEAD")

    assert (200, b"") == (head.status, head.body)
    assert head.headers["content-type"].startswith("multipart/related")
    assert (200, str(len(RASTER)), TIFF) == (file.status, file.headers["content-length"], file.headers["content-type"])
    assert (204, "GET, HEAD, OPTIONS") == (options.status, options.headers["allow"])
    assert (404, b"") == (unknown.status, unknown.body)


def test_a_download_that_breaks_does_not_look_whole(suite: Suite, shapes: Workspace) -> None:
    job = shapes.accept("plain")
    shapes.end_of(job)
    (path,) = suite.directory.artifacts.rglob(f"{job}/outputs/raster/raster.tif")
    # The store has less than the job recorded.
    path.write_bytes(RASTER[:1_500_000])

    with pytest.raises(http.client.IncompleteRead) as broken:
        shapes.ask(f"/jobs/{job}/results/raster")

    assert 1_500_000 == len(broken.value.partial)


# Dismissal ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("dismiss/job-dismiss-op", "dismiss/job-dismiss-success")
def test_a_running_job_is_dismissed(workspace: Workspace) -> None:
    job = workspace.accept("echo", {"message": "hello", "pause": 600})

    answer = workspace.ask(f"/jobs/{job}", method="DELETE")

    assert (200, job, "dismissed") == (answer.status, answer.json["jobID"], answer.json["status"])
    assert "dismissed" == workspace.job(job)["status"]
    problem(workspace.ask(f"/jobs/{job}/results"), 404, "RESULT_NOT_AVAILABLE", ogc="1/1.0/result-not-available")


@pytest.mark.requirement("dismiss/job-dismiss-success")
def test_a_finished_job_is_removed_with_its_files(suite: Suite, shapes: Workspace) -> None:
    job = shapes.accept("plain")
    shapes.end_of(job)
    assert any(job in key for key in suite.objects())

    answer = shapes.ask(f"/jobs/{job}", method="DELETE")

    assert (200, "dismissed") == (answer.status, answer.json["status"])
    for path in ("", "/results", "/results/table", "/logs"):
        problem(shapes.ask(f"/jobs/{job}{path}"), 404, "NO_SUCH_JOB", ogc="1/1.0/no-such-job")
    problem(shapes.ask(f"/jobs/{job}", method="DELETE"), 404, "NO_SUCH_JOB", ogc="1/1.0/no-such-job")
    eventually(lambda: not any(job in key for key in suite.objects()))


def test_a_synchronous_execution_whose_job_is_dismissed_has_no_results(workspace: Workspace) -> None:
    def dismiss() -> bool:
        jobs = workspace.ask("/jobs").json["jobs"]
        return bool(jobs) and workspace.ask(f"/jobs/{jobs[0]['jobID']}", method="DELETE").status == 200

    with ThreadPoolExecutor(1) as other:
        dismissal = other.submit(eventually, dismiss)
        answer = execute(workspace, "echo", {"inputs": {"message": "hello", "pause": 20}})
        dismissal.result()

    problem(answer, 404, "RESULT_NOT_AVAILABLE", ogc="1/1.0/result-not-available")
