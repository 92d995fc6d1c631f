"""Reading what a run left, whatever that is; and the small parts that need no run."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cwl_utils.errors import JavascriptException
from hypothesis import given, settings
from hypothesis import strategies as st

from services.submission.backends.cwltool import ASKS_FOR_NETWORK, reading
from services.submission.backends.cwltool.cgroups import CONTROLLERS, Cgroups, Share, find_parents
from services.submission.backends.cwltool.javascript import QuickJs, Watchdog
from services.submission.backends.cwltool.journal import Journal, is_step_name, step_name
from services.submission.backends.cwltool.measuring import LARGEST_LOG
from services.submission.backends.cwltool.supervisor import claim, read_record

BYTES = st.binary(max_size=500)
LINES = st.lists(
    BYTES
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "step", "time"]), inner),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {"state": st.sampled_from(["running", "successful", "failed", "skipped", "odd"]), "step": st.text(max_size=5)},
        optional={"time": st.text(max_size=30), "exit_code": st.integers() | st.text(), "progress": st.integers()},
    ).map(lambda value: json.dumps(value).encode()),
    max_size=12,
)  # fmt: skip


@given(lines=LINES, final=st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_journal_makes_the_reader_fail(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], final: bool
) -> None:
    box = tmp_path_factory.mktemp("box")
    (box / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    cursor = reading.Cursor()

    piece = reading.read_on(box, cursor, final=final)

    assert [event.sequence for event in piece.steps] == list(range(1, len(piece.steps) + 1))
    assert all(is_step_name(event.step) for event in piece.steps)
    assert all(event.time <= datetime.now(UTC) for event in piece.steps)
    assert all(event.exit_code is None or 0 <= event.exit_code <= 255 for event in piece.steps)
    assert 0 <= cursor.progress < 100
    assert reading.Cursor.parse(str(cursor)) == cursor
    if final:
        assert piece.drained
        last = {event.step: event.state for event in piece.steps}
        assert "running" not in last.values()


@given(cuts=st.lists(st.integers(0, 400), max_size=8))
@settings(max_examples=60, deadline=None)
def test_events_read_in_any_pieces_are_the_same_events(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    written = tmp_path_factory.mktemp("box")
    journal = Journal(written, 3)
    for name in ("a", "b", "c"):
        step = journal.name(name)
        journal.begin(step)
        journal.end(step, "successful", 0)
    data = (written / "events.jsonl").read_bytes()
    whole = reading.read_on(written, reading.Cursor(), final=False).steps
    box = tmp_path_factory.mktemp("box")
    found: list[Any] = []
    cursor = ""

    for cut in [*sorted(cuts), len(data)]:
        (box / "events.jsonl").write_bytes(data[:cut])
        place = reading.Cursor.parse(cursor)
        found += reading.read_on(box, place, final=False).steps
        cursor = str(place)

    assert found == list(whole)
    assert reading.Cursor.parse(cursor).progress == 99


@given(st.text())
def test_every_name_has_a_step_name(name: str) -> None:
    assert is_step_name(step_name(name))


@pytest.mark.parametrize("name", ["node_crop", "ä", "日本", "a b", "a:b", "a%2Fb", "1+1=2", "step (1)", "é" * 100])
def test_a_step_keeps_its_name(name: str) -> None:
    assert name == step_name(name)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a/b", "a%2Fb"),
        ("a\nb", "a%0Ab"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("", "main"),
        (" a ", "a"),
        ("\x1b[1m", "%1B[1m"),
    ],
)
def test_what_no_name_holds_is_encoded(name: str, told: str) -> None:
    assert told == step_name(name)


def test_long_names_of_steps_stay_apart(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 3)
    names = [journal.name("ü" * 150 + end) for end in ("a", "b", "a")]

    assert 3 == len(set(names))
    assert names[0] + "_2" == names[2]
    assert all(is_step_name(name) and name.startswith("ü" * 90) for name in names)


def test_the_logs_of_steps_with_unusual_names_stay_apart(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 3)
    wanted = ["ä", "ö", "a b", "a%20b", "日" * 60, "~"]
    for name in wanted:
        step = journal.name(name)
        journal.begin(step)
        with journal.open_log(step) as log:
            log.write(name.encode())

    piece = reading.read_on(tmp_path, reading.Cursor(), final=False)

    assert wanted == [event.step for event in piece.steps]
    assert {name: name.encode() for name in wanted} == {chunk.step: chunk.data for chunk in piece.logs}
    assert ("日" * 60,) == reading.tail(tmp_path, "日" * 60)


JAVASCRIPT = QuickJs(Watchdog(print), lambda: None)


def test_a_log_without_end_is_cut_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1)
    journal.begin("step")
    with journal.open_log("step") as log:
        log.truncate(LARGEST_LOG + 5_000_000)
    cursor, total, last = reading.Cursor(), 0, b""

    for _ in range(70):
        for chunk in reading.read_on(tmp_path, cursor, final=False).logs:
            assert chunk.offset == total
            total, last = total + len(chunk.data), chunk.data
    journal.end("step", "successful", 0)

    assert total == LARGEST_LOG + len(reading.CUT_OFF)
    assert last.endswith(reading.CUT_OFF)
    assert reading.read_on(tmp_path, cursor, final=True).drained


def test_equal_names_are_numbered(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1)

    assert [journal.name(name) for name in ("step", "step", "step_2", "step", "../x")] == [
        "step", "step_2", "step_2_2", "step_3", "..%2Fx",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("1 + 1", 2),
        ("1.5", 1.5),
        ("1e15", 1000000000000000),
        ("'ü' + 'x'", "üx"),
        ("undefined", None),
        ("1 / 0", math.inf),
        ("{a: [1, {b: null}]}", {"a": [1, {"b": None}]}),
        ("{return inputs.x.map(function(y) { return y * 2; });}", [2, 4]),
        ("new Date(0).toISOString()", "1970-01-01T00:00:00.000Z"),
        ("true", True),
    ],
)
def test_an_expression_has_the_value_it_has_in_other_engines(code: str, value: object) -> None:
    assert JAVASCRIPT.eval(code if not code.startswith("{a") else f"({code})", "var inputs = {x: [1, 2]};") == value


def test_an_expression_that_is_no_number_stays_none() -> None:
    value: Any = JAVASCRIPT.eval("0 / 0", "")

    assert math.isnan(value)


@pytest.mark.parametrize("code", ["{while (true) {}}", "{for (var s = 'x';;) s += s;}", "nothing", "{throw 'x';}", "("])
def test_an_expression_that_fails_or_never_ends_raises(code: str) -> None:
    with pytest.raises(JavascriptException):
        JAVASCRIPT.eval(code, timeout=0.3)


def test_one_of_several_claims_holds(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        claims = list(threads.map(lambda number: claim(tmp_path / "claim.json", {"number": number}), range(50)))

    assert claims.count(True) == 1
    assert read_record(tmp_path / "claim.json") == {"number": claims.index(True)}
    assert [path.name for path in tmp_path.iterdir()] == ["claim.json"]


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        (b"cwlVersion: v1.0\n", True),
        (b'{"cwlVersion": "v1.0"}', True),
        (b"cwlVersion: 'v1.0'", True),
        (b"cwlVersion: v1.2\n", False),
        (b"cwlVersion: v1.1\nrequirements: {NetworkAccess: {networkAccess: true}}", True),
        (b'"networkAccess" : true', True),
        (b"networkAccess: $(inputs.online)", True),
        (b"networkAccess:\n    true", True),
        (b"networkAccess: false", False),
        (b"doc: it needs no NetworkAccess", False),
    ],
)
def test_a_package_asks_for_the_network_or_does_not(text: bytes, asks: bool) -> None:
    assert (ASKS_FOR_NETWORK.search(text) is not None) == asks


SHARE = Share(memory_bytes=1 << 30, processes=50, cores=1.5)


def test_groups_of_the_first_version_are_made_below_the_own_ones(tmp_path: Path) -> None:
    points = {name: tmp_path / name for name in CONTROLLERS}
    mounts = "\n".join(f"1 1 0:1 / {path} rw - cgroup cgroup rw,{name}" for name, path in points.items())
    memberships = "4:memory:/own\n3:cpu,cpuacct:/\n2:pids:/\n0::/\n"
    for name in ("memory/own", "cpu", "pids"):
        (tmp_path / name).mkdir(parents=True)

    groups = Cgroups.create("run", SHARE, find_parents(memberships, mounts))

    assert (points["memory"] / "own/run/memory.limit_in_bytes").read_text() == str(1 << 30)
    assert not (points["memory"] / "own/run/memory.memsw.limit_in_bytes").exists()
    assert (points["cpu"] / "run/cpu.cfs_quota_us").read_text() == "150000"
    assert (points["pids"] / "run/pids.max").read_text() == "50"
    assert len(groups.groups) == 3


def test_groups_of_the_second_version_are_one_group(tmp_path: Path) -> None:
    own = tmp_path / "service.scope"
    own.mkdir()
    (own / "cgroup.subtree_control").write_text("cpu memory pids")
    mounts = f"1 1 0:1 / {tmp_path} rw - cgroup2 cgroup2 rw"

    groups = Cgroups.create("run", SHARE, find_parents("0::/service.scope\n", mounts))
    (own / "run" / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")

    assert groups.groups == (own / "run",)
    assert (own / "run" / "memory.max").read_text() == str(1 << 30)
    assert (own / "run" / "cpu.max").read_text() == "150000 100000"
    assert groups.limits_memory
    assert groups.count_out_of_memory() == 2


def test_without_the_right_to_make_groups_there_are_none(tmp_path: Path) -> None:
    mounts = f"1 1 0:1 / {tmp_path}/nowhere rw - cgroup2 cgroup2 rw"

    groups = Cgroups.create("run", SHARE, find_parents("0::/\n", mounts))

    assert groups.groups == ()
    assert not groups.limits_memory


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ("file:///r/box/package.cwl#main/image/tiff", "image/tiff"),
        ("file:///r/box/package.cwl#tool/netcdf", "netcdf"),
        ("http://edamontology.org/format_3752", "http://edamontology.org/format_3752"),
    ],
)
def test_a_format_is_told_as_the_package_names_it(tmp_path: Path, found: str, told: str) -> None:
    (tmp_path / "x").write_text("x")
    output = {"class": "File", "location": (tmp_path / "x").as_uri(), "format": found}

    assert told == reading.check_outputs({"o": output}, tmp_path)["o"]["format"]
