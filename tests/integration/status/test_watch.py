"""Following a job: what a watcher sees, and what it never misses."""

import asyncio
from datetime import timedelta
from typing import Any

import grpc.aio
import orjson
import pytest

from services.shared.errors import Unavailable
from services.status.tail import ROOM
from tests.integration.status.records import Records
from tests.integration.status.serving import Status
from tests.support.rpc import bearer, error_info
from workflow_runner.v1.job_pb2 import Job, JobEvent
from workflow_runner.v1.status_service_pb2 import WatchJobRequest


async def collect(stream: Any) -> tuple[list[Job], list[JobEvent]]:
    jobs: list[Job] = []
    events: list[JobEvent] = []
    async for message in stream:
        if message.HasField("job"):
            jobs.append(message.job)
        events += message.events
    return jobs, events


def sequences(events: list[JobEvent]) -> list[int]:
    return [event.sequence for event in events]


async def test_a_watcher_sees_everything_until_the_job_ends(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    stream = status.stub.WatchJob(WatchJobRequest(name=f"workspaces/ada/jobs/{job_id}"), metadata=status.as_user())
    first = await anext(aiter(stream))

    await records.step(job_id, "tile")
    await records.event(job_id, "progress", {"progress": 40})
    await records.step(job_id, "tile", "successful", 0)
    await records.move(job_id, "successful")
    jobs, events = await collect(stream)

    assert first.job.state == Job.State.running
    assert [1, 2, 3, 4, 5, 6] == sequences(events)
    assert events[3].details["progress"] == 40
    assert Job.State.successful == jobs[-1].state
    assert ["tile"] == [step.step for step in jobs[-1].steps]


async def test_a_watcher_that_comes_back_sees_the_rest_and_nothing_twice(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    await records.event(job_id, "progress", {"progress": 10})
    request = WatchJobRequest(name=f"workspaces/ada/jobs/{job_id}", after_sequence=2)
    stream = status.stub.WatchJob(request, metadata=status.as_user())
    await anext(aiter(stream))

    await records.move(job_id, "successful")
    _, events = await collect(stream)

    assert [3, 4] == sequences(events)


async def test_an_ended_job_is_told_at_once_and_the_stream_ends(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="successful")
    name = f"workspaces/ada/jobs/{job_id}"

    jobs, events = await collect(status.stub.WatchJob(WatchJobRequest(name=name), metadata=status.as_user()))
    later = WatchJobRequest(name=name, after_sequence=3)
    jobs_later, events_later = await collect(status.stub.WatchJob(later, metadata=status.as_user()))

    assert [1, 2, 3] == sequences(events)
    assert Job.State.successful == jobs[-1].state
    assert [] == events_later
    assert Job.State.successful == jobs_later[-1].state


async def test_a_foreign_job_looks_like_one_that_does_not_exist(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job()
    missing = f"workspaces/ada/jobs/{str(job_id)[:-4]}0000"
    stranger = status.as_user("mallory", user="mallory")
    refusals = []
    for name, metadata in ((f"workspaces/ada/jobs/{job_id}", stranger), (missing, stranger)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await status.stub.WatchJob(WatchJobRequest(name=name), metadata=metadata).read()
        refusals.append(refused.value)

    assert ["NO_SUCH_JOB", "NO_SUCH_JOB"] == [error_info(refusal).reason for refusal in refusals]
    assert refusals[0].details().replace(str(job_id), "") == refusals[1].details().replace(missing.split("/")[-1], "")


async def test_over_rest_the_events_are_an_event_stream(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    await records.event(job_id, "progress", {"progress": 25})
    path = f"/workspaces/ada/jobs/{job_id}/events"
    stream = status.stub.WatchJob(
        WatchJobRequest(name=f"workspaces/ada/jobs/{job_id}"), metadata=status.over_rest(path, last_event_id="2")
    )
    await records.move(job_id, "successful")

    messages = [message async for message in stream]
    text = b"".join(message.sse.data for message in messages).decode()
    blocks = [block.split("\n") for block in text.split("\n\n") if block and not block.startswith(":")]

    assert {"text/event-stream"} == {message.sse.content_type for message in messages}
    assert ["event: job", "id: 3", "id: 4", "event: end"] == [block[0] for block in blocks]
    assert ["event: progress", "event: state"] == [blocks[1][1], blocks[2][1]]
    assert {"progress": 25} == orjson.loads(blocks[1][2].removeprefix("data: "))["details"]
    end = orjson.loads(blocks[3][1].removeprefix("data: "))
    assert ("successful", str(job_id)) == (end["status"], end["jobID"])
    assert f"https://runner.example/workspaces/ada/jobs/{job_id}" in [link["href"] for link in end["links"]]
    assert not any(message.HasField("job") or message.events for message in messages)


async def test_a_silent_stream_over_rest_shows_that_it_is_alive(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job()
    stream = status.stub.WatchJob(
        WatchJobRequest(name=f"workspaces/ada/jobs/{job_id}"), metadata=status.over_rest("/events")
    )

    pieces = [(await anext(aiter(stream))).sse.data for _ in range(3)]
    stream.cancel()

    assert pieces[0].startswith(b"event: job")
    assert pieces[1].startswith(b"id: 1")
    assert pieces[2].startswith(b":")


async def test_a_malformed_last_event_id_is_refused(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job()
    for header in ("x", "-1", "1.5", "99999999999"):
        stream = status.stub.WatchJob(
            WatchJobRequest(name=f"workspaces/ada/jobs/{job_id}"),
            metadata=status.over_rest("/events", last_event_id=header),
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(stream))
        assert "INVALID_HEADER" == error_info(refused.value).reason


async def test_a_number_from_before_a_restore_does_not_hide_what_comes(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    request = WatchJobRequest(name=f"workspaces/ada/jobs/{job_id}", after_sequence=500)
    stream = status.stub.WatchJob(request, metadata=status.as_user())
    await anext(aiter(stream))

    await records.move(job_id, "failed")
    _, events = await collect(stream)

    assert [3] == sequences(events)


async def test_a_stream_ends_with_its_token(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job()
    token = status.tokens.user("ada", lifetime=timedelta(seconds=1))
    stream = status.stub.WatchJob(WatchJobRequest(name=f"workspaces/ada/jobs/{job_id}"), metadata=bearer(token))

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await collect(stream)

    assert "TOKEN_EXPIRED" == error_info(refused.value).reason


async def test_a_service_that_is_stopped_ends_its_streams(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job()
    stream = status.stub.WatchJob(
        WatchJobRequest(name=f"workspaces/ada/jobs/{job_id}"), metadata=status.over_rest("/events")
    )
    await anext(aiter(stream))

    status.tail.close()
    data: list[bytes] = []
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _keep(stream, data)

    assert "SHUTTING_DOWN" == error_info(refused.value).reason
    assert data[-1].startswith(b"event: problem\ndata: {")


async def test_a_burst_that_no_queue_holds_is_read_from_the_table(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    streams = [
        status.stub.WatchJob(WatchJobRequest(name=f"workspaces/ada/jobs/{job_id}"), metadata=status.as_user())
        for _ in range(3)
    ]
    for stream in streams:
        await anext(aiter(stream))

    await records.execute(
        """
        WITH counted AS (UPDATE jobs SET sequence = 1000 WHERE job_id = $1)
        INSERT INTO job_events (job_id, sequence, kind, details)
        SELECT $1, sequence, 'log', json_build_object('step', 'tile', 'size', sequence)
        FROM generate_series(3, 1000) AS sequence
        """,
        job_id,
    )
    await records.move(job_id, "successful")
    seen = [await collect(stream) for stream in streams]

    for jobs, events in seen:
        assert list(range(1, 1002)) == sequences(events)
        assert Job.State.successful == jobs[-1].state


async def test_a_watcher_that_does_not_read_loses_nothing(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    stream = status.stub.WatchJob(WatchJobRequest(name=f"workspaces/ada/jobs/{job_id}"), metadata=status.as_user())
    await anext(aiter(stream))
    padding = "x" * 10_000

    for number in range(ROOM * 2):
        await records.event(job_id, "log", {"step": padding, "size": number})
    await records.move(job_id, "successful")
    jobs, events = await collect(stream)

    assert list(range(1, ROOM * 2 + 4)) == sequences(events)
    assert Job.State.successful == jobs[-1].state


async def test_nobody_watches_after_the_watchers_have_gone(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job()
    streams = [
        status.stub.WatchJob(WatchJobRequest(name=f"workspaces/ada/jobs/{job_id}"), metadata=status.as_user())
        for _ in range(5)
    ]
    for stream in streams:
        await anext(aiter(stream))

    for stream in streams:
        stream.cancel()
    async with asyncio.timeout(5):
        while status.tail.watched:
            await asyncio.sleep(0.02)

    assert not await status.tail.step()


async def test_a_tail_that_is_closed_ends_the_watches_that_come_later(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job()
    status.tail.close()

    async with status.tail.subscribe(job_id) as subscription:
        with pytest.raises(Unavailable):
            await subscription.take(timedelta(seconds=1))


async def _keep(stream: Any, data: list[bytes]) -> None:
    async for message in stream:
        data.append(message.sse.data)


async def test_many_watchers_of_one_job_all_see_its_end(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    name = f"workspaces/ada/jobs/{job_id}"
    begun = asyncio.Semaphore(0)

    async def watch() -> str:
        stream = status.stub.WatchJob(WatchJobRequest(name=name), metadata=status.as_user())
        states = []
        async for message in stream:
            begun.release()
            states += [Job.State.Name(message.job.state)] if message.HasField("job") else []
        return states[-1]

    watching = [asyncio.create_task(watch()) for _ in range(300)]
    for _ in watching:
        await begun.acquire()
    await records.move(job_id, "successful")
    while not all(task.done() for task in watching):
        await status.tail.step()
        await asyncio.sleep(0.01)

    assert ["successful"] * 300 == [task.result() for task in watching]
