"""The types of inputs, prepared once for judging and shaping any number of values.

A value is judged in time that grows with its size alone: each part of it is looked at once, the alternatives of a union
are tried within a fixed number of tries, and whoever asks for violations gets them one by one and may stop.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from services.submission.packages.cwl_types import members, union

Place = tuple[str | int, ...]

MOST_TRIES = 1_000_000
"""How many alternatives of unions are tried for one request: some seconds of a thread."""

_SPANS = {"int": 1 << 31, "long": 1 << 63}
_NUMBERS = frozenset({"int", "long", "float", "double"})
_DOUBLES = frozenset({"float", "double"})
_LARGEST_DOUBLE = int(1.7976931348623157e308)


class TooManyTries(Exception):
    """A value has more possible readings than are tried."""


class Tries:
    """How many alternatives may still be tried."""

    def __init__(self, most: int = MOST_TRIES) -> None:
        self._left = most

    def take(self, count: int) -> None:
        """Raises TooManyTries."""
        self._left -= count
        if self._left < 0:
            raise TooManyTries


class InputType:
    """A CWL type in its plain form (`packages/cwl_types.py`), prepared."""

    def __init__(self, kind: Any, formats: Any = None) -> None:
        """`formats` are those of the parameter or field that has this type."""
        self.kinds: list[Any] = members(kind)
        self.formats: list[str] = formats if isinstance(formats, list) else [formats] if formats else []
        self.alternatives = [one for one in self.kinds if one != "null"] or self.kinds
        self.names = frozenset(one for one in self.kinds if isinstance(one, str))
        self.symbols = frozenset(
            symbol for one in self.kinds if _is(one, "enum") for symbol in one["symbols"] if isinstance(symbol, str)
        )
        self.has_enum = any(_is(one, "enum") for one in self.kinds)
        self._plain = {
            given
            for given, names in ((str, {"string"}), (bool, {"boolean"}), (int, _NUMBERS), (float, _DOUBLES))
            if self.names & names
        }
        spans = [_SPANS[name] for name in self.names & set(_SPANS)]
        self._span = 0 if self.names & _DOUBLES else max(spans, default=0)

    @cached_property
    def arrays(self) -> list["InputType"]:
        """The types of the items of each list among the alternatives."""
        return [InputType(one["items"], self.formats) for one in self.kinds if _is(one, "array")]

    @cached_property
    def items(self) -> "InputType | None":
        """What the lists among the alternatives hold, taken together; None when none is a list."""
        if len(self.arrays) < 2:
            return self.arrays[0] if self.arrays else None
        return InputType(union([one["items"] for one in self.kinds if _is(one, "array")]), self.formats)

    @cached_property
    def records(self) -> list[dict[str, "InputType"]]:
        """The fields of each record among the alternatives."""
        return [
            {name: InputType(field["type"], field.get("format")) for name, field in one["fields"].items()}
            for one in self.kinds
            if _is(one, "record")
        ]

    @cached_property
    def fields(self) -> dict[str, "InputType"]:
        """The fields of the records among the alternatives, taken together."""
        if len(self.records) == 1:
            return self.records[0]
        together: dict[str, list[InputType]] = {}
        for record in self.records:
            for name, inner in record.items():
                together.setdefault(name, []).append(inner)
        return {
            name: found[0]
            if len(found) == 1
            else InputType(
                union([inner.kinds for inner in found]), [one for inner in found for one in inner.formats] or None
            )
            for name, found in together.items()
        }

    @cached_property
    def is_plain(self) -> bool:
        """Whether a value that fits is one of a few scalars that stand in the job order as in the request."""
        return self.names <= (_NUMBERS | {"string", "boolean", "null"}) and len(self.names) == len(self.kinds)

    @cached_property
    def is_scalar(self) -> bool:
        """Whether only scalars fit, which stand in the job order as in the request but for whole floats."""
        return self.names <= (_NUMBERS | {"string", "boolean", "null"}) and not self.arrays and not self.records

    @cached_property
    def is_file(self) -> bool:
        """Whether only files and directories fit, and lists of them."""
        return bool(self.alternatives) and all(
            one in ("File", "Directory") or (_is(one, "array") and InputType(one["items"]).is_file)
            for one in self.alternatives
        )

    @cached_property
    def is_link(self) -> bool:
        """Whether a link is a value of this type itself, rather than what the link leads to."""
        return (
            bool(self.names & {"File", "Directory", "Any"})
            or any(items.is_link for items in self.arrays)
            or any("href" in record for record in self.records)
        )

    @cached_property
    def width(self) -> int:
        """How many tries one value of this type may cost at most, roughly: the alternatives of all its unions."""
        inner = sum(items.width for items in self.arrays)
        inner += sum(field.width for record in self.records for field in record.values())
        return max(1, len(self.arrays) + len(self.records)) + inner

    def takes_all(self, values: list[Any]) -> bool:
        """Whether all of a list are scalars of a plain type; quick, and False when it is not sure."""
        if not self.is_plain:
            return False
        kinds = set(map(type, values))
        if not kinds <= self._plain:
            return False
        if int not in kinds or not self._span:
            return True
        # Texts and numbers have no order among them.
        return kinds == {int} and max(values) < self._span and min(values) >= -self._span

    def fits(self, value: Any, tries: Tries) -> bool:
        """Whether the engine takes a value of the job order for this type. Raises TooManyTries."""
        if "Any" in self.names:
            return value is not None or "null" in self.names
        match value:
            case None:
                return "null" in self.names
            case bool():
                return "boolean" in self.names
            case int():
                if self.names & _DOUBLES:
                    return abs(value) <= _LARGEST_DOUBLE
                return -self._span <= value < self._span
            case float():
                return bool(self.names & _DOUBLES)
            case str():
                return "string" in self.names or value in self.symbols
            case list():
                tries.take(len(self.arrays))
                return any(
                    items.takes_all(value) or all(items.fits(item, tries) for item in value) for items in self.arrays
                )
            case dict():
                if value.get("class") in self.names & {"File", "Directory"}:
                    return True
                tries.take(len(self.records))
                return any(_fits_record(record, value, tries) for record in self.records)
        return False

    def problems(self, value: Any, place: Place, tries: Tries) -> Iterator[tuple[Place, str]]:
        """Says what is wrong with a value, one problem after the other. Raises TooManyTries."""
        if isinstance(value, list) and len(self.arrays) == 1 and "Any" not in self.names:
            # A union says only that nothing fits. Where the value has the shape of one member, that member says more.
            items = self.arrays[0]
            if not items.takes_all(value):
                for index, item in enumerate(value):
                    yield from items.problems(item, (*place, index), tries)
        elif isinstance(value, dict) and len(self.records) == 1 and not self._takes_class(value):
            fields = self.records[0]
            for name, inner in fields.items():
                if name in value:
                    yield from inner.problems(value[name], (*place, name), tries)
                elif "null" not in inner.names:
                    yield (*place, name), "This field is required."
            for name in value:
                if name not in fields:
                    yield (*place, name), f"There is no such field. There are: {', '.join(fields)[:300]}."
        elif not self.fits(value, tries):
            yield place, f"Expected {self.phrase}, got {_got(value)}."

    def _takes_class(self, value: dict[str, Any]) -> bool:
        return "Any" in self.names or value.get("class") in self.names & {"File", "Directory"}

    @cached_property
    def phrase(self) -> str:
        """The type in words."""
        return _phrase(self.kinds)[:500]


def _fits_record(record: Mapping[str, InputType], value: dict[str, Any], tries: Tries) -> bool:
    if not value.keys() <= record.keys():
        return False
    return all(
        inner.fits(value[name], tries) if name in value else "null" in inner.names for name, inner in record.items()
    )


def _is(kind: Any, form: str) -> bool:
    return isinstance(kind, dict) and kind.get("type") == form


def _phrase(kind: Any) -> str:
    match kind:
        case list():
            told = [one for one in kind if one != "null"] or kind
            return " or ".join(_phrase(member) for member in told[:10]) + (" or …" if len(told) > 10 else "")
        case "string":
            return "a string"
        case "boolean":
            return "true or false"
        case "int":
            return "a 32-bit integer"
        case "long":
            return "a 64-bit integer"
        case "float" | "double":
            return "a number"
        case "null":
            return "null"
        case "File":
            return "a file (an href, or a value with its mediaType)"
        case "Directory":
            return "a directory (an href, or a STAC object)"
        case {"type": "enum", "symbols": symbols}:
            return "one of " + ", ".join(map(str, symbols[:20])) + (", …" if len(symbols) > 20 else "")
        case {"type": "array", "items": items}:
            return f"a list, each item {_phrase(items)}"
        case {"type": "record", "fields": fields}:
            return f"an object with {', '.join(list(fields)[:20])}"
        case _:
            return "a value"


def _got(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            number = str(value) if isinstance(value, float) or abs(value) < 1 << 64 else "with more than 64 bits"
            return f"the number {number}"
        case str():
            return f"the string {value}" if len(value) <= 40 else f"a string of {len(value)} characters"
        case list():
            return "a list"
        case _:
            return "an object"
