"""Reading what a run left ends, and one look at it is small, whatever lies there."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.submission.backends import FailureReason, RunState, StepEvent
from services.submission.backends.cwltool import journal, reading
from services.submission.backends.cwltool.conclusion import observe

MOST_LOOKS = 1000


def drain(box: Path) -> list[tuple[StepEvent, ...]]:
    """Reads an ended run to its end, and gives the steps of each look."""
    cursor, looks = reading.Cursor(), []
    while True:
        piece = reading.read_on(box, cursor, final=True)
        looks.append(piece.steps)
        assert len(looks) < MOST_LOOKS, "the run is not drained"
        assert len(piece.steps) <= reading.CHANGES_AT_ONCE
        assert len(piece.logs) <= reading.STEPS_AT_ONCE
        cursor = reading.Cursor.parse(str(cursor))
        if piece.drained:
            return looks


def note(box: Path, *events: Mapping[str, object]) -> None:
    (box / journal.EVENTS).write_text("".join(json.dumps(event) + "\n" for event in events))


def test_a_sparse_journal_without_end_is_read_to_an_end(tmp_path: Path) -> None:
    note(tmp_path, {"step": "a", "state": "running"})
    with (tmp_path / journal.EVENTS).open("ab") as file:
        file.truncate(1 << 40)

    looks = drain(tmp_path)

    assert [("a", "running"), ("a", "failed")] == [(event.step, event.state) for look in looks for event in look]


def test_a_flood_of_steps_is_read_in_small_looks(tmp_path: Path) -> None:
    note(tmp_path, *({"step": f"s{number}", "state": "running"} for number in range(20_000)))

    steps = [event for look in drain(tmp_path) for event in look]

    # Those that are shown begin and end.
    assert 2 * reading.MOST_OPEN_STEPS == len(steps)
    assert list(range(1, len(steps) + 1)) == [event.sequence for event in steps]


def test_an_honest_scatter_is_shown_whole(tmp_path: Path) -> None:
    events = [{"step": f"s{number}", "state": state} for number in range(3000) for state in ("running", "successful")]
    note(tmp_path, *events)

    steps = [event for look in drain(tmp_path) for event in look]

    assert [(event["step"], event["state"]) for event in events] == [(event.step, event.state) for event in steps]


def test_every_step_has_its_turn_to_show_its_log(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(reading.STEPS_AT_ONCE + 50)]
    note(tmp_path, *({"step": name, "state": "running"} for name in names))
    (tmp_path / journal.LOGS).mkdir()
    cursor, shown = reading.Cursor(), set()

    for _ in range(3):
        for name in names:
            with (tmp_path / journal.LOGS / f"{name}.log").open("a") as log:
                log.write("line\n")
        shown |= {chunk.step for chunk in reading.read_on(tmp_path, cursor, final=False).logs}

    assert set(names) == shown


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z", "never", "", 7, None]
)
def test_a_step_has_a_moment_that_can_be_kept(tmp_path: Path, time: object) -> None:
    note(tmp_path, {"step": "a", "state": "running", "time": time})

    ((step, *_),) = drain(tmp_path)

    assert step.time.astimezone(UTC) <= datetime.now(UTC)


@pytest.mark.parametrize("verdict", ["", "null", "[]", "{}", '{"exit_code"'])
def test_a_run_whose_end_cannot_be_read_is_lost(tmp_path: Path, verdict: str) -> None:
    (tmp_path / "verdict.json").write_text(verdict)

    seen = observe(tmp_path, reading.Cursor())

    assert RunState.lost is seen.state
    assert seen.failure is not None
    assert FailureReason.BACKEND_LOST_JOB is seen.failure.reason


@pytest.mark.parametrize("plan", ["", "[]", "{}", '{"name": "x"}'])
def test_a_run_whose_plan_cannot_be_read_is_lost(tmp_path: Path, plan: str) -> None:
    (tmp_path / "verdict.json").write_text('{"exit_code": 1}')
    (tmp_path / "plan.json").write_text(plan)

    assert RunState.lost is observe(tmp_path, reading.Cursor()).state


@pytest.mark.parametrize("text", ["[]", "7", "{"])
def test_a_cursor_that_none_has_made_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        reading.Cursor.parse(text)


def test_a_cursor_of_another_release_is_understood() -> None:
    assert reading.Cursor(events=7) == reading.Cursor.parse('{"events": 7, "unknown": true}')
