"""Every requirement that is declared is shown by a test, and the page says which."""

from pathlib import Path

import pytest

from services.ogc.landing import CONFORMANCE
from tests.conformance_table import CLASSES, requirements, shown, table

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


@pytest.mark.parametrize("requirement", requirements())
def test_every_requirement_has_a_test(requirement: str) -> None:
    assert shown().get(requirement)


def test_no_test_shows_a_requirement_that_there_is_not() -> None:
    assert set() == shown().keys() - requirements().keys()


def test_the_classes_of_the_table_are_those_that_are_declared() -> None:
    declared = {uri.rpartition("/")[2] for uri in CONFORMANCE if "ogcapi-processes" in uri}

    assert CLASSES.keys() == declared


def test_the_page_is_fresh() -> None:
    """`python -m tests.conformance_table > docs/conformance.md` writes it anew."""
    assert table() == PAGE.read_text()
