"""What the hooks note during a run."""

from pathlib import Path

import pytest
from cwltool.errors import WorkflowException

from services.submission.backends import FailureReason
from services.submission.backends.cwltool.journal import Journal
from services.submission.backends.cwltool.report import Report


def make(directory: Path, count: int) -> str:
    (directory / "inner").mkdir(parents=True)
    for number in range(count - 1):
        (directory / "inner" / str(number)).touch()
    return str(directory)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(journal=Journal(tmp_path, 1), cores=1, memory_mib=64, limits_steps=False, allowed_files=10)


def test_files_of_all_steps_count_together_and_temporary_ones_while_they_are_there(
    report: Report, tmp_path: Path
) -> None:
    for step in ("a", "b"):
        report.count_files(step, make(tmp_path / step, 4), make(tmp_path / f"{step}-tmp", 2), 0)
    assert [] == report.failures

    with pytest.raises(WorkflowException):
        report.count_files("c", make(tmp_path / "c", 2), make(tmp_path / "c-tmp", 1), 0)

    (failure,) = report.failures
    assert (FailureReason.OUTPUT_LIMIT_EXCEEDED, "c", 0) == (failure.reason, failure.step, failure.exit_code)
    assert "made more than 10 files and directories" in failure.message
