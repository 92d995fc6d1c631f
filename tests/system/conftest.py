"""Installations for the tests of the whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running import Running, scratch


@pytest.fixture
def short_path() -> Iterator[Path]:
    with scratch() as directory:
        yield directory


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """An installation of the module's own, up from an empty directory."""
    with scratch() as directory:
        running = Running(directory / "data")
        try:
            yield running
        finally:
            running.stop()
