"""OWSLib, as it comes from PyPI, finds its way from the landing page to results, under every path of a workspace."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from owslib import ogcapi
from owslib.ogcapi.processes import Processes

from tests.clients.packages import STAC
from tests.support.doors import Workspace

PATHS = {"canonical": "/workspaces/{}", "alias": "/ades/{}/ogc-api"}
RELATION = "http://www.opengis.net/def/rel/ogc/1.0/"
PATIENCE_SECONDS = 60
pytestmark = pytest.mark.xdist_group("clients")


@pytest.fixture(params=PATHS)
def url(request: pytest.FixtureRequest, workspace: Workspace) -> str:
    return f"http://127.0.0.1:{workspace.port}{PATHS[request.param].format(workspace.name)}"


@pytest.fixture
def client(url: str, workspace: Workspace) -> Iterator[Processes]:
    # OWSLib keeps the headers of one client for all that come after it.
    kept = dict(ogcapi.REQUEST_HEADERS)
    yield Processes(url, headers={"Authorization": f"Bearer {workspace.token}"})
    ogcapi.REQUEST_HEADERS.clear()
    ogcapi.REQUEST_HEADERS.update(kept)


def links(document: Any) -> dict[str, str]:
    return {link["rel"]: link["href"] for link in document["links"]}


def end_of(client: Processes, job: str) -> Any:
    """Waits until a job has ended; OWSLib has no words for jobs, but asks for any path."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        document = client._request(path=f"jobs/{job}")
        if document["status"] not in ("accepted", "running"):
            return document
        assert time.monotonic() < give_up, document
        time.sleep(0.1)


def test_the_landing_page_leads_to_everything(client: Processes, url: str) -> None:
    found = links(client.response)

    assert url == found["self"]
    assert f"{url}/processes" == found[RELATION + "processes"]
    assert f"{url}/conformance" == found[RELATION + "conformance"]
    assert f"{url}/jobs" == found[RELATION + "job-list"]


def test_the_definition_is_found_by_its_literal_media_type(client: Processes, url: str) -> None:
    definition = client.api()

    assert definition["openapi"].startswith("3.0")
    assert definition["paths"]


def test_conformance_is_declared(client: Processes) -> None:
    classes = client.conformance()["conformsTo"]

    assert "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core" in classes


def test_processes_are_listed_and_described(client: Processes, url: str, catalog_process: str) -> None:
    listed = {process["id"]: process for process in client.processes()}
    described = client.process(catalog_process)

    assert {"echo", catalog_process} == set(listed)
    assert f"{url}/processes/{catalog_process}" == links(listed[catalog_process])["self"]
    assert {"fn", "size", "ratio", "keep", "bands"} == set(described["inputs"])
    assert ["stac"] == list(described["outputs"])
    assert f"{url}/processes/{catalog_process}/execution" == links(described)[RELATION + "execute"]


def test_a_process_is_executed_synchronously(client: Processes) -> None:
    results = client.execute("echo", {"message": "hello", "numbers": [1, 2]}, async_=False)

    assert ("hello", [1, 2]) == (results["message"], results["numbers"])


def test_some_outputs_are_asked_for(client: Processes) -> None:
    wanted = {"message": {"transmissionMode": "value"}}

    results = client.execute("echo", {"message": "hello", "numbers": [1]}, outputs=wanted)

    assert {"message": "hello"} == results


def test_a_process_is_executed_asynchronously(client: Processes, url: str) -> None:
    job = client.execute("echo", {"message": "later"}, async_=True)
    location = client.response_headers["Location"]
    ended = end_of(client, job["jobID"])
    results = client._request(path=f"jobs/{job['jobID']}/results")

    assert f"{url}/jobs/{job['jobID']}" == location
    assert "respond-async" in client.response_headers.get("Preference-Applied", "respond-async")
    assert ("successful", "process", "echo") == (ended["status"], ended["type"], ended["processID"])
    assert f"{url}/jobs/{job['jobID']}/results" == links(ended)[RELATION + "results"]
    assert "later" == results["message"]
    assert [job["jobID"]] == [each["jobID"] for each in client._request(path="jobs")["jobs"]]


def test_a_deployed_process_is_executed(client: Processes, catalog_process: str) -> None:
    job = client.execute(catalog_process, {"fn": "x", "keep": True}, async_=True)
    ended = end_of(client, job["jobID"])
    results = client._request(path=f"jobs/{job['jobID']}/results")

    assert "successful" == ended["status"], ended
    assert "Collection" == results["type"] if "/ades/" in client.url else "stac" in results


def test_a_refusal_says_what_is_wrong(client: Processes) -> None:
    with pytest.raises(RuntimeError) as unknown:
        client.process("nothing")
    with pytest.raises(RuntimeError) as wrong:
        client.execute("echo", {"numbers": "x"})

    assert "no-such-process" in str(unknown.value)
    assert "/inputs/message" in str(wrong.value)


def test_the_package_of_the_tests_is_what_was_deployed(client: Processes, catalog_process: str) -> None:
    assert STAC.encode() == client._request(path=f"processes/{catalog_process}/package", as_dict=False)
