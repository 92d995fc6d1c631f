"""What can be kept, and so what may enter: the one rule for values and texts that come from outside.

A value that we keep goes through JSON (RFC 8259) into a `json` column of PostgreSQL, and comes out again for clients
that read JSON in their own languages. So:

* Text is Unicode: half of a character (a lone surrogate) is refused in values and in names of members. NUL is kept
  inside of JSON, which writes it as `\\u0000`; a text column has no place for it.
* A number is a 64-bit integer or a finite double. An integer beyond 64 bits that is exactly a double becomes that
  double, which is the same number; any other is refused. NaN and infinities are no JSON.
* Values nest at most `DEEPEST` levels.
"""

import math
import re
from typing import Any

DEEPEST = 100
LEAST_INTEGER, MOST_INTEGER = -(2**63), 2**64 - 1

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNREADABLE = re.compile("[\0\ud800-\udfff]")

Place = tuple[str | int, ...]


class Unstorable(ValueError):
    """A value that cannot be kept, with the place of the offence."""

    def __init__(self, place: Place, problem: str) -> None:
        super().__init__(problem)
        self.place = place
        """The names of members and the indexes that lead to the offence; empty for the value itself."""
        self.problem = problem
        """A clause that follows the name of the value, such as `is not a number`."""


def storable(value: Any) -> Any:
    """Returns a JSON value as it can be kept: the same, but for integers beyond 64 bits that are doubles.

    Raises Unstorable at the first offence. A value of some MiB takes a second: call it in a thread then.
    """
    return _storable(value, ())


def readable(text: str) -> str:
    """Returns a text for people as a text column can keep it: what it cannot is shown as U+FFFD."""
    return _UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _storable(value: Any, place: Place) -> Any:
    if len(place) > DEEPEST:
        raise Unstorable(place[:3], f"nests more than {DEEPEST} levels deep")
    match value:
        case None | bool():
            return value
        case str():
            if _SURROGATE.search(value):
                raise Unstorable(place, "has half of a character (a lone surrogate), which is no text")
            return value
        case int():
            return value if LEAST_INTEGER <= value <= MOST_INTEGER else _as_double(value, place)
        case float():
            if not math.isfinite(value):
                raise Unstorable(place, f"is {value}, which JSON cannot say")
            return value
        case list() | tuple():
            return [_storable(item, (*place, index)) for index, item in enumerate(value)]
        case dict():
            return {_member(name, place): _storable(item, (*place, name)) for name, item in value.items()}
    raise Unstorable(place, f"is no JSON value but a {type(value).__name__}")


def _as_double(value: int, place: Place) -> float:
    try:
        double = float(value)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double) or int(double) != value:
        raise Unstorable(place, "is an integer of more than 64 bits")
    return double


def _member(name: Any, place: Place) -> str:
    if not isinstance(name, str):
        raise Unstorable(place, f"has a member whose name is no text but a {type(name).__name__}")
    if _SURROGATE.search(name):
        raise Unstorable(place, "has a member whose name has half of a character (a lone surrogate)")
    return name
