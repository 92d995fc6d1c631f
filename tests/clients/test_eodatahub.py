"""What the other clients of the EO DataHub send and read: eodh-ac-api, the QGIS plugin, register.py and the catalog's
pages. They are no packages, so their requests are written here as they write them."""

import json
from datetime import datetime
from typing import Any

import pytest

from tests.clients.packages import STAC, convert
from tests.support.doors import JSON, YAML, Answer, Workspace, eventually
from tests.support.listeners import Origin
from tests.system.suite import Suite

NO_JOB = "00000000-0000-7000-8000-000000000000"
EXCEPTIONS = "http://www.opengis.net/def/exceptions/ogcapi-processes-"
FAILING = """
cwlVersion: v1.2
class: CommandLineTool
id: failing
inputs: {}
outputs: {}
baseCommand: [sh, -c, "echo 'no such tile' >&2; exit 3"]
"""
pytestmark = pytest.mark.xdist_group("clients")


class Hub:
    """A workspace under its path of the EO DataHub."""

    def __init__(self, workspace: Workspace, *, older: bool = False) -> None:
        self.workspace = workspace
        root = "/ades/{}/ogc-api" if older else "/api/catalogue/stac/catalogs/user/catalogs/{}"
        self.base = root.format(workspace.name)
        self.url = f"http://127.0.0.1:{workspace.port}{self.base}"

    def ask(self, path: str, method: str = "GET", body: Any = None, media_type: str = JSON, **headers: str) -> Answer:
        content = body if isinstance(body, str) or body is None else json.dumps(body)
        return self.workspace.ask(
            self.base + path,
            method=method,
            body=content,
            media_type=media_type if content is not None else None,
            headers=headers,
            absolute=True,
        )

    def execute(self, process: str, inputs: dict[str, Any]) -> Answer:
        return self.ask(f"/processes/{process}/execution", "POST", {"inputs": inputs}, Prefer="respond-async")

    def finish(self, executed: Answer) -> Any:
        """Follows the `Location` for as long as the job is running, and gives the job."""
        assert 201 == executed.status, executed
        path = executed.headers["location"].removeprefix(self.url)

        def ended() -> Any:
            job = self.ask(path).json
            return None if job["status"] == "running" else job

        return eventually(ended)


@pytest.fixture(params=[False, True], ids=["catalog", "ades"])
def hub(request: pytest.FixtureRequest, workspace: Workspace) -> Hub:
    return Hub(workspace, older=request.param)


def test_a_package_is_deployed_at_the_list_with_a_slash(hub: Hub, origin: Origin) -> None:
    origin.pages["/app.cwl"] = (200, {}, convert().encode())
    unit = {"executionUnit": {"href": f"{origin.url}/app.cwl", "type": "application/cwl"}}

    answer = hub.ask("/processes/", "POST", unit)

    assert (201, f"{hub.url}/processes/convert-url") == (answer.status, answer.headers["location"])
    assert {"id", "title", "description", "mutable", "version", "metadata", "links"} <= set(answer.json)
    assert 200 == hub.ask("/processes/").status


def test_a_package_is_replaced_with_204_and_its_location(hub: Hub) -> None:
    hub.ask("/processes", "POST", convert(), YAML)

    answer = hub.ask("/processes/convert-url", "PUT", convert(version="2.0.0"), YAML)

    assert (204, b"") == (answer.status, answer.body)
    assert f"{hub.url}/processes/convert-url" == answer.headers["location"]
    assert "2.0.0" == hub.ask("/processes/convert-url").json["version"]


def test_a_package_is_registered_anew(hub: Hub) -> None:
    before = hub.ask("/processes/convert-url", "DELETE", **{"Content-Length": "0"})
    deployed = hub.ask("/processes", "POST", convert(), YAML)
    again = hub.ask("/processes", "POST", convert(), YAML)
    removed = hub.ask("/processes/convert-url", "DELETE")

    assert [404, 201, 409, 204] == [answer.status for answer in (before, deployed, again, removed)]
    assert EXCEPTIONS + "2/1.0/duplicated-process" == again.json["type"]


def test_the_first_answer_to_an_execution_is_a_running_job(hub: Hub) -> None:
    hub.ask("/processes", "POST", convert(), YAML)

    answer = hub.execute("convert-url", {"workspace": hub.workspace.name})

    job = answer.json
    assert (201, "respond-async") == (answer.status, answer.headers["preference-applied"])
    assert f"{hub.url}/jobs/{job['jobID']}" == answer.headers["location"]
    assert ("running", "process", "convert-url", job["id"]) == (
        job["status"],
        job["type"],
        job["processID"],
        job["jobID"],
    )
    for moment in ("created", "started", "updated"):
        assert datetime.fromisoformat(job[moment]).tzinfo
    monitor = next(link for link in job["links"] if link["rel"] == "monitor")
    assert answer.headers["location"] == monitor["href"]
    assert None not in job.values()


def test_no_link_leads_out_of_the_path(hub: Hub) -> None:
    hub.ask("/processes", "POST", STAC, YAML)
    job = hub.finish(hub.execute("scene-maker", {"fn": "x", "keep": "true"}))

    documents = [job] + [
        hub.ask(path).json
        for path in (
            *("/processes", "/processes/scene-maker", "/jobs", f"/jobs/{job['jobID']}/results"),
            *(f"/jobs/{job['jobID']}/logs", f"/jobs/{job['jobID']}/results/stac"),
        )
    ]

    assert "successful" == job["status"], job
    for document in documents:
        found = list(hrefs(document))
        assert found
        assert [] == [href for href in found if not href.startswith(f"{hub.url}/")]
        for href in set(found):
            if not href.endswith(("/execution", "/events")):
                assert 200 == hub.ask(href.removeprefix(hub.url)).status, href


def hrefs(document: Any) -> Any:
    match document:
        case {"href": str(href)}:
            yield href
        case dict():
            for value in document.values():
                yield from hrefs(value)
        case list():
            for value in document:
                yield from hrefs(value)


def test_a_list_is_asked_for_with_ten_thousand_jobs(hub: Hub) -> None:
    for number in range(3):
        hub.execute("echo", {"message": str(number)})

    found = hub.ask("/jobs?limit=10000&skip=0")

    assert 200 == found.status
    assert ({"jobs", "links", "numberTotal"}, 3, 3) == (
        set(found.json),
        found.json["numberTotal"],
        len(found.json["jobs"]),
    )
    for job in found.json["jobs"]:
        assert job.get("progress") is None or 0 <= job["progress"] <= 100


def test_a_job_that_failed_says_why_and_has_results_to_read(hub: Hub) -> None:
    hub.ask("/processes", "POST", FAILING, YAML)

    job = hub.finish(hub.execute("failing", {}))
    results = hub.ask(f"/jobs/{job['jobID']}/results")

    assert "failed" == job["status"]
    assert "STEP_FAILED" == job["failure"]["reason"]
    assert (200, JSON, "JOB_FAILED") == (results.status, results.headers["content-type"], results.json["reason"])
    assert "no such tile" in results.json["detail"]
    elsewhere = hub.workspace.ask(f"/jobs/{job['jobID']}/results")
    assert (422, "application/problem+json") == (elsewhere.status, elsewhere.headers["content-type"])


def test_forms_find_texts_for_their_fields(hub: Hub) -> None:
    hub.ask("/processes", "POST", STAC, YAML)

    inputs = hub.ask("/processes/scene-maker").json["inputs"]

    for about in inputs.values():
        assert isinstance(about["schema"].get("default", ""), str)
    assert "50" == inputs["size"]["schema"]["default"]
    assert "array" == inputs["bands"]["extended-schema"]["type"]
    assert 50 == hub.workspace.ask("/processes/scene-maker").json["inputs"]["size"]["schema"]["default"]


@pytest.mark.parametrize(
    ("inputs", "pointer"),
    [
        ({"fn": "x", "keep": "true", "size": "large"}, "/inputs/size"),
        ({"fn": "x", "keep": "perhaps"}, "/inputs/keep"),
        ({"fn": "x", "keep": "true", "ratio": "nan"}, "/inputs/ratio"),
        ({"fn": "x", "keep": "true", "other": "x"}, "/inputs/other"),
        ({"keep": "true"}, "/inputs/fn"),
    ],
)
def test_texts_that_stand_for_nothing_are_refused(hub: Hub, inputs: dict[str, Any], pointer: str) -> None:
    hub.ask("/processes", "POST", STAC, YAML)

    answer = hub.execute("scene-maker", inputs)

    assert 400 == answer.status
    assert pointer in [error["pointer"] for error in answer.json["errors"]]


def test_texts_are_not_read_as_numbers_elsewhere(workspace: Workspace) -> None:
    workspace.deploy(STAC)

    as_text = workspace.execute("scene-maker", {"fn": "x", "keep": "true"})
    with_workspace = workspace.execute("scene-maker", {"fn": "x", "keep": True, "workspace": workspace.name})

    assert [400, 400] == [as_text.status, with_workspace.status]


def test_what_is_not_there_is_refused_by_the_standard(hub: Hub) -> None:
    answers = {
        path: hub.ask(path) for path in ("/processes/nothing", f"/jobs/{NO_JOB}", f"/jobs/{NO_JOB}/results", "/jobs/x")
    }

    assert [404, 404, 404, 404] == [answer.status for answer in answers.values()]
    for path, answer in answers.items():
        assert hub.base + path == answer.json["instance"]
        assert "application/problem+json" == answer.headers["content-type"]


def test_a_page_of_another_origin_may_execute(hub: Hub) -> None:
    asked = hub.ask(
        "/processes/echo/execution",
        "OPTIONS",
        Origin="https://hub.example",
        **{"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,prefer"},
    )
    executed = hub.execute("echo", {"message": "hello"})

    assert 204 == asked.status
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert {"authorization", "content-type", "prefer"} <= set(asked.headers["access-control-allow-headers"].split(", "))
    assert ("*", "Content-Type,Authorization,Prefer", "*") == tuple(
        executed.headers[f"access-control-allow-{name}"] for name in ("origin", "headers", "methods")
    )
    assert "location" in executed.headers["access-control-expose-headers"]


def test_a_foreign_workspace_stays_foreign_however_it_is_named(suite: Suite, hub: Hub) -> None:
    hub.ask("/processes", "POST", convert(), YAML)
    job = hub.finish(hub.execute("convert-url", {}))
    stranger = suite.workspace()
    older = "/ogc-api" in hub.base
    theirs = Hub(Workspace(stranger.port, hub.workspace.name, stranger.token), older=older)
    own = Hub(stranger, older=older)

    answers = [
        theirs.ask("/processes/convert-url"),
        theirs.ask(f"/jobs/{job['jobID']}"),
        theirs.ask(f"/jobs/{job['jobID']}/results"),
        theirs.ask(f"/jobs/{job['jobID']}/convert-url.log"),
        theirs.ask(f"/jobs/{job['jobID']}", "DELETE"),
        theirs.execute("convert-url", {}),
        theirs.ask("/jobs"),
        theirs.ask("/processes", "POST", STAC, YAML),
        # A name in the query, or a mark of the edge's own, changes nothing.
        own.ask(f"/jobs?parent=workspaces/{hub.workspace.name}"),
        own.ask("/jobs", **{"x-workflow-runner-alias": hub.base, "x-envoy-original-path": f"{hub.base}/jobs"}),
    ]

    assert [404, 404, 404, 404, 404, 404, 403, 403, 400, 200] == [answer.status for answer in answers]
    assert ([], f"{own.url}/jobs") == (answers[-1].json["jobs"], answers[-1].json["links"][0]["href"])
    assert "successful" == hub.ask(f"/jobs/{job['jobID']}").json["status"]


def test_nobody_is_let_in_without_a_token(hub: Hub) -> None:
    nobody = Hub(Workspace(hub.workspace.port, hub.workspace.name, None))

    assert [401, 401] == [nobody.ask(path).status for path in ("/jobs", "/processes/echo")]
