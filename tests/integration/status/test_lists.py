"""Lists of processes and jobs: filters, pages, and what the policy lets through."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import grpc
import grpc.aio
import pytest

from services.access.policy import ListFilter
from services.shared.postgres import Database
from services.status.jobs import JobFilter, JobListStore, page_query
from tests.integration.status.records import Records
from tests.integration.status.serving import Status
from tests.support.rpc import bearer, error_info
from workflow_runner.v1.status_service_pb2 import ListJobsRequest, ListProcessesRequest

EVERYTHING = ListFilter(everything=True, workspaces=(), subject=None, visibilities=(), groups=())


async def listed(status: Status, metadata: Any = None, **wanted: Any) -> list[str]:
    request = ListJobsRequest(**{"parent": "workspaces/ada", "page_size": 1000, **wanted})
    answer = await status.stub.ListJobs(request, metadata=metadata or status.as_user())
    return [job.job_id for job in answer.jobs]


def ids(*jobs: UUID) -> list[str]:
    return [str(job_id) for job_id in jobs]


async def test_jobs_come_newest_first_in_pages_that_hold_each_job_once(status: Status, records: Records) -> None:
    await records.process()
    jobs = [await records.job() for _ in range(25)]
    found, token, pages = [], "", 0

    while token or not pages:
        request = ListJobsRequest(parent="workspaces/ada", page_size=10, page_token=token)
        page = await status.stub.ListJobs(request, metadata=status.as_user())
        found += [job.job_id for job in page.jobs]
        token, pages = page.next_page_token, pages + 1
        # A job that comes while somebody pages is on no later page.
        await records.job()

    assert ids(*reversed(jobs)) == found
    assert 3 == pages


async def test_without_a_limit_a_page_has_ten_jobs(status: Status, records: Records) -> None:
    await records.process()
    for _ in range(12):
        await records.job()

    page = await status.stub.ListJobs(ListJobsRequest(parent="workspaces/ada"), metadata=status.as_user())

    assert 10 == len(page.jobs)
    assert page.next_page_token
    assert not page.links


async def test_an_empty_list_is_empty(status: Status) -> None:
    assert [] == await listed(status)


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_below_one_is_refused(status: Status, limit: int) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await listed(status, page_size=limit)

    assert "INVALID_REQUEST" == error_info(refused.value).reason


async def test_filters_hold_together(status: Status, records: Records) -> None:
    await records.process("one")
    await records.process("two")
    running = await records.job(process_id="one", state="running")
    failed = await records.job(process_id="one", state="failed")
    other = await records.job(process_id="two", state="running")

    assert ids(other, running) == await listed(status, states=["running"])
    assert ids(other, failed, running) == await listed(status, states=["running,failed"])
    assert ids(other, failed, running) == await listed(status, states=["running", "failed"])
    assert ids(failed, running) == await listed(status, process_ids=["one"])
    assert ids(other, failed, running) == await listed(status, process_ids=["one,two"], types=["process"])
    assert ids(failed) == await listed(status, process_ids=["one"], states=["failed"])
    assert [] == await listed(status, process_ids=["three"])


async def test_jobs_are_found_by_when_they_were_accepted(status: Status, records: Records) -> None:
    await records.process()
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    first, second, third = [await records.job(created=noon + timedelta(seconds=seconds)) for seconds in (0, 60.25, 120)]

    assert ids(third, second, first) == await listed(status, datetime="2026-05-01T12:00:00Z/2026-05-01T12:02:00Z")
    assert ids(second) == await listed(status, datetime="2026-05-01T12:01:00Z")
    assert ids(second) == await listed(status, datetime="2026-05-01T14:01:00.25+02:00")
    assert [] == await listed(status, datetime="2026-05-01T12:01:00.2Z/2026-05-01T12:01:00.20Z")
    assert ids(second, first) == await listed(status, datetime="../2026-05-01T12:01:59Z")
    assert ids(third, second) == await listed(status, datetime="2026-05-01T12:00:01Z/")


async def test_jobs_are_found_by_how_long_they_took(status: Status, records: Records) -> None:
    await records.process()
    await records.job(state="accepted")
    await records.job(state="dismissed")
    short = await records.job(state="successful", lasted=timedelta(seconds=5))
    long = await records.job(state="failed", lasted=timedelta(seconds=500))
    running = await records.job(state="running", lasted=timedelta(seconds=60))

    assert ids(running, long) == await listed(status, min_duration=30)
    assert ids(running, short) == await listed(status, max_duration=100)
    assert ids(running) == await listed(status, min_duration=30, max_duration=100)
    assert ids(short) == await listed(status, max_duration=5)
    # A job that has not begun has no duration, whatever state is asked for.
    assert [] == await listed(status, min_duration=0, states=["accepted"])


@pytest.mark.parametrize(
    ("parameter", "wanted"),
    [
        ("datetime", {"datetime": "2026-05-02T00:00:00Z/2026-05-01T00:00:00Z"}),
        ("datetime", {"datetime": "yesterday"}),
        ("datetime", {"datetime": "../.."}),
        ("datetime", {"datetime": "2026-02-30T00:00:00Z"}),
        ("status", {"states": ["queued"]}),
        ("type", {"types": ["service"]}),
        ("processID", {"process_ids": ["../x"]}),
        ("processID", {"process_ids": ["a\x00b"]}),
    ],
)
async def test_a_filter_that_cannot_be_read_is_refused(status: Status, parameter: str, wanted: dict[str, Any]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await listed(status, **wanted)

    info = error_info(refused.value)
    assert ("INVALID_QUERY_PARAMETER", parameter) == (info.reason, info.metadata["parameter"])


async def test_a_page_token_opens_only_the_list_it_was_made_for(status: Status, records: Records) -> None:
    await records.process()
    for _ in range(3):
        await records.job(state="running")
    first = ListJobsRequest(parent="workspaces/ada", page_size=1, states=["running"])
    token = (await status.stub.ListJobs(first, metadata=status.as_user())).next_page_token
    wrong = [
        {"page_token": token},
        {"page_token": token, "states": ["failed"]},
        {"page_token": token, "states": ["running"], "parent": "workspaces/grace"},
        {"page_token": token + "A", "states": ["running"]},
        {"page_token": token[:-2] + "zz", "states": ["running"]},
        {"page_token": "not a token", "states": ["running"]},
        {"page_token": "../../etc", "states": ["running"]},
    ]
    metadata = bearer(status.tokens.user("ada", "operator"))

    for wanted in wrong:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await listed(status, metadata, **wanted)
        assert "INVALID_PAGE_TOKEN" == error_info(refused.value).reason


async def test_a_member_sees_the_jobs_of_its_workspace(status: Status, records: Records) -> None:
    await records.process(visibility="public")
    mine = await records.job(owner="someone")
    foreign = await records.job(calling_workspace="grace", owner="grace")
    await records.process("elsewhere", workspace="grace")
    await records.job(workspace="grace", process_id="elsewhere")

    assert ids(mine) == await listed(status)
    assert ids(foreign, mine) == await listed(status, bearer(status.tokens.user("x", "operator")))


async def test_each_condition_of_the_policys_filter_shows_its_jobs_and_no_others(
    reading: Database, records: Records
) -> None:
    await records.process()
    await records.process("service", visibility="user_service")
    await records.process("service", workspace="grace", visibility="user_service")
    by_workspace = await records.job(calling_workspace="third", owner="x")
    by_owner = await records.job(calling_workspace="fourth", owner="ada")
    by_visibility = await records.job(process_id="service", calling_workspace="fourth", owner="x")
    gone = await records.job(process_id="service", calling_workspace="fourth", owner="x")
    await records.execute("UPDATE jobs SET process_id = 'gone' WHERE job_id = $1", gone)
    await records.job(workspace="grace", process_id="service", calling_workspace="third", owner="ada")
    store = JobListStore(reading)

    async def shown(**conditions: Any) -> list[UUID]:
        nothing: dict[str, Any] = {
            "everything": False,
            "workspaces": (),
            "subject": None,
            "visibilities": (),
            "groups": ("third",),
        }
        visible = ListFilter(**(nothing | conditions))
        return [job.job_id for job in await store.page(JobFilter(workspace="ada"), visible, after=None, size=100)]

    assert [] == await shown()
    assert [by_workspace] == await shown(workspaces=("third", "fifth"))
    assert [by_owner] == await shown(subject="ada")
    assert [by_visibility] == await shown(visibilities=("user-service", "public"))
    assert [by_visibility, by_owner, by_workspace] == await shown(
        workspaces=("third",), subject="ada", visibilities=("user-service",)
    )
    assert [gone, by_visibility, by_owner, by_workspace] == await shown(everything=True)


async def test_the_owner_of_a_user_service_sees_what_others_ran_on_it(status: Status, records: Records) -> None:
    await records.process(visibility="user_service")
    await records.process("public", visibility="public")
    foreign = await records.job(calling_workspace="grace", owner="grace")
    await records.job(process_id="public", calling_workspace="grace", owner="grace")

    assert ids(foreign) == await listed(status)
    assert [] == await listed(status, bearer(status.tokens.user("ada", "viewer", user="eve")))


async def test_a_stranger_lists_no_jobs(status: Status) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await listed(status, status.as_user("mallory", user="mallory"))

    assert "ACTION_NOT_ALLOWED" == error_info(refused.value).reason


async def test_over_rest_a_page_links_to_itself_and_to_the_next(status: Status, records: Records) -> None:
    await records.process()
    jobs = [await records.job(state="running") for _ in range(3)]
    path = "/workspaces/ada/jobs?limit=2&status=running%2Cfailed&datetime=2020-01-01T00:00:00+00:00/.."
    request = ListJobsRequest(
        parent="workspaces/ada", page_size=2, states=["running,failed"], datetime="2020-01-01T00:00:00+00:00/.."
    )

    page = await status.stub.ListJobs(request, metadata=status.over_rest(path))
    links = {link.rel: link.href for link in page.links}
    request.page_token = dict(parse_qsl(urlsplit(links["next"]).query))["pageToken"]
    last = await status.stub.ListJobs(request, metadata=status.over_rest(links["next"]))

    assert f"https://runner.example{path}" == links["self"]
    assert links["next"].startswith(f"https://runner.example{path}&pageToken=")
    assert ids(jobs[0]) == [job.job_id for job in last.jobs]
    assert ["self", "prev", "alternate"] == [link.rel for link in last.links]
    assert 1 == last.links[0].href.count("pageToken=")


async def test_pages_of_jobs_come_from_an_index(reading: Database, records: Records) -> None:
    await records.process()
    await records.process("rare")
    await records.execute(
        """
        INSERT INTO jobs (
            job_id, workspace, process_id, revision_id, calling_workspace, owner, state, request, start_time, end_time
        )
        SELECT gen_random_uuid(), w.workspace, process_id, revision_id, w.workspace, 'ada', 'successful', '{}', now(),
            now()
        FROM processes, generate_series(1, 2500),
            (VALUES ('ada'), ('grace')) AS w (workspace)
        WHERE process_id = 'sample'
        """
    )
    rare = await records.job(process_id="rare", state="failed")
    await records.execute("ANALYZE jobs")
    member = ListFilter(everything=False, workspaces=("ada",), subject="ada", visibilities=(), groups=())
    owner = ListFilter(everything=False, workspaces=("ada",), subject="ada", visibilities=("user-service",), groups=())
    wanted = [
        JobFilter(workspace="ada"),
        JobFilter(workspace="ada", states=("running",)),
        JobFilter(workspace="ada", states=("failed", "running")),
        JobFilter(workspace="ada", process_ids=("rare",)),
        JobFilter(workspace="ada", datetime="../2020-01-01T00:00:00Z"),
        JobFilter(workspace="nobody"),
    ]

    for visible in (EVERYTHING, member, owner):
        for one in wanted:
            for after in (None, rare):
                statement, values = page_query(one, visible, after=after, size=11)
                rows = await reading.fetch(f"EXPLAIN {statement}", *values)
                plan = "\n".join(row["QUERY PLAN"] for row in rows)
                assert "Seq Scan on jobs" not in plan, (one, plan)


async def processes(status: Status, metadata: Any = None, workspace: str = "ada") -> list[str]:
    request = ListProcessesRequest(parent=f"workspaces/{workspace}")
    answer = await status.stub.ListProcesses(request, metadata=metadata or status.as_user())
    return [process.process_id for process in answer.processes]


async def test_a_list_of_processes_holds_what_is_deployed_and_what_is_built_in(
    status: Status, records: Records
) -> None:
    await records.process("echo", workspace="*", visibility="public", backend="builtin")
    await records.process("zonal")
    await records.process("alpha")
    await records.process("elsewhere", workspace="grace")

    assert ["alpha", "echo", "zonal"] == await processes(status)
    assert ["echo"] == await processes(status, workspace="other")


async def test_others_see_the_processes_that_are_shared_with_them(status: Status, records: Records) -> None:
    await records.process("private")
    await records.process("public", visibility="public")
    await records.process("service", visibility="user_service")
    await records.process("shared", visibility="shared", shared_workspaces=["grace"])
    await records.process("stale", visibility="private", shared_workspaces=["grace"])
    await records.process("withheld", visibility="shared", shared_workspaces=["third"], shared_groups=["/floods"])

    assert ["public", "service", "shared"] == await processes(status, status.as_user("grace", user="grace"))
    assert ["public", "service"] == await processes(status, status.as_user("mallory", user="mallory"))


async def test_processes_come_in_pages_by_id(status: Status, records: Records) -> None:
    for number in range(7):
        await records.process(f"process-{number}")
    request = ListProcessesRequest(parent="workspaces/ada", page_size=3)
    path = "/workspaces/ada/processes?limit=3"
    found = []

    for _ in range(3):
        page = await status.stub.ListProcesses(request, metadata=status.over_rest(path))
        found.append([process.process_id[-1] for process in page.processes])
        request.page_token = page.next_page_token

    assert [["0", "1", "2"], ["3", "4", "5"], ["6"]] == found
    assert ["self", "alternate"] == [link.rel for link in page.links]
    assert "self" in [link.rel for link in page.processes[0].links]
