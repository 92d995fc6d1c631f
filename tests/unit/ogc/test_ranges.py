"""Ranges of bytes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ogc.ranges import parse_range
from services.shared.errors import InvalidArgument

SIZES = st.integers(0, 2**40)


@given(SIZES, st.integers(0, 2**41), st.integers(0, 2**41))
def test_a_range_is_the_part_of_it_that_is_there(size: int, first: int, last: int) -> None:
    header = f"bytes={first}-{last}"
    if last < first:
        assert parse_range(header, size) is None
    elif first >= size:
        with pytest.raises(InvalidArgument) as refused:
            parse_range(header, size)
        assert (416, f"bytes */{size}") == (refused.value.http_status, refused.value.headers["content-range"])
    else:
        part = parse_range(header, size)
        assert part is not None
        assert (first, min(last + 1, size)) == (part.start, part.end)
        assert f"bytes {first}-{min(last, size - 1)}/{size}" == part.content_range


@given(st.integers(1, 2**40), st.integers(1, 2**41))
def test_a_suffix_is_the_end_and_at_most_all(size: int, length: int) -> None:
    part = parse_range(f"bytes=-{length}", size)

    assert part is not None
    assert (max(0, size - length), size) == (part.start, part.end)


@given(st.integers(1, 2**40), st.data())
def test_an_open_range_goes_to_the_end(size: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, size - 1))

    part = parse_range(f"bytes={first}-", size)

    assert part is not None
    assert (first, size) == (part.start, part.end)


@given(st.text(max_size=40) | st.text(alphabet="bytes=-0123456789, ", max_size=60), SIZES)
def test_whatever_else_means_the_whole_and_nothing_breaks(header: str, size: int) -> None:
    with suppress(InvalidArgument):
        part = parse_range(header, size)
        assert part is None or 0 <= part.start < part.end <= size


@pytest.mark.parametrize("header", [None, "", "bytes=-", "bytes=0-1,3-4", "items=0-1", f"bytes=0-{'9' * 5000}"])
def test_the_whole_is_answered_to_what_is_no_single_range(header: str | None) -> None:
    assert parse_range(header, 100) is None
