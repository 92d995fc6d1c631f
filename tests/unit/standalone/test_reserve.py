"""The room that is held for the database."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.standalone.reserve import MIB, Reserve


def test_the_room_is_given_up_on_a_full_disk_and_held_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 1000
    told: list[str] = []

    def statvfs(_: object) -> SimpleNamespace:
        return SimpleNamespace(f_frsize=MIB, f_blocks=400, f_bavail=free)

    monkeypatch.setattr(os, "statvfs", statvfs)
    reserve = Reserve(tmp_path / "reserve", tell=told.append)

    reserve.look()
    assert 8 * MIB == (tmp_path / "reserve").stat().st_size
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 8 * MIB
    free = 1
    reserve.look()
    assert [] == list(tmp_path.iterdir())
    assert told[0].startswith("WARNING: the disk of ")
    assert "8 MiB, was given up; make room." in told[0]
    free = 31
    reserve.look()
    assert [] == list(tmp_path.iterdir())
    free = 33
    reserve.look()
    assert ["reserve"] == [path.name for path in tmp_path.iterdir()]
    assert 1 == len(told)


def test_a_disk_that_sets_nothing_aside_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)

    Reserve(tmp_path / "reserve", tell=print).look()

    assert [] == list(tmp_path.iterdir())
