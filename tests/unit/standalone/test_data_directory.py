"""The data directory: one owner at a time, sockets with short names."""

import stat
from pathlib import Path

import pytest

from services.standalone.directory import DataDirectory
from services.standalone.logs import LogFollower
from services.standalone.refusals import CannotStart


def test_a_new_directory_is_closed_to_others(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "deep" / "new")

    directory.create()

    assert 0o700 == stat.S_IMODE(directory.path.stat().st_mode)


def test_a_directory_that_cannot_be_made_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(CannotStart, match=r"The data directory .*/file/new cannot be made: Not a directory\."):
        DataDirectory(tmp_path / "file" / "new").create()


def test_a_second_instance_is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)

    with directory.locked(), pytest.raises(CannotStart, match=r"already up on .* \(process \d+\)"), directory.locked():
        pass

    with directory.locked():
        pass


def test_what_a_killed_instance_left_among_the_sockets_is_gone(tmp_path: Path) -> None:
    left = tmp_path / "run" / "submission.sock"
    left.parent.mkdir()
    left.write_text("")

    with DataDirectory(tmp_path).run_directory() as run:
        assert [] == list(run.iterdir())


def test_sockets_below_a_long_name_get_a_short_one(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 30)
    path.mkdir()

    with DataDirectory(path).run_directory() as first:
        first_name = first
        assert len(str(first)) < 75
        assert first == (path / "run").readlink()

    assert not first_name.exists()


def test_the_short_directory_of_a_killed_instance_is_removed(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 30)
    path.mkdir()
    killed = DataDirectory(path).run_directory()
    left = killed.__enter__()

    with DataDirectory(path).run_directory():
        assert not left.exists()


def test_only_warnings_are_shown_unless_everything_is_asked_for(tmp_path: Path) -> None:
    shown: list[str] = []
    log = tmp_path / "status.log"
    log.write_text("from before\n")
    follower = LogFollower(tmp_path, tell=shown.append, everything=False)

    with log.open("a") as file:
        file.write('{"level": "info", "message": "Serving."}\n')
        file.write('{"level": "warning", "message": "The database is away.", "attempt": 2}\n')
        file.write("2026-01-01 [error] [http] broken\n")
        file.write('{"level": "error", "message": "half a li')
    follower.look()

    assert ["status: The database is away. attempt=2", "status: 2026-01-01 [error] [http] broken"] == shown


def test_a_log_that_grows_too_large_is_turned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.standalone.logs.SIZE_LIMIT_BYTES", 10)
    follower = LogFollower(tmp_path, tell=lambda _: None, everything=False)
    (tmp_path / "envoy.log").write_text("0123456789abc\n")

    follower.look()

    assert "" == (tmp_path / "envoy.log").read_text()
    assert "0123456789abc\n" == (tmp_path / "envoy.log.1").read_text()
