"""The resources of a workspace over REST: OGC API - Processes 1.0, requirement by requirement."""

import json
import time
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_30

from services.ogc.landing import CONFORMANCE
from services.ogc.requests import OPENAPI
from tests.support.doors import JSON, Answer, Workspace, problem
from tests.support.listeners import Origin
from tests.system.subscribers import subscriber
from tests.system.suite import Suite

REL = "http://www.opengis.net/def/rel/ogc/1.0/"
NO_JOB = "01900000-0000-7000-8000-000000000000"
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
id: {id}
baseCommand: [echo, hello]
inputs: {{}}
outputs: {{said: {{type: stdout}}}}
"""


@pytest.fixture(scope="module")
def used(suite: Suite) -> Workspace:
    """A workspace with processes, and with jobs of every kind."""
    workspace = suite.workspace()
    for name in ("one", "two"):
        assert workspace.deploy(TOOL.format(id=name)).status == 201
    for process, inputs in (("one", {}), ("one", {}), ("two", {}), ("echo", {"message": "hello", "pause": 1})):
        workspace.end_of(workspace.accept(process, inputs))
    dismissed = workspace.accept("echo", {"message": "hello", "pause": 600})
    workspace.ask(f"/jobs/{dismissed}", method="DELETE")
    return workspace


def links_of(answer: Answer) -> dict[str, dict[str, Any]]:
    """The links of an answer by their relation."""
    assert 200 == answer.status, answer
    links = answer.json["links"]
    for link in links:
        assert {"href", "rel", "type"} <= link.keys()
    return {link["rel"]: link for link in links}


def follow(workspace: Workspace, link: dict[str, Any]) -> Answer:
    """What a link leads to, in the media type that it states."""
    parts = urlsplit(link["href"])
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return workspace.ask(path, absolute=True, headers={"Accept": link["type"]})


@pytest.mark.requirement("core/landingpage-op", "core/landingpage-success")
def test_the_landing_page_leads_to_everything(workspace: Workspace) -> None:
    links = links_of(workspace.ask("/"))

    assert {"service-desc", "service-doc", f"{REL}conformance", f"{REL}processes", f"{REL}job-list"} <= links.keys()
    for relation in ("self", "service-desc", "service-doc", f"{REL}conformance", f"{REL}processes", f"{REL}job-list"):
        assert 200 == follow(workspace, links[relation]).status, relation


@pytest.mark.requirement("core/api-definition-op", "core/api-definition-success", "oas30/oas-definition-1")
def test_the_definition_is_in_the_media_type_of_its_link(workspace: Workspace) -> None:
    link = links_of(workspace.ask(""))["service-desc"]

    answer = follow(workspace, link)

    assert (200, OPENAPI, OPENAPI) == (answer.status, answer.headers["content-type"], link["type"])
    assert answer.json["openapi"].startswith("3.0.")


@pytest.mark.requirement("oas30/oas-definition-2")
def test_the_definition_is_valid(used: Workspace) -> None:
    document = used.ask("/api").json

    assert [] == [error.message for error in jsonschema_rs.Draft4Validator(OPENAPI_30).iter_errors(document)]
    assert {"/processes/one/execution", "/processes/echo/execution"} <= document["paths"].keys()


@pytest.mark.requirement("oas30/exception-codes")
def test_the_definition_says_how_every_operation_refuses(workspace: Workspace) -> None:
    document = workspace.ask("/api").json

    for item in document["paths"].values():
        for operation in item.values():
            refusals = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
            assert {"400", "401", "403", "404", "500", "503"} <= refusals.keys()
            assert all("application/problem+json" in answer["content"] for answer in refusals.values())


@pytest.mark.requirement("oas30/security")
def test_the_definition_says_how_callers_are_known(workspace: Workspace) -> None:
    document = workspace.ask("/api").json

    scheme = document["components"]["securitySchemes"]["bearer"]
    assert ([{"bearer": []}], ("http", "bearer")) == (document["security"], (scheme["type"], scheme["scheme"]))
    assert 401 == Workspace(workspace.port, workspace.name, None).ask("/api").status


@pytest.mark.requirement("core/conformance-op", "core/conformance-success")
def test_conformance_lists_the_classes(workspace: Workspace) -> None:
    answer = workspace.ask("/conformance")

    assert (200, list(CONFORMANCE)) == (answer.status, answer.json["conformsTo"])


@pytest.mark.requirement("core/http")
def test_every_path_answers_head_and_options_and_no_other_methods(workspace: Workspace) -> None:
    document = workspace.ask("/api").json

    for template, item in document["paths"].items():
        path = template.replace("{processID}", "echo").replace("{jobID}", NO_JOB).replace("{ingestionID}", NO_JOB)
        path = path.replace("{step}", "main").replace("{output}", "out").replace("{path}", "file")
        options = workspace.ask(path, method="OPTIONS")
        allowed = {verb.strip() for verb in options.headers["allow"].split(",")}
        other = workspace.ask(path, method="TRACE" if "DELETE" in allowed else "DELETE")

        assert (204, {verb.upper() for verb in item}) == (options.status, allowed - {"HEAD", "OPTIONS"}), path
        assert (405, options.headers["allow"]) == (other.status, other.headers["allow"])
        if "HEAD" in allowed:
            got, head = workspace.ask(path), workspace.ask(path, method="HEAD")
            assert (got.status, b"") == (head.status, head.body), path
            assert got.headers["content-type"] == head.headers["content-type"], path
        else:
            assert 405 == workspace.ask(path, method="HEAD").status, path


@pytest.mark.parametrize("path", ["", "/conformance", "/api", "/processes", "/processes/echo", "/jobs", "/ingestions"])
def test_a_slash_at_the_end_changes_nothing(used: Workspace, path: str) -> None:
    plain, slashed = used.ask(path), used.ask(f"{path}/")

    assert (200, 200) == (plain.status, slashed.status)
    assert plain.json == slashed.json


@pytest.mark.requirement("core/links", "job-list/links")
@pytest.mark.parametrize("path", ["", "/processes", "/processes/one", "/jobs", "/ingestions"])
def test_answers_link_to_themselves(used: Workspace, path: str) -> None:
    links = links_of(used.ask(path))

    assert urlsplit(links["self"]["href"]).path == f"/workspaces/{used.name}{path}"
    assert 200 == follow(used, links["self"]).status


@pytest.mark.requirement(
    "core/process-list-op", "core/process-list-success", "deploy-replace-undeploy/static-indicator"
)
def test_processes_are_listed_with_their_summaries(used: Workspace) -> None:
    processes = used.ask("/processes").json["processes"]

    assert {"echo": False, "one": True, "two": True} == {process["id"]: process["mutable"] for process in processes}
    for process in processes:
        assert {"id", "version", "jobControlOptions", "outputTransmission", "links"} <= process.keys()
        assert {"self", f"{REL}execute"} <= {link["rel"] for link in process["links"]}


@pytest.mark.requirement("core/pl-limit-definition", "core/pl-limit-response")
def test_a_page_of_processes_is_as_long_as_asked_for(used: Workspace) -> None:
    first = used.ask("/processes?limit=2")
    second = follow(used, links_of(first)["next"])

    assert [["echo", "one"], ["two"]] == [[one["id"] for one in page.json["processes"]] for page in (first, second)]
    assert "next" not in links_of(second)


@pytest.mark.requirement("core/pl-limit-definition", "job-list/limit-def")
@pytest.mark.parametrize("kind", ["processes", "jobs"])
@pytest.mark.parametrize("limit", ["0", "-1", "ten", "", "1&limit=2", "99999999999"])
def test_a_limit_that_is_none_is_refused(workspace: Workspace, kind: str, limit: str) -> None:
    answer = workspace.ask(f"/{kind}?limit={limit}")

    assert (400, "application/problem+json") == (answer.status, answer.headers["content-type"])


@pytest.mark.requirement("core/pl-limit-response", "job-list/limit-response")
@pytest.mark.parametrize("kind", ["processes", "jobs"])
def test_a_large_limit_is_taken_as_the_largest(used: Workspace, kind: str) -> None:
    answer = used.ask(f"/{kind}?limit=1000000000")

    assert 200 == answer.status
    assert 0 < len(answer.json[kind]) <= 1000


@pytest.mark.requirement("core/process-description-op", "core/process-description-success")
def test_a_process_is_described(used: Workspace) -> None:
    answer = used.ask("/processes/one")

    assert (200, "one") == (answer.status, answer.json["id"])
    assert {"version", "inputs", "outputs", "jobControlOptions", "outputTransmission"} <= answer.json.keys()
    assert f"{REL}execute" in links_of(answer)


@pytest.mark.requirement("core/process-exception/no-such-process")
def test_an_unknown_process_is_an_exception(workspace: Workspace) -> None:
    problem(workspace.ask("/processes/nothing"), 404, "NO_SUCH_PROCESS", ogc="1/1.0/no-such-process")


@pytest.mark.requirement("core/job-op", "core/job-success", "job-list/processID-mandatory")
def test_a_job_is_told(used: Workspace) -> None:
    job = used.ask("/jobs?processID=one&limit=1").json["jobs"][0]

    answer = used.ask(f"/jobs/{job['jobID']}")

    told = answer.json
    assert (200, "process", "successful", "one") == (answer.status, told["type"], told["status"], told["processID"])
    assert told["id"] == told["jobID"] == job["jobID"]
    assert {"created", "started", "finished", "updated", "progress"} <= told.keys()
    assert 200 == follow(used, links_of(answer)[f"{REL}results"]).status


@pytest.mark.requirement("core/job-exception-no-such-job")
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_job_is_an_exception(workspace: Workspace, method: str) -> None:
    problem(workspace.ask(f"/jobs/{NO_JOB}", method=method), 404, "NO_SUCH_JOB", ogc="1/1.0/no-such-job")


@pytest.mark.requirement("json/definition")
@pytest.mark.parametrize("path", ["", "/conformance", "/processes", "/processes/one", "/jobs", "/callbacks"])
@pytest.mark.parametrize("accept", [JSON, "*/*", "text/plain;q=0.1, application/*"])
def test_every_resource_is_json(used: Workspace, path: str, accept: str) -> None:
    answer = used.ask(path, headers={"Accept": accept})

    assert (200, JSON) == (answer.status, answer.headers["content-type"])
    assert isinstance(answer.json, dict)


@pytest.mark.requirement("html/definition", "html/content")
@pytest.mark.parametrize("path", ["", "/conformance", "/api", "/processes", "/processes/one", "/jobs"])
@pytest.mark.parametrize("asked", ["accept", "parameter"])
def test_every_resource_is_a_page(used: Workspace, path: str, asked: str) -> None:
    answer = used.ask(path, headers={"Accept": "text/html"}) if asked == "accept" else used.ask(f"{path}?f=html")

    assert (200, "text/html; charset=utf-8") == (answer.status, answer.headers["content-type"])
    assert used.name in answer.body.decode()
    assert f'href="/workspaces/{used.name}/processes"' in answer.body.decode()


@pytest.mark.requirement("callback/job-creation-callback")
def test_a_subscriber_is_told_of_the_job(workspace: Workspace, origin: Origin) -> None:
    with subscriber(origin) as told:
        answer = workspace.ask(
            "/processes/echo/execution",
            method="POST",
            body=json.dumps(
                {
                    "inputs": {"message": "hello"},
                    "response": "document",
                    "subscriber": {"successUri": f"{told.url}/success", "failedUri": f"{told.url}/failed"},
                }
            ),
            media_type=JSON,
            headers={"Prefer": "respond-async"},
        )
        path, body = told.next(within=30)

    assert (201, "/success", {"message": "hello"}) == (answer.status, path, json.loads(body))


# The list of jobs ---------------------------------------------------------------------------------------------------


def listed(workspace: Workspace, query: str) -> list[dict[str, Any]]:
    answer = workspace.ask(f"/jobs?limit=100&{query}")
    assert 200 == answer.status, answer
    jobs: list[dict[str, Any]] = answer.json["jobs"]
    return jobs


@pytest.mark.requirement("job-list/op", "job-list/success", "job-list/processID-mandatory")
def test_jobs_are_listed_newest_first(used: Workspace) -> None:
    jobs = listed(used, "")

    assert ["echo", "echo", "two", "one", "one"] == [job["processID"] for job in jobs]
    assert sorted((job["created"] for job in jobs), reverse=True) == [job["created"] for job in jobs]
    for job in jobs:
        assert {"jobID", "status", "type", "links"} <= job.keys()


@pytest.mark.requirement("job-list/links", "job-list/limit-def", "job-list/limit-response")
def test_pages_of_jobs_lead_on_and_back(used: Workspace) -> None:
    first = used.ask("/jobs?limit=2")
    second = follow(used, links_of(first)["next"])
    third = follow(used, links_of(second)["next"])
    back = follow(used, links_of(second)["prev"])

    assert [2, 2, 1] == [len(page.json["jobs"]) for page in (first, second, third)]
    assert "prev" not in links_of(first)
    assert "next" not in links_of(third)
    assert [job["jobID"] for job in first.json["jobs"]] == [job["jobID"] for job in back.json["jobs"]]


@pytest.mark.requirement("job-list/type-def", "job-list/type-response")
@pytest.mark.parametrize("query", ["type=process", "type=process&type=process", "type=process,process"])
def test_jobs_are_found_by_their_type(used: Workspace, query: str) -> None:
    assert 5 == len(listed(used, query))


@pytest.mark.requirement("job-list/processID-definition", "job-list/processID-response")
@pytest.mark.parametrize("query", ["processID=one&processID=two", "processID=one,two", "processID=one%2Ctwo"])
def test_jobs_are_found_by_their_process(used: Workspace, query: str) -> None:
    assert ["two", "one", "one"] == [job["processID"] for job in listed(used, query)]


@pytest.mark.requirement("job-list/status-def", "job-list/status-response")
@pytest.mark.parametrize(
    ("query", "count"),
    [("status=dismissed", 1), ("status=successful,dismissed", 5), ("status=failed&status=running", 0)],
)
def test_jobs_are_found_by_their_status(used: Workspace, query: str, count: int) -> None:
    jobs = listed(used, query)

    assert count == len(jobs)
    assert all(job["status"] in query for job in jobs)


@pytest.mark.requirement("job-list/datetime-def", "job-list/datetime-response")
def test_jobs_are_found_by_when_they_were_created(used: Workspace) -> None:
    times = [job["created"] for job in listed(used, "")]
    middle = times[2]

    counts = {
        query: len(listed(used, f"datetime={query}"))
        for query in (middle, f"{middle}/..", f"{middle}/", f"../{middle}", f"/{middle}", f"{times[3]}/{times[1]}")
    }

    assert [1, 3, 3, 3, 3, 3] == list(counts.values())


@pytest.mark.requirement("job-list/datetime-def")
@pytest.mark.parametrize("datetime", ["2026-11-24T00:00:00Z/2026-11-23T00:00:00Z", "../..", "/", "noon", "2026"])
def test_an_interval_that_is_none_is_refused(workspace: Workspace, datetime: str) -> None:
    ogc = "1/1.0/invalid-query-parameter-value"

    problem(workspace.ask(f"/jobs?datetime={datetime}"), 400, "INVALID_QUERY_PARAMETER", ogc=ogc)


@pytest.mark.requirement("job-list/duration-definition", "job-list/duration-response")
def test_jobs_are_found_by_how_long_they_took(used: Workspace) -> None:
    waiting = used.accept("echo", {"message": "hello", "pause": 600})
    try:
        while used.job(waiting)["status"] != "running":
            time.sleep(0.05)
        long = {job["jobID"] for job in listed(used, "minDuration=1")}
        short = {job["jobID"] for job in listed(used, "maxDuration=500&status=successful")}
        both = listed(used, "minDuration=1&maxDuration=500&status=successful")
    finally:
        used.ask(f"/jobs/{waiting}", method="DELETE")
        used.ask(f"/jobs/{waiting}", method="DELETE")

    assert 4 == len(short)
    assert {job["jobID"] for job in both} == long & short
    assert "echo" in {job["processID"] for job in both}


# Process descriptions -----------------------------------------------------------------------------------------------


@pytest.mark.requirement(
    "ogc-process-description/json-encoding",
    "ogc-process-description/inputs-def",
    "ogc-process-description/input-def",
    "ogc-process-description/outputs-def",
    "ogc-process-description/output-def",
)
def test_a_description_has_inputs_and_outputs_with_schemas(workspace: Workspace) -> None:
    answer = workspace.ask("/processes/echo")

    described = answer.json
    assert JSON == answer.headers["content-type"]
    assert {"message", "object", "numbers", "bbox", "media", "pause"} <= described["inputs"].keys()
    for parameter in (*described["inputs"].values(), *described["outputs"].values()):
        assert {"title", "description", "schema"} <= parameter.keys()
        jsonschema_rs.validator_for(parameter["schema"])
    assert (1, 1) == (described["inputs"]["message"]["minOccurs"], described["inputs"]["message"]["maxOccurs"])


@pytest.mark.requirement("ogc-process-description/input-mixed-type", "ogc-process-description/output-mixed-type")
@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_several_formats_are_alternatives(workspace: Workspace, kind: str) -> None:
    schema = workspace.ask("/processes/echo").json[kind]["media"]["schema"]

    assert 3 == len({option["contentMediaType"] for option in schema["oneOf"]})


@pytest.mark.requirement("ogc-process-description/input-binary")
def test_a_binary_input_says_its_encoding(workspace: Workspace) -> None:
    options = workspace.ask("/processes/echo").json["inputs"]["media"]["schema"]["oneOf"]

    binary = [option for option in options if option.get("contentEncoding")]
    assert {("string", "base64")} == {(option["type"], option["contentEncoding"]) for option in binary}
    assert "image/tiff; application=geotiff" in [option["contentMediaType"] for option in binary]
