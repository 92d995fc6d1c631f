"""How much room is left on the disks, and what is refused when it gets scarce."""

import os
from pathlib import Path
from types import SimpleNamespace

import obstore
import pytest
from obstore.store import MemoryStore

from services.records.artifacts import ArtifactStore
from services.shared.errors import Unavailable
from services.shared.space import MIB, RETRY_IN, Space, SpaceSettings, local_path

GIB = 1024 * MIB


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What is free on each disk, in MiB; every one has 100 GiB."""
    room: dict[str, int] = {}

    def statvfs(path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_frsize=MIB, f_blocks=100 * 1024, f_bavail=room.get(str(path), 0))

    monkeypatch.setattr(os, "statvfs", statvfs)
    return room


SPACE = Space({"runs": Path("/r"), "object store": Path("/s")}, SpaceSettings(paths={"database": Path("/d")}))


def test_the_smaller_of_the_two_marks_counts(free: dict[str, int]) -> None:
    assert GIB == SPACE.mark_bytes(Path("/r"))
    assert 5 * GIB == Space({}, SpaceSettings(free_mib=900_000, free_percent=5)).mark_bytes(Path("/r"))
    assert 0 == Space({}, SpaceSettings(free_percent=0)).mark_bytes(Path("/r"))


@pytest.mark.parametrize("place", ["runs", "object store", "database"])
def test_nothing_new_is_taken_while_a_disk_is_nearly_full(free: dict[str, int], place: str) -> None:
    free |= {"/r": 2000, "/s": 2000, "/d": 2000}
    SPACE.require()
    free["/" + {"runs": "r", "object store": "s", "database": "d"}[place]] = 1000

    with pytest.raises(Unavailable) as refusal:
        SPACE.require()

    assert ("STORAGE_FULL", RETRY_IN) == (refusal.value.reason_name, refusal.value.retry_in)
    assert {"place": place, "free_mib": "1000", "mark_mib": "1024"} == refusal.value.metadata
    assert f"({place}) is nearly full: 1000 MiB are free, and below 1024 MiB" in refusal.value.message

    free.update(dict.fromkeys(free, 2000))
    SPACE.require()


def test_outputs_that_do_not_fit_are_refused_before_they_are_stored(free: dict[str, int]) -> None:
    free |= {"/r": 100, "/s": 900, "/d": 2000}
    store = ArtifactStore(MemoryStore(), SPACE)

    store.require_room(300 * MIB)
    with pytest.raises(Unavailable) as refusal:
        store.require_room(400 * MIB)

    assert {"size_mib": "400", "free_mib": "900", "mark_mib": "512"} == refusal.value.metadata


async def test_a_store_without_room_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise obstore.exceptions.GenericError("Unable to copy data to file: No space left on device (os error 28)")

    monkeypatch.setattr(obstore, "put_async", full)

    with pytest.raises(Unavailable) as refusal:
        await ArtifactStore(MemoryStore()).put("a", b"b")

    assert "STORAGE_FULL" == refusal.value.reason_name


def test_only_a_local_store_has_a_disk() -> None:
    assert Path("/a b") == local_path("file:///a%20b")
    assert local_path("s3://bucket/prefix") is None
