"""Intervals of time as the parameter `datetime` spells them (OGC API - Processes 1.0, `datetime-definition`)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.shared.errors import InvalidArgument
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_QUERY_PARAMETER

MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII
)
OPEN = ("", "..")


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
            if first is not None and last is not None and first >= last:
                raise _invalid("the interval ends before it begins")
            return Interval(first, last)
    raise _invalid("there is more than one slash")


def _parse_moment(text: str) -> tuple[datetime, datetime]:
    match = MOMENT.fullmatch(text)
    if match is None:
        raise _invalid("a moment is written like 2026-01-31T12:00:00Z, an interval like 2026-01-01T00:00:00Z/..")
    *fields, fraction, sign, hours, minutes = match.groups()
    digits = (fraction or "")[:6]
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        local = datetime(*(int(field) for field in fields), tzinfo=UTC)  # type: ignore[arg-type, misc]
        start = local.replace(microsecond=int(digits.ljust(6, "0"))) + (offset if sign == "-" else -offset)
        return start, start + timedelta(microseconds=10 ** (6 - len(digits)))
    except (ValueError, OverflowError) as error:
        raise _invalid("there is no such day or time") from error


def _invalid(why: str) -> InvalidArgument:
    return InvalidArgument(
        ERROR_REASON_INVALID_QUERY_PARAMETER,
        "The parameter {parameter} cannot be read: {why}.",
        parameter="datetime",
        why=why,
    )
