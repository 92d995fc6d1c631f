"""Lists of callbacks: what was told, what waits, what was given up."""

from uuid import UUID

import grpc.aio
import pytest
from uuid_utils.compat import uuid7

from services.shared.postgres import Database
from services.standalone.postgres import DatabaseAddresses
from tests.integration.status.records import Records
from tests.integration.status.serving import Status
from tests.support.rpc import error_info
from workflow_runner.v1.callback_pb2 import Callback
from workflow_runner.v1.status_service_pb2 import ListCallbacksRequest, ListJobCallbacksRequest


async def told(database: DatabaseAddresses, job: UUID, *states: str) -> None:
    async with Database.open(database.submission, application="records") as writing:
        for state in states:
            await writing.execute(
                """
                INSERT INTO callbacks (callback_id, job_id, workspace, kind, uri, destination, state, end_time)
                VALUES ($1, $2, 'ada', 'success', $3, 'eo.example', $4, CASE WHEN $4 <> 'pending' THEN now() END)
                """,
                uuid7(),
                job,
                "https://eo.example:8443/hook?secret=canary",
                state,
            )


async def test_a_job_tells_its_callbacks_without_what_may_be_secret(
    status: Status, records: Records, database: DatabaseAddresses
) -> None:
    await records.process()
    job = await records.job()
    await told(database, job, "delivered", "pending")

    answer = await status.stub.ListJobCallbacks(
        ListJobCallbacksRequest(parent=f"workspaces/ada/jobs/{job}"), metadata=status.as_user()
    )

    assert ["delivered", "pending"] == [Callback.State.Name(callback.state) for callback in answer.callbacks]
    assert "https://eo.example:8443/hook" == answer.callbacks[0].uri
    assert "canary" not in str(answer)
    assert [False, True] == [callback.HasField("due_time") for callback in answer.callbacks]


async def test_dead_letters_of_a_workspace_come_in_pages(
    status: Status, records: Records, database: DatabaseAddresses
) -> None:
    await records.process()
    job = await records.job()
    await told(database, job, *["dead", "delivered"] * 3)
    found, token, pages = [], "", 0
    while token or not pages:
        page = await status.stub.ListCallbacks(
            ListCallbacksRequest(parent="workspaces/ada", states=["dead"], page_size=2, page_token=token),
            metadata=status.as_user(),
        )
        found += [callback.callback_id for callback in page.callbacks]
        token, pages = page.next_page_token, pages + 1

    assert (3, 2) == (len(found), pages)
    assert found == sorted(found, reverse=True)


async def test_callbacks_of_jobs_that_the_caller_may_not_see_are_not_listed(
    status: Status, records: Records, database: DatabaseAddresses
) -> None:
    await records.process()
    job = await records.job(calling_workspace="bob", owner="bob")
    await told(database, job, "dead")

    page = await status.stub.ListCallbacks(ListCallbacksRequest(parent="workspaces/ada"), metadata=status.as_user())

    assert [] == list(page.callbacks)


async def test_a_state_that_is_none_is_refused(status: Status) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await status.stub.ListCallbacks(
            ListCallbacksRequest(parent="workspaces/ada", states=["lost"]), metadata=status.as_user()
        )

    assert "INVALID_QUERY_PARAMETER" == error_info(refused.value).reason
