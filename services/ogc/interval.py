"""Intervals of time as the parameter `datetime` spells them (OGC API - Processes 1.0, `datetime-definition`)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.shared.errors import InvalidArgument
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_QUERY_PARAMETER

MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII
)
OPEN = ("", "..")
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
"""What is earlier or later is taken for these: no job was accepted there."""
LEAP_SECOND = 60


@dataclass(frozen=True)
class Interval:
    """A span of time; an end that is None is open."""

    start: datetime | None
    """The first moment inside."""
    end: datetime | None
    """The first moment after it."""


def parse_interval(text: str) -> Interval:
    """Reads a moment of RFC 3339, or `start/end` of which one may be empty or `..`.

    A moment lasts as long as its last digit: `12:00:00Z` is that whole second, so that what people write finds what the
    database keeps by the microsecond. Both ends belong to an interval. Raises INVALID_QUERY_PARAMETER.
    """
    match text.split("/"):
        case [moment]:
            return Interval(*_parse_moment(moment))
        case [start, end] if start in OPEN and end in OPEN:
            raise _invalid("at least one end of the interval has to be a moment")
        case [start, end]:
            first = None if start in OPEN else _parse_moment(start)[0]
            last = None if end in OPEN else _parse_moment(end)[1]
            if first is not None and last is not None and first >= last != LAST:
                raise _invalid("the interval ends before it begins")
            return Interval(first, last)
    raise _invalid("there is more than one slash")


def _parse_moment(text: str) -> tuple[datetime, datetime]:
    match = MOMENT.fullmatch(text)
    if match is None:
        raise _invalid("a moment is written like 2026-01-31T12:00:00Z, an interval like 2026-01-01T00:00:00Z/..")
    *fields, fraction, sign, hours, minutes = match.groups()
    year, month, day, hour, minute, second = map(int, fields)
    digits = (fraction or "")[:6]
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        # A clock that knows no leap second stays in the one before it. The year 0 has the days of the year 2000.
        whole = second - 1 if second == LEAP_SECOND else second
        local = datetime(year or 2000, month, day, hour, minute, whole, tzinfo=UTC)
    except ValueError as error:
        raise _invalid("there is no such day or time") from error
    start = _moved(
        local.replace(microsecond=int(digits.ljust(6, "0"))) if year else FIRST,
        offset if sign == "-" else -offset,
    )
    if second == LEAP_SECOND and not _ends_month(start):
        raise _invalid("a leap second ends the last minute of a month in UTC")
    return start, _moved(start, timedelta(microseconds=10 ** (6 - len(digits))))


def _moved(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return FIRST if by < timedelta(0) else LAST


def _ends_month(moment: datetime) -> bool:
    return (moment.hour, moment.minute) == (23, 59) and _moved(moment, timedelta(minutes=1)).day == 1


def _invalid(why: str) -> InvalidArgument:
    return InvalidArgument(
        ERROR_REASON_INVALID_QUERY_PARAMETER,
        "The parameter {parameter} cannot be read: {why}.",
        parameter="datetime",
        why=why,
    )
