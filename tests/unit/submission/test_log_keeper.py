"""Logs are stored at once, joined into few parts, and read as they were written."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.records.artifacts import ArtifactSettings, ArtifactStore, job_folder, log_prefix
from services.shared.errors import Unavailable
from services.status.logs import log_pieces
from services.submission.backends import LogChunk, Observation, RunState
from services.submission.dispatch.logs import MOST_BYTES, PART_BYTES, LogKeeper
from services.submission.dispatch.queue import Claim
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_STORE_UNAVAILABLE

CLAIM = Claim(
    job_id=UUID(int=1),
    workspace="ada",
    backend="",
    directory="",
    stage="running",
    in_stage=timedelta(0),
    attempt=1,
    fence=1,
    handle="h",
    cursor="",
    failures=0,
    faults=0,
    failing_for=None,
)
FOLDER = job_folder(CLAIM.name)


def seen(*chunks: LogChunk) -> Observation:
    return Observation(
        state=RunState.running,
        progress=None,
        steps=(),
        logs=chunks,
        outputs=None,
        output_root=None,
        failure=None,
        cursor="",
        drained=True,
    )


def chunk(data: bytes, offset: int, step: str = "s") -> LogChunk:
    return LogChunk(step=step, offset=offset, data=data)


def store_at(directory: Path) -> ArtifactStore:
    return ArtifactStore.open(ArtifactSettings(url=directory.as_uri()))


async def read(artifacts: ArtifactStore, start: int, end: int) -> bytes:
    return b"".join([piece async for piece in log_pieces(artifacts, FOLDER, "s", start, end)])


async def test_ten_minutes_of_one_step_are_few_objects(tmp_path: Path) -> None:
    artifacts, time = store_at(tmp_path), [0.0]
    keeper = LogKeeper(artifacts, now=lambda: time[0])
    for number in range(3000):
        await keeper.store(CLAIM, seen(chunk(b"%019d\n" % number, 20 * number)))
        time[0] += 0.2
    await keeper.finish(CLAIM)

    assert len(await artifacts.list(log_prefix(FOLDER, "s"))) <= 70
    assert b"".join(b"%019d\n" % number for number in range(3000)) == await read(artifacts, 0, 60_000)


async def test_a_part_is_full_at_its_size(tmp_path: Path) -> None:
    artifacts = store_at(tmp_path)
    keeper = LogKeeper(artifacts, now=lambda: 0.0)
    quarter = PART_BYTES // 4
    for number in range(8):
        await keeper.store(CLAIM, seen(chunk(b"x" * quarter, number * quarter)))

    assert [PART_BYTES, PART_BYTES] == [part.size for part in await artifacts.list(log_prefix(FOLDER, "s"))]


async def test_what_is_remembered_has_an_end(tmp_path: Path) -> None:
    artifacts = store_at(tmp_path)
    keeper = LogKeeper(artifacts, now=lambda: 0.0)
    steps = [f"s{number}" for number in range(2 * MOST_BYTES // PART_BYTES + 2)]
    for step in steps:
        await keeper.store(CLAIM, seen(chunk(b"x" * (PART_BYTES // 2), 0, step)))
    for step in steps:
        await keeper.store(CLAIM, seen(chunk(b"y", PART_BYTES // 2, step)))
    await keeper.finish(CLAIM)

    counts = [len(await artifacts.list(log_prefix(FOLDER, step))) for step in steps]
    assert {1, 2} == set(counts)


async def test_logs_of_a_job_are_joined_while_another_takes_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = store_at(tmp_path)
    keeper = LogKeeper(artifacts, now=lambda: 0.0)
    steps = ("a", "b", "c")
    for step in steps:
        await keeper.store(CLAIM, seen(chunk(b"one", 0, step), chunk(b"two", 3, step)))
    put, large = artifacts.put, b"x" * (PART_BYTES // 2)
    other = replace(CLAIM, job_id=UUID(int=2))
    flood = [chunk(large, 0, f"s{number}") for number in range(2 * MOST_BYTES // PART_BYTES + 2)]

    async def interrupted(key: str, content: bytes) -> None:
        chunks = tuple(flood)
        flood.clear()
        await keeper.store(other, seen(*chunks))
        await put(key, content)

    monkeypatch.setattr(artifacts, "put", interrupted)
    await keeper.finish(CLAIM)

    assert [1, 1, 1] == [len(await artifacts.list(log_prefix(FOLDER, step))) for step in steps]


async def test_a_log_is_whole_though_its_parts_cannot_be_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = store_at(tmp_path)
    keeper = LogKeeper(artifacts, now=lambda: 0.0)
    await keeper.store(CLAIM, seen(chunk(b"one", 0), chunk(b"two", 3)))

    async def away(keys: Sequence[str]) -> None:
        raise Unavailable(ERROR_REASON_STORE_UNAVAILABLE, "away")

    monkeypatch.setattr(artifacts, "delete", away)
    await keeper.finish(CLAIM)

    assert b"onetwo" == await read(artifacts, 0, 6)


@settings(max_examples=60, deadline=None)
@given(
    looks=st.lists(
        st.tuples(st.binary(min_size=1, max_size=9), st.sampled_from(["", "again", "later", "restart", "finish"])),
        min_size=1,
        max_size=12,
    ),
    data=st.data(),
)
async def test_a_log_is_read_from_anywhere_at_any_time(looks: list[tuple[bytes, str]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        artifacts, time, log = store_at(Path(directory)), [0.0], b""
        keeper = LogKeeper(artifacts, now=lambda: time[0])
        for piece, then in looks:
            look = seen(chunk(piece, len(log)))
            log += piece
            assert {"s": len(log)} == await keeper.store(CLAIM, look)
            match then:
                case "again":
                    await keeper.store(CLAIM, look)
                case "later":
                    time[0] += 20
                case "restart":
                    keeper = LogKeeper(artifacts, now=lambda: time[0])
                case "finish":
                    await keeper.finish(CLAIM)
            start = data.draw(st.integers(0, len(log)))
            end = data.draw(st.integers(start, len(log)))
            assert log[start:end] == await read(artifacts, start, end)
