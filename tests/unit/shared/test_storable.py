import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.storable import DEEPEST, Unstorable, readable, storable

TEXT = st.text(st.characters(exclude_categories=()))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_is_storable_is_the_same_after_it_was_written_and_read(value: Any) -> None:
    try:
        kept = storable(value)
    except Unstorable:
        return

    assert kept == orjson.loads(orjson.dumps(kept))
    assert value == kept


@given(JSON)
def test_whatever_json_can_be_written_of_is_storable(value: Any) -> None:
    try:
        written = orjson.dumps(value)
    except TypeError:
        return
    if b"null" in written:
        # What writes JSON here makes null of NaN, which is another value.
        return

    assert value == storable(value)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("Landsat 9\ud83d", ()),
        ({"a": ["b", "\udc00"]}, ("a", 1)),
        ({"a": {"\ud800": 1}}, ("a",)),
        ([1, math.nan], (1,)),
        ({"mean": math.inf}, ("mean",)),
        (2**64, None),
        (2**64 + 1, ()),
        (10**400, ()),
        ({"a": {1: 2}}, ("a",)),
        ({"a": {1, 2}}, ("a",)),
    ],
    ids=str,
)
def test_an_offence_is_told_with_its_place(value: Any, place: tuple[str | int, ...] | None) -> None:
    if place is None:
        assert 2.0**64 == storable(value)
        return

    with pytest.raises(Unstorable) as refusal:
        storable(value)

    assert place == refusal.value.place


def test_an_integer_that_a_double_holds_exactly_becomes_the_double() -> None:
    kept = storable({"area": 100_000_000_000_000_000_000})

    assert {"area": 1e20} == kept
    assert isinstance(kept["area"], float)


def test_a_value_that_nests_too_deep_is_refused() -> None:
    value: Any = 1
    for _ in range(DEEPEST + 1):
        value = [value]

    with pytest.raises(Unstorable, match="nests"):
        storable(value)


def test_text_for_people_keeps_all_that_can_be_kept() -> None:
    assert "a�b�c 東京" == readable("a\0b\ud800c 東京")
