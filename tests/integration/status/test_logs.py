"""Logs: byte for byte, from anywhere, and as they grow."""

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import grpc.aio
import pytest

from services.records.artifacts import ArtifactStore, joined_log_part, log_part
from services.shared.errors import Unavailable
from services.status import logs
from tests.integration.status.records import Records
from tests.integration.status.serving import Status
from tests.support.rpc import bearer, error_info
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_STORE_UNAVAILABLE
from workflow_runner.v1.job_pb2 import JobStep
from workflow_runner.v1.status_service_pb2 import ListLogsRequest, ReadLogRequest


@pytest.fixture(autouse=True)
def _short_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "SETTLE", timedelta(milliseconds=200))


def read(status: Status, job_id: object, step: str = "tile", **wanted: Any) -> Any:
    request = ReadLogRequest(name=f"workspaces/ada/jobs/{job_id}", step=step, **wanted)
    return status.stub.ReadLog(request, metadata=status.as_user())


async def text_of(call: Any) -> bytes:
    return b"".join([body.data async for body in call])


async def test_a_log_is_read_as_it_was_written(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    await records.step(job_id, "tile")
    for part in (b"one\n", b"\xff\xfe not UTF-8\n", b"x" * 3_000_000, b"end\n"):
        await records.log(job_id, "tile", part)
    whole = b"one\n\xff\xfe not UTF-8\n" + b"x" * 3_000_000 + b"end\n"

    bodies = [body async for body in read(status, job_id)]

    assert {"text/plain; charset=utf-8"} == {body.content_type for body in bodies}
    assert whole == b"".join(body.data for body in bodies)
    assert max(len(body.data) for body in bodies) <= 1024 * 1024
    for offset in (1, 4, 10, 1_500_000, len(whole) - 1, len(whole), len(whole) + 5):
        assert whole[offset:] == await text_of(read(status, job_id, offset=offset))


async def test_a_part_that_was_stored_again_after_a_crash_counts_once(
    status: Status, records: Records, artifacts: ArtifactStore
) -> None:
    await records.process()
    job_id = await records.job(state="running")
    await records.step(job_id, "tile")
    await records.log(job_id, "tile", b"0123")
    folder = f"jobs/ada/{job_id}/"
    # Stored, and the service died before it was recorded; then it came again, with more.
    await artifacts.put(log_part(folder, "tile", 4), b"45")

    before = await text_of(read(status, job_id))
    await records.log(job_id, "tile", b"456789")

    assert b"0123" == before
    assert b"0123456789" == await text_of(read(status, job_id))
    assert b"6789" == await text_of(read(status, job_id, offset=6))


async def test_parts_that_were_joined_are_read_as_they_were_written(
    status: Status, records: Records, artifacts: ArtifactStore
) -> None:
    await records.process()
    job_id = await records.job(state="running")
    await records.step(job_id, "tile")
    for part in (b"0123", b"456", b"789"):
        await records.log(job_id, "tile", part)
    folder = f"jobs/ada/{job_id}/"
    await artifacts.put(joined_log_part(folder, "tile", 0, 7), b"0123456")
    await artifacts.delete([log_part(folder, "tile", place) for place in (0, 4)])

    for offset in range(11):
        assert b"0123456789"[offset:] == await text_of(read(status, job_id, offset=offset))


async def test_logs_are_listed_in_the_order_of_the_steps(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    for step in ("tile", "merge_2", "outer.inner"):
        await records.step(job_id, step)
    await records.log(job_id, "merge_2", b"12345")
    await records.step(job_id, "tile", "failed", 3)

    path = f"/workspaces/ada/jobs/{job_id}/logs"
    answer = await status.stub.ListLogs(
        ListLogsRequest(parent=f"workspaces/ada/jobs/{job_id}"), metadata=status.over_rest(path)
    )

    assert [("tile", 0), ("merge_2", 5), ("outer.inner", 0)] == [(log.step, log.size_bytes) for log in answer.logs]
    assert JobStep.State.failed == answer.logs[0].state
    assert f"https://runner.example{path}/merge_2" == answer.logs[1].links[0].href


STEPS = ["ä", "ö", "a b", "a%20b", "a+b (1)", "日" * 66, "~", "a..b"]


async def test_steps_of_any_name_have_logs_of_their_own(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    for step in STEPS:
        await records.step(job_id, step)
        await records.log(job_id, step, step.encode())
    path = f"/workspaces/ada/jobs/{job_id}/logs"

    answer = await status.stub.ListLogs(
        ListLogsRequest(parent=f"workspaces/ada/jobs/{job_id}"), metadata=status.over_rest(path)
    )

    assert STEPS == [log.step for log in answer.logs]
    places = [log.links[0].href.rpartition("/")[2] for log in answer.logs]
    assert STEPS == [unquote(place) for place in places]
    assert all(place.isascii() for place in places)
    assert [step.encode() for step in STEPS] == [await text_of(read(status, job_id, step)) for step in STEPS]


@pytest.mark.parametrize("step", ["nothing", "..", "a/b", "../../../etc/passwd", "a\x00b", "tile/", "x" * 200])
@pytest.mark.parametrize("follow", [False, True])
async def test_a_log_that_does_not_exist_is_refused(status: Status, records: Records, step: str, follow: bool) -> None:
    await records.process()
    job_id = await records.job(state="successful")
    await records.step(job_id, "tile")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await text_of(read(status, job_id, step, follow=follow))

    assert "NO_SUCH_LOG" == error_info(refused.value).reason


async def test_following_goes_on_until_the_job_ends(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    # The step has not begun when the follower comes.
    following = asyncio.create_task(text_of(read(status, job_id, follow=True)))
    written = b""

    await records.step(job_id, "tile")
    for number in range(20):
        line = f"line {number}\n".encode() * 50
        written += line
        await records.log(job_id, "tile", line)
        await records.step(job_id, f"other-{number}")
    await records.move(job_id, "successful")

    async with asyncio.timeout(5):
        assert written == await following


async def test_following_ends_with_the_step(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    await records.step(job_id, "tile")
    following = asyncio.create_task(text_of(read(status, job_id, follow=True)))
    await records.log(job_id, "tile", b"first\n")

    await records.step(job_id, "tile", "successful", 0)
    # What a backend hands over after it told that the step has ended.
    await records.log(job_id, "tile", b"last\n")

    async with asyncio.timeout(5):
        assert b"first\nlast\n" == await following


async def test_following_a_step_that_never_begins_ends_with_the_job(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    call = read(status, job_id, follow=True)
    begun = await anext(aiter(call))

    await records.move(job_id, "failed")

    assert b"" == begun.data
    async with asyncio.timeout(5):
        assert b"" == await text_of(call)


async def test_following_ends_when_the_job_is_removed(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    await records.step(job_id, "tile")
    call = read(status, job_id, follow=True)
    await anext(aiter(call))

    await records.execute("DELETE FROM jobs WHERE job_id = $1", job_id)

    async with asyncio.timeout(5):
        assert b"" == await text_of(call)


async def test_a_follower_waits_for_a_store_that_is_away(
    status: Status, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "RETRY", timedelta(milliseconds=50))
    await records.process()
    job_id = await records.job(state="running")
    await records.step(job_id, "tile")
    await records.log(job_id, "tile", b"first\n")
    call = read(status, job_id, follow=True)
    first = (await anext(aiter(call))).data
    content = ArtifactStore.read
    failures: list[str] = []

    def away(store: ArtifactStore, key: str, *span: int) -> Any:
        if len(failures) < 3:
            failures.append(key)
            raise Unavailable(ERROR_REASON_STORE_UNAVAILABLE, "The object store cannot be reached.")
        return content(store, key, *span)

    monkeypatch.setattr(ArtifactStore, "read", away)
    await records.log(job_id, "tile", b"second\n")
    await records.move(job_id, "successful")

    async with asyncio.timeout(10):
        assert b"first\nsecond\n" == first + await text_of(call)
    assert 3 == len(failures)


async def test_following_ends_with_the_token(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    await records.step(job_id, "tile")
    request = ReadLogRequest(name=f"workspaces/ada/jobs/{job_id}", step="tile", follow=True)
    token = status.tokens.user("ada", lifetime=timedelta(seconds=1))

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await text_of(status.stub.ReadLog(request, metadata=bearer(token)))

    assert "TOKEN_EXPIRED" == error_info(refused.value).reason
