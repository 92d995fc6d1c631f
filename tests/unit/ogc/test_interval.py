"""Intervals of time as a query spells them."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ogc.interval import FIRST, LAST, Interval, parse_interval
from services.shared.errors import InvalidArgument

OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=OFFSETS)  # noqa: DTZ001 - the bounds are naive
MICROSECOND = timedelta(microseconds=1)


def spelled(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


@given(MOMENTS)
def test_a_moment_is_found_whatever_its_offset(moment: datetime) -> None:
    assert Interval(moment.astimezone(UTC), moment.astimezone(UTC) + MICROSECOND) == parse_interval(spelled(moment))


@given(MOMENTS, st.integers(0, 6))
def test_a_moment_lasts_as_long_as_its_last_digit(moment: datetime, digits: int) -> None:
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{moment.microsecond:06d}"[:digits]

    interval = parse_interval(f"{text}.{fraction}Z" if digits else f"{text}Z")

    assert interval.start is not None
    assert interval.end is not None
    assert interval.start <= moment < interval.end
    assert timedelta(seconds=1) / 10**digits == interval.end - interval.start


@given(MOMENTS, MOMENTS)
def test_both_ends_belong_to_an_interval_and_a_reversed_one_is_refused(one: datetime, other: datetime) -> None:
    start, end = sorted((one, other))

    assert Interval(start.astimezone(UTC), end.astimezone(UTC) + MICROSECOND) == parse_interval(
        f"{spelled(start)}/{spelled(end)}"
    )
    if start != end:
        with pytest.raises(InvalidArgument):
            parse_interval(f"{spelled(end)}/{spelled(start)}")


@given(MOMENTS, st.sampled_from(["", ".."]))
def test_an_end_may_be_open(moment: datetime, end: str) -> None:
    first = moment.astimezone(UTC)

    assert Interval(first, None) == parse_interval(f"{spelled(moment)}/{end}")
    assert Interval(None, first + MICROSECOND) == parse_interval(f"{end}/{spelled(moment)}")


@given(st.text(max_size=60) | st.text(alphabet="0123456789-:TZ/.+", max_size=60))
def test_whatever_else_is_refused_and_nothing_breaks(text: str) -> None:
    with suppress(InvalidArgument):
        parse_interval(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "/",
        "../..",
        "../",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00+24:00",
        "0000-02-30T00:00:00Z",
        "0000-00-01T00:00:00Z",
        "2016-12-31T23:58:60Z",
        "2016-12-30T23:59:60Z",
        "2016-12-31T23:59:60+01:00",
        "2016-12-31T23:59:61Z",
        "2026-01-01T00:00:00Z/2026-01-02T00:00:00Z/2026-01-03T00:00:00Z",
        "٢٠٢٦-01-01T00:00:00Z",
        " 2026-01-01T00:00:00Z",
    ],
)
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_interval(text)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("../9999-12-31T23:59:59Z", None, LAST),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), LAST),
        ("2026-01-01T00:00:00Z/9999-12-31T23:59:59-05:00", datetime(2026, 1, 1, tzinfo=UTC), LAST),
        ("9999-12-31T23:59:59-05:00/9999-12-31T23:59:59-01:00", LAST, LAST),
        ("0001-01-01T00:00:00Z/..", FIRST, None),
        ("0001-01-01T00:00:00+01:00/..", FIRST, None),
        ("0000-01-01T00:00:00Z/..", FIRST, None),
        ("0000-02-29T00:00:00Z/9999-12-31T23:59:59.999999999999Z", FIRST, LAST),
        (
            "2016-12-31T23:59:60Z",
            datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC),
            datetime(2017, 1, 1, tzinfo=UTC),
        ),
        (
            "../2016-12-31T18:59:60.5-05:00",
            None,
            datetime(2016, 12, 31, 23, 59, 59, 600_000, tzinfo=UTC),
        ),
    ],
)
def test_the_ends_of_time_and_leap_seconds_are_moments(text: str, start: datetime | None, end: datetime | None) -> None:
    assert Interval(start, end) == parse_interval(text)
