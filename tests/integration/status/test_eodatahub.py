"""Under the paths of the EO DataHub, status answers as its clients expect; everywhere else it does not."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import grpc.aio
import orjson
import pystac
import pytest

from tests.integration.status.records import Records
from tests.integration.status.serving import Status
from tests.support.rpc import bearer, error_info, over_rest
from workflow_runner.v1.status_service_pb2 import (
    GetJobRequest,
    GetResultsRequest,
    ListJobsRequest,
    ListJobsResponse,
    ListProcessesRequest,
)

ALIAS = "/api/catalogue/stac/catalogs/user/catalogs/ada"
BASE = f"https://runner.example{ALIAS}"
ITEM: dict[str, Any] = {
    "type": "Feature",
    "stac_version": "1.0.0",
    "id": "scene",
    "geometry": {"type": "Point", "coordinates": [1.0, 2.0]},
    "bbox": [1.0, 2.0, 3.0, 4.0],
    "properties": {"datetime": "2026-03-01T00:00:00Z"},
    "links": [],
    "assets": {},
}


def under(status: Status, path: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call that came by an alias; `path` is what the edge made of it."""
    return status.over_rest(path, x_workflow_runner_alias=ALIAS)


async def page(status: Status, query: str = "", **wanted: Any) -> ListJobsResponse:
    request = ListJobsRequest(parent="workspaces/ada", **wanted)
    answer: ListJobsResponse = await status.stub.ListJobs(
        request, metadata=under(status, f"/workspaces/ada/jobs?{query}")
    )
    return answer


def links(message: Any) -> dict[str, str]:
    return {link.rel: link.href for link in message.links}


async def test_pages_are_counted_and_tell_how_many_there_are(status: Status, records: Records) -> None:
    await records.process()
    jobs = [str(await records.job()) for _ in range(25)][::-1]

    first = await page(status, "limit=10", page_size=10)
    second = await page(status, "limit=10&skip=10", page_size=10, skip=10)
    last = await page(status, "limit=10&skip=20", page_size=10, skip=20)

    assert jobs == [job.job_id for one in (first, second, last) for job in one.jobs]
    assert [25, 25, 25] == [one.number_total for one in (first, second, last)]
    assert {"self": f"{BASE}/jobs", "next": f"{BASE}/jobs?limit=10&skip=10"} == links(first)
    assert f"{BASE}/jobs?limit=10&skip=0" == links(second)["prev"]
    assert f"{BASE}/jobs?limit=10&skip=20" == links(second)["next"]
    assert {"self", "prev"} == set(links(last))


async def test_the_neighbors_of_a_page_keep_its_filters(status: Status, records: Records) -> None:
    await records.process()
    for _ in range(3):
        await records.job(state="failed")
    await records.job()

    found = await page(status, "skip=1&status=failed&limit=1", page_size=1, skip=1, states=["failed"])

    assert 3 == found.number_total
    assert f"{BASE}/jobs?status=failed&limit=1&skip=2" == links(found)["next"]
    assert f"{BASE}/jobs?status=failed&limit=1&skip=0" == links(found)["prev"]


async def test_beyond_the_last_page_is_an_empty_one(status: Status, records: Records) -> None:
    await records.process()
    await records.job()

    found = await page(status, "limit=10&skip=100", page_size=10, skip=100)

    assert ([], 1, {"self", "prev"}) == (list(found.jobs), found.number_total, set(links(found)))


async def test_elsewhere_pages_are_not_counted(status: Status, records: Records) -> None:
    await records.process()
    await records.job()
    request = ListJobsRequest(parent="workspaces/ada", skip=0)

    for metadata in (status.as_user(), status.over_rest("/workspaces/ada/jobs?skip=0")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await status.stub.ListJobs(request, metadata=metadata)
        assert "INVALID_QUERY_PARAMETER" == error_info(refused.value).reason
    plain = await status.stub.ListJobs(
        ListJobsRequest(parent="workspaces/ada"), metadata=status.over_rest("/workspaces/ada/jobs")
    )
    assert not plain.HasField("number_total")


async def test_an_accepted_job_shows_as_running(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job()
    request = GetJobRequest(name=f"workspaces/ada/jobs/{job_id}")

    there = await status.stub.GetJob(request, metadata=under(status, f"/workspaces/ada/jobs/{job_id}"))
    listed = await page(status, "status=running", states=["running"])
    here = await status.stub.GetJob(request, metadata=status.over_rest(f"/workspaces/ada/jobs/{job_id}"))

    assert ("running", there.create_time) == (there.State.Name(there.state), there.start_time)
    assert [str(job_id)] == [job.job_id for job in listed.jobs]
    assert ("accepted", False) == (here.State.Name(here.state), here.HasField("start_time"))
    assert f"{BASE}/jobs/{job_id}" == links(there)["monitor"]


async def test_a_job_that_ended_links_to_the_log_of_each_step(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    await records.step(job_id, "main.crop_2")
    request = GetJobRequest(name=f"workspaces/ada/jobs/{job_id}")
    metadata = under(status, f"/workspaces/ada/jobs/{job_id}")

    running = await status.stub.GetJob(request, metadata=metadata)
    await records.move(job_id, "failed")
    ended = await status.stub.GetJob(request, metadata=metadata)

    def logs(job: Any) -> list[tuple[str, str, str]]:
        return [(link.rel, link.href, link.title) for link in job.links if link.type == "text/plain"]

    assert [] == logs(running)
    expected = ("related", f"{BASE}/jobs/{job_id}/main.crop_2.log", "Tool log main.crop_2.log")
    assert [expected] == logs(ended)


async def test_a_list_of_processes_says_why_each_is_there(status: Status, records: Records) -> None:
    await records.process("echo", workspace="*", visibility="public", backend="builtin")
    await records.process("mine")
    await records.process("service", workspace="grace", visibility="user_service")
    await records.process("open", workspace="grace", visibility="public")

    async def reasons(workspace: str) -> dict[str, str]:
        answer = await status.stub.ListProcesses(
            ListProcessesRequest(parent=f"workspaces/{workspace}"),
            metadata=under(status, f"/workspaces/{workspace}/processes"),
        )
        return {process.process_id: process.access_reasoning for process in answer.processes}

    assert {"echo": "Workflow is public", "mine": "Workspace owns this workflow"} == await reasons("ada")
    assert {
        "echo": "Workflow is public",
        "open": "Workflow is public",
        "service": "Workflow is a user-service",
    } == await reasons("grace")
    plain = await status.stub.ListProcesses(
        ListProcessesRequest(parent="workspaces/ada"), metadata=status.over_rest("/workspaces/ada/processes")
    )
    assert not any(process.HasField("access_reasoning") for process in plain.processes)


async def left(records: Records, files: dict[str, Any]) -> UUID:
    """A job whose output `stac` is a folder with these documents."""
    await records.process()
    job_id = await records.job(state="running")
    listing = []
    for path, document in files.items():
        content = document if isinstance(document, bytes) else orjson.dumps(document)
        await records.file(job_id, "stac", path, content)
        listing.append({"path": path, "size": len(content), "media_type": "application/json"})
    folder = {"prefix": f"jobs/ada/{job_id}/outputs/stac/", "files": listing}
    await records.results(job_id, {"count": {"value": 1}, "stac": {"directory": folder}})
    return job_id


async def results(status: Status, job_id: UUID) -> tuple[str, Any]:
    call = status.stub.GetResults(
        GetResultsRequest(name=f"workspaces/ada/jobs/{job_id}"),
        metadata=under(status, f"/workspaces/ada/jobs/{job_id}/results"),
    )
    bodies = [body async for body in call]
    return bodies[0].content_type, orjson.loads(b"".join(body.data for body in bodies))


def catalog(**links: list[str]) -> dict[str, Any]:
    listed = [{"rel": rel, "href": href} for rel, hrefs in links.items() for href in hrefs]
    return {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "c", "links": listed}


async def test_a_catalog_becomes_a_collection_of_its_items(status: Status, records: Records) -> None:
    inner = catalog(item=["./b/b%20c.json", "../../../etc/passwd", "https://elsewhere.example/x.json"], child=["/"])
    job_id = await left(
        records,
        {
            "catalog.json": catalog(item=["a.json", "gone.json"], child=["sub/catalog.json", "catalog.json"]),
            "sub/catalog.json": inner,
            "a.json": ITEM | {"id": "a"},
            "sub/b/b c.json": ITEM | {"id": "b", "bbox": [-1, 0, 0, 3, 9, 5]},
            "a.tif": b"tiff",
        },
    )

    media_type, document = await results(status, job_id)

    assert "application/json" == media_type
    collection = pystac.Collection.from_dict(document)
    url = f"{BASE}/jobs/{job_id}/results/stac"
    assert [f"{url}/a.json", f"{url}/sub/b/b%20c.json"] == [link.target for link in collection.get_item_links()]
    assert f"{BASE}/jobs/{job_id}/results" == collection.self_href
    assert [[-1, 0, 3, 9]] == collection.extent.spatial.bboxes
    assert "2026-03-01T00:00:00Z" == document["extent"]["temporal"]["interval"][0][0]
    assert {f"{url}/catalog.json"} == {link["href"] for link in document["links"] if link["rel"] in ("root", "parent")}


async def test_the_extent_of_the_one_collection_is_taken(status: Status, records: Records) -> None:
    extent = {"spatial": {"bbox": [[1, 2, 3, 4]]}, "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]}}
    job_id = await left(
        records,
        {
            "catalog.json": catalog(child=["collection.json"]),
            "collection.json": catalog(item=["a.json"]) | {"type": "Collection", "extent": extent},
            "a.json": ITEM,
        },
    )

    _, document = await results(status, job_id)

    assert extent == document["extent"]


@pytest.mark.parametrize(
    "hostile",
    [
        {"bbox": "x", "properties": []},
        {"bbox": [1, 2], "properties": {"datetime": 5}},
        {"bbox": [1, None, True, 4], "properties": {"datetime": "yesterday"}},
        [],
        b"{",
        b"\xff",
        None,
    ],
)
async def test_whatever_an_item_holds_the_collection_is_one(status: Status, records: Records, hostile: Any) -> None:
    job_id = await left(
        records,
        {
            "catalog.json": catalog(item=["a.json"]) | {"extra": [1, {"links": "x"}]},
            "a.json": ITEM | hostile if isinstance(hostile, dict) else hostile,
        },
    )

    _, document = await results(status, job_id)

    assert [[-180, -90, 180, 90]] == pystac.Collection.from_dict(document).extent.spatial.bboxes
    assert 1 == len([link for link in document["links"] if link["rel"] == "item"])


@pytest.mark.parametrize(
    "root",
    [b"", b"[]", b"{}", {"type": "FeatureCollection", "links": []}, b'{"type": "Catalog", "links": [' * 200],
)
async def test_what_is_no_catalog_is_answered_as_a_document(status: Status, records: Records, root: Any) -> None:
    job_id = await left(records, {"catalog.json": root})

    _, document = await results(status, job_id)

    assert {"count", "stac"} == set(document)
    assert f"{BASE}/jobs/{job_id}/results/stac/catalog.json" == document["stac"]["value"]["files"][0]["href"]


@pytest.mark.parametrize("odd", [None, 5, "x", [None, 5, "x", {}, {"href": 5}, {"rel": "item", "href": "http://["}]])
async def test_odd_links_lead_nowhere(status: Status, records: Records, odd: Any) -> None:
    job_id = await left(records, {"catalog.json": catalog() | {"links": odd}})

    _, document = await results(status, job_id)

    assert "Collection" == document["type"]
    assert [] == [link for link in document["links"] if link["rel"] == "item"]


async def test_a_catalog_stays_a_document_elsewhere(status: Status, records: Records) -> None:
    job_id = await left(records, {"catalog.json": catalog()})
    call = status.stub.GetResults(
        GetResultsRequest(name=f"workspaces/ada/jobs/{job_id}"),
        metadata=status.over_rest(f"/workspaces/ada/jobs/{job_id}/results", accept="application/json"),
    )

    document = orjson.loads(b"".join([body.data async for body in call]))

    assert {"count", "stac"} == set(document)


async def test_results_of_a_job_that_failed_say_why(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="failed")

    _, document = await results(status, job_id)

    assert (422, "JOB_FAILED") == (document["status"], document["reason"])
    assert f"{ALIAS}/jobs/{job_id}/results" == document["instance"]


async def test_results_that_are_not_ready_are_refused_as_everywhere(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await results(status, job_id)

    assert "RESULT_NOT_READY" == error_info(refused.value).reason


async def test_from_page_to_page_and_back_over_the_standards_links(status: Status, records: Records) -> None:
    await records.process()
    jobs = [str(await records.job()) for _ in range(25)][::-1]
    seen: list[list[str]] = []
    token = ""

    async def turn() -> ListJobsResponse:
        path = "/workspaces/ada/jobs?limit=10" + (f"&pageToken={token}" if token else "")
        request = ListJobsRequest(parent="workspaces/ada", page_size=10, page_token=token)
        found: ListJobsResponse = await status.stub.ListJobs(request, metadata=status.over_rest(path))
        seen.append([job.job_id for job in found.jobs])
        named = {rel: dict(parse_qsl(urlsplit(href).query)).get("pageToken", "") for rel, href in links(found).items()}
        assert (found.next_page_token, found.prev_page_token) == (named.get("next", ""), named.get("prev", ""))
        return found

    for _ in range(3):
        found = await turn()
        token = found.next_page_token or found.prev_page_token
    assert not found.next_page_token
    for _ in range(2):
        found = await turn()
        token = found.prev_page_token

    assert [jobs[:10], jobs[10:20], jobs[20:], jobs[10:20], jobs[:10]] == seen
    assert (True, False) == (bool(found.next_page_token), bool(found.prev_page_token))


async def test_a_count_sees_what_the_list_sees(status: Status, records: Records) -> None:
    await records.process(visibility="user_service")
    await records.job(calling_workspace="grace", owner="grace")
    await records.job()

    mine = await page(status)
    theirs = await status.stub.ListJobs(
        ListJobsRequest(parent="workspaces/ada"),
        metadata=(
            *bearer(status.tokens.user("ada", "viewer", user="eve")),
            *over_rest("/workspaces/ada/jobs"),
            ("x-workflow-runner-alias", ALIAS),
        ),
    )

    assert (2, 2) == (len(mine.jobs), mine.number_total)
    assert (1, 1) == (len(theirs.jobs), theirs.number_total)
