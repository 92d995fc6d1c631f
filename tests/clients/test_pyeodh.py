"""The client of the EO DataHub, as it comes from PyPI, does here what it does there."""

import time
from collections.abc import Callable
from typing import Any

import pyeodh
import pystac
import pytest
import requests
from pyeodh.ades import Ades, AdesJobStatus, Job, Process, ResultsNotReadyError

from tests.clients.packages import STAC, convert
from tests.support.doors import Workspace
from tests.support.listeners import Origin
from tests.system.suite import Suite

PATIENCE_SECONDS = 60
pytestmark = pytest.mark.xdist_group("clients")

Open = Callable[..., Ades]


@pytest.fixture
def open_ades(host: str) -> Open:
    """Opens the client for a workspace."""

    def open_as(workspace: Workspace) -> Ades:
        return pyeodh.Client(base_url=host, username=workspace.name, token=workspace.token).get_ades()

    return open_as


@pytest.fixture
def ades(open_ades: Open, workspace: Workspace) -> Ades:
    return open_ades(workspace)


@pytest.fixture
def scene_maker(ades: Ades) -> Process:
    return ades.deploy_process(cwl_yaml=STAC)


def finish(job: Job) -> Job:
    """Waits as the notebooks of the EO DataHub do: for as long as the job is running."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while job.status == AdesJobStatus.RUNNING.value:
        assert time.monotonic() < give_up, job.message
        time.sleep(0.2)
        job.refresh()
    return job


def get(client: Any, url: str) -> requests.Response:
    response: requests.Response = client._client._request_raw("GET", url)
    return response


def refused(call: Callable[[], object]) -> requests.Response:
    with pytest.raises(requests.HTTPError) as refusal:
        call()
    return refusal.value.response


def test_a_process_is_deployed_by_yaml(ades: Ades, host: str, workspace: Workspace) -> None:
    process = ades.deploy_process(cwl_yaml=convert())

    assert ("convert-url", "convert url app", "Convert URL", "0.1.2") == (
        process.id,
        process.title,
        process.description,
        process.version,
    )
    assert process.mutable is True
    assert {"async-execute", "dismiss"} <= set(process.job_control_options)
    base = f"{host}/api/catalogue/stac/catalogs/user/catalogs/{workspace.name}/processes"
    assert f"{base}/convert-url" == process.self_href
    links = {link.rel: link.href for link in process.links}
    assert f"{base}/convert-url" == links["self"]
    assert f"{base}/convert-url/execution" == links["http://www.opengis.net/def/rel/ogc/1.0/execute"]


def test_a_process_is_deployed_by_url(ades: Ades, origin: Origin) -> None:
    origin.pages["/app.cwl"] = (200, {"Content-Type": "text/plain"}, convert().encode())

    process = ades.deploy_process(cwl_url=f"{origin.url}/app.cwl")

    assert "convert-url" == process.id
    assert "/app.cwl" in origin.asked


def test_a_process_is_updated_by_yaml_and_by_url(ades: Ades, origin: Origin) -> None:
    process = ades.deploy_process(cwl_yaml=convert())

    process.update(cwl_yaml=convert(doc="Convert URL YAML"))
    by_yaml = process.description
    origin.pages["/new.cwl"] = (200, {"Content-Type": "application/cwl"}, convert(version="0.2.0").encode())
    process.update(cwl_url=f"{origin.url}/new.cwl")

    assert "Convert URL YAML" == by_yaml
    assert ("convert url app", "Convert URL", "0.2.0") == (process.title, process.description, process.version)


def test_processes_are_listed_with_the_reason_why(ades: Ades, scene_maker: Process) -> None:
    processes = {process.id: process for process in ades.get_processes()}

    assert {"scene-maker", "echo"} == set(processes)
    assert "Workspace owns this workflow" == processes["scene-maker"]._raw_data["AccessReasoning"]
    assert "Workflow is public" == processes["echo"]._raw_data["AccessReasoning"]
    assert processes["echo"].mutable is False


def test_a_job_is_executed_watched_and_its_items_read(ades: Ades, scene_maker: Process) -> None:
    job = scene_maker.execute({"fn": "resize", "size": "40", "ratio": "0.5", "keep": "true", "bands": ["1", "2"]})
    first_status, started = job.status, job.started
    finish(job)
    items = job.get_result_items()

    assert ("running", True) == (first_status, started is not None)
    assert "successful" == job.status, job.message
    assert (job.id, "scene-maker") == (ades.get_job(job.id).id, job.process_id)
    assert job.finished >= job.created
    (item,) = items
    assert "scene-1" == item.id
    assert {"fn": "resize", "size": 40, "ratio": 0.5, "keep": True, "bands": [1, 2]} == item.properties["given"]
    # The client knows nothing of the files of an item, but the addresses in it lead there.
    collection: Any = job._get_results_collection()._pystac_object
    (link,) = collection.get_item_links()
    found = pystac.Item.from_dict(get(ades, link.target).json())
    found.set_self_href(link.target)
    assert "pixels\n" == get(ades, found.assets["data"].get_absolute_href()).text
    root = pystac.Catalog.from_dict(get(ades, collection.get_single_link("parent").target).json())
    assert "out" == root.id


def test_a_finished_job_links_to_the_logs_of_its_tools(ades: Ades, scene_maker: Process) -> None:
    job = finish(scene_maker.execute({"fn": "x", "keep": "false"}))

    logs = [link for link in job.links if link.rel == "related" and (link.title or "").startswith("Tool log ")]

    (log,) = logs
    assert log.href.endswith(f"/jobs/{job.id}/{log.title.removeprefix('Tool log ')}")
    response = get(ades, log.href)
    assert response.headers["content-type"].startswith("text/plain")
    assert "working on it" in response.text


def test_results_of_a_job_that_runs_are_not_ready(ades: Ades) -> None:
    process = ades.deploy_process(cwl_yaml=convert(seconds=30))
    job = process.execute({})

    with pytest.raises(ResultsNotReadyError):
        job.get_result_items()
    job.delete()


def test_a_job_is_dismissed(ades: Ades) -> None:
    process = ades.deploy_process(cwl_yaml=convert(seconds=30))
    job = process.execute({})

    job.delete()

    assert "dismissed" == job.status
    job.refresh()
    assert "dismissed" == job.status


def test_jobs_are_listed_over_several_pages(ades: Ades) -> None:
    process = ades.get_process("echo")
    executed = [process.execute({"message": str(number)}).id for number in range(8)]

    by_three = [job.id for job in ades.get_jobs(limit=3)]
    at_once = [job.id for job in ades.get_jobs(limit=100)]
    paged = ades.get_jobs(limit=3)
    sliced = [job.id for job in paged[2:7]]

    assert executed[::-1] == by_three == at_once
    assert executed[::-1][2:7] == sliced
    # What asks for the number sends the link to the next page with another `limit` in it.
    begun = ades.get_jobs(limit=3)
    assert executed[-1] == begun[0].id
    assert begun.total_count is None


def test_a_process_is_removed(ades: Ades) -> None:
    process = ades.deploy_process(cwl_yaml=convert())

    process.delete()

    gone = refused(lambda: ades.get_process("convert-url"))
    assert (404, "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-process") == (
        gone.status_code,
        gone.json()["type"],
    )
    assert ["echo"] == [each.id for each in ades.get_processes()]


def test_what_cannot_be_done_is_refused(ades: Ades, origin: Origin) -> None:
    process = ades.deploy_process(cwl_yaml=convert())

    again = refused(lambda: ades.deploy_process(cwl_yaml=convert()))
    missing = refused(lambda: ades.deploy_process(cwl_url=f"{origin.url}/nothing.cwl"))
    wrong = refused(lambda: process.execute({"unknown": "x"}))
    no_job = refused(lambda: ades.get_job("00000000-0000-7000-8000-000000000000"))
    built_in = refused(lambda: ades.get_process("echo").delete())

    assert [409, 400, 400, 404, 403] == [answer.status_code for answer in (again, missing, wrong, no_job, built_in)]
    for answer in (again, missing, wrong, no_job, built_in):
        assert "application/problem+json" == answer.headers["content-type"]
        assert answer.json()["instance"].startswith("/api/catalogue/stac/catalogs/user/catalogs/")


def test_a_foreign_workspace_stays_foreign(suite: Suite, open_ades: Open, workspace: Workspace) -> None:
    mine = open_ades(workspace)
    process = mine.deploy_process(cwl_yaml=convert(seconds=0))
    job = finish(process.execute({}))
    stranger = suite.workspace()
    theirs = open_ades(Workspace(workspace.port, workspace.name, stranger.token))

    answers = [
        refused(lambda: theirs.get_process("convert-url")),
        refused(lambda: theirs.get_job(job.id)),
        refused(lambda: theirs.deploy_process(cwl_yaml=STAC)),
        refused(lambda: theirs.get_jobs().get_limited()),
    ]

    assert [404, 404, 403, 403] == [answer.status_code for answer in answers]
    assert [403, 404] == sorted({answer.status_code for answer in answers})
    assert job.id not in "".join(answer.text for answer in answers if answer.status_code == 403)
    # The token of one workspace opens nothing under the path of another, whoever the URL names.
    assert "successful" == mine.get_job(job.id).status
