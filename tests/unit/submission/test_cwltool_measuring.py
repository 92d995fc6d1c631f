"""What a run has written, counted as the disk and the object store hold it."""

import mmap
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.submission.backends.cwltool import measuring
from services.submission.backends.cwltool.excess import Excess
from services.submission.backends.cwltool.journal import Journal
from services.submission.backends.cwltool.measuring import Allowance, Meter, stored_beyond
from services.submission.backends.cwltool.reading import ALL_CUT_OFF, Cursor, read_on

MIB = 1 << 20
ROOMY = Allowance(bytes=1000 * MIB, files=10_000)


def measured(box: Path, allowed: Allowance = ROOMY, *, first: int | None = None) -> tuple[Excess | None, int]:
    meter = Meter(box.parent, allowed, first=first)
    return meter.measure(), meter.written.bytes


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Path]:
    for name in ("box", "box/inputs", "box/logs"):
        (tmp_path / name).mkdir()
    yield tmp_path / "box"
    # Python, and so pytest, cannot remove directories that are nested deep.
    subprocess.run(["rm", "-rf", tmp_path / "box"], check=True)


def test_bytes_are_counted_as_the_disk_holds_them(box: Path) -> None:
    empty = measured(box)[1]
    (box / "dense").write_bytes(bytes(2 * MIB))
    with (box / "sparse").open("wb") as sparse:
        sparse.truncate(500 * MIB)
    for number in range(10):
        os.link(box / "dense", box / f"link-{number}")
    (box / "inputs" / "image").write_bytes(bytes(20 * MIB))

    excess, found = measured(box)

    assert excess is None
    assert 2 * MIB <= found - empty < 3 * MIB


def test_what_is_set_aside_without_a_length_counts(box: Path) -> None:
    with (box / "set aside").open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, 8 * MIB)
        except OSError:
            pytest.skip("this file system sets nothing aside")
        status = os.fstat(file.fileno())
    assert status.st_blocks * 512 >= 8 * MIB
    assert Excess.bytes == measured(box, Allowance(bytes=4 * MIB, files=100))[0]


def test_a_log_counts_with_its_length(box: Path) -> None:
    for number in range(3):
        with (box / "logs" / f"s{number}.log").open("wb") as log:
            log.truncate(80 * MIB)

    assert (None, True) == (measured(box)[0], measured(box)[1] >= 3 * 64 * MIB)
    assert Excess.bytes == measured(box, Allowance(bytes=100 * MIB, files=100))[0]


def test_files_without_a_name_count_while_they_are_open_or_mapped(box: Path) -> None:
    (box / "opened").write_bytes(bytes(3 * MIB))
    (box / "mapped").write_bytes(bytes(4 * MIB))
    opened = (box / "opened").open("rb")
    with (box / "mapped").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 4 * MIB, prot=mmap.PROT_READ)
    (box / "opened").unlink()
    (box / "mapped").unlink()
    try:
        assert measured(box)[1] < MIB
        assert measured(box, first=os.getpid())[1] >= 7 * MIB
        assert Excess.bytes == measured(box, Allowance(bytes=6 * MIB, files=100), first=os.getpid())[0]
    finally:
        opened.close()
        mapped.close()


def test_too_many_files_are_told_from_too_many_bytes(box: Path) -> None:
    for number in range(60):
        (box / f"f{number}").touch()

    assert Excess.files == measured(box, Allowance(bytes=1000 * MIB, files=50))[0]


def test_directories_that_are_nested_too_deep_are_told_as_that(box: Path) -> None:
    here = os.open(box, os.O_RDONLY)
    try:
        for _ in range(measuring.DEEPEST + 200):
            os.mkdir("d" * 40, dir_fd=here)
            inner = os.open("d" * 40, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
    finally:
        os.close(here)

    assert Excess.depth == measured(box)[0]


def test_a_file_of_ours_that_the_run_makes_grow_counts(box: Path) -> None:
    (box.parent / "engine.log").write_bytes(bytes(5 * MIB))

    assert Excess.bytes == measured(box, Allowance(bytes=4 * MIB, files=100))[0]


def test_a_fast_writer_is_measured_before_the_rest_is_over(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [1000 * MIB, 5000]
    monkeypatch.setattr(measuring, "free_room", lambda _: tuple(free))
    meter = Meter(box.parent, Allowance(bytes=10 * MIB, files=100), first=None)
    (box / "big").write_bytes(bytes(11 * MIB))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 0.2)

    assert meter.look() is None
    free[0] -= 11 * MIB
    assert Excess.bytes == meter.look()

    many = Meter(box.parent, Allowance(bytes=100 * MIB, files=100), first=None)
    for number in range(101):
        (box / f"f{number}").touch()
    now += 0.2
    assert many.look() is None
    free[1] -= 101
    assert Excess.files == many.look()


def test_an_output_counts_with_its_length_once_for_each_copy(box: Path) -> None:
    dense, sparse = box / "dense", box / "sparse"
    dense.write_bytes(bytes(MIB))
    with sparse.open("wb") as file:
        file.truncate(10 * MIB)

    def file_of(path: Path, **more: object) -> dict[str, object]:
        return {"class": "File", "location": path.as_uri(), **more}

    assert 0 == stored_beyond({"a": file_of(dense), "n": 7, "none": None})
    assert MIB == stored_beyond({"a": file_of(dense), "b": [file_of(dense)]})
    assert 10 * MIB == stored_beyond({"a": {"r": file_of(sparse)}})
    assert 11 * MIB == stored_beyond(
        {"a": file_of(dense, secondaryFiles=[file_of(sparse)]), "d": file_of(dense)},
    )
    assert 10 * MIB == stored_beyond({"d": {"class": "Directory", "location": box.as_uri()}})


def test_the_logs_of_a_job_are_cut_off_together(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1)
    for step in ("one", "two", "three"):
        journal.begin(step)
        with journal.open_log(step) as log:
            log.write(step[:1].encode() * 600)
        journal.end(step, "successful", 0)
    cursor = Cursor()
    logs: dict[str, bytes] = {}
    drained = False
    while not drained:
        piece = read_on(tmp_path, cursor, final=True, most_logs=1000)
        for chunk in piece.logs:
            assert len(logs.get(chunk.step, b"")) == chunk.offset
            logs[chunk.step] = logs.get(chunk.step, b"") + chunk.data
        drained = piece.drained

    assert {"one": b"o" * 600, "two": b"t" * 400 + ALL_CUT_OFF, "three": ALL_CUT_OFF} == logs


def test_on_a_disk_that_is_nearly_full_the_largest_run_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "free_room", lambda _: (5 * MIB, 1000))
    meters = {}
    for name, size in (("one", 1), ("two", 3), ("three", 2)):
        (tmp_path / name / "box").mkdir(parents=True)
        (tmp_path / name / "box" / "f").write_bytes(bytes(size * MIB))
        meters[name] = Meter(tmp_path / name, ROOMY, first=None, reserve_bytes=10 * MIB)
        meters[name].measure()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1)

    assert {"one": None, "two": Excess.disk, "three": None} == {name: meter.look() for name, meter in meters.items()}

    (tmp_path / "two" / "verdict.json").write_text('{"excess": "disk"}')
    now += 1
    assert [None, None] == [meters["one"].look(), meters["three"].look()]
    os.utime(tmp_path / "two" / "verdict.json", (0, 0))
    now += 1
    assert [None, Excess.disk] == [meters["one"].look(), meters["three"].look()]
