"""The gate in front of every CWL library: YAML events become plain values, with the place of each, or a refusal.

Alias bombs, deep nesting and surprising tags hurt a loader while it loads. This reader therefore takes events one by
one from the same scanner which the CWL library uses, so that both see the same document, counts them, and takes nothing
that JSON could not say as well.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.resolver import implicit_resolvers

from services.shared.storable import LEAST_INTEGER, MOST_INTEGER
from services.submission.cwl.text import PackageText, decode, misread, package_text, position
from services.submission.packages.limits import MAX_DEPTH, MAX_EVENTS, check_size
from services.submission.packages.refusal import Offence, Refusal, invalid

LONGEST_INTEGER = 1100
"""In digits, binary ones included: the largest double has 1024 binary digits."""

_ENDS = (0x85, 0x2028, 0x2029)
_TAG = "tag:yaml.org,2002:"


def _resolvers() -> dict[str, list[tuple[str, Any]]]:
    table: dict[str, list[tuple[str, Any]]] = {}
    for versions, tag, pattern, first_characters in implicit_resolvers:
        if (1, 2) in versions:
            for character in first_characters:
                table.setdefault(character, []).append((str(tag).removeprefix(_TAG), pattern))
    return table


_RESOLVERS = _resolvers()


@dataclass
class Document:
    """A package as plain values, and where in the text that was sent each value stands."""

    text: PackageText
    """What the scanner takes."""
    value: Any
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    """JSON pointer to line and column, both counted from 1."""
    key_places: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The same for the key in front of a value."""

    def place(self, pointer: str) -> str:
        """Says where a pointer lies in the text, as "line 3, column 5", or nothing when that is not known."""
        found = self.places.get(pointer)
        return f"line {found[0]}, column {found[1]}" if found else ""

    def pointer_at(self, line: int, column: int) -> str:
        """Finds the value whose key or content begins at a place in the text, or last before it."""
        best, best_place = "", (0, 0)
        for places in (self.places, self.key_places):
            for pointer, place in places.items():
                if best_place < place <= (line, column):
                    best, best_place = pointer, place
        return best


def join(pointer: str, *steps: str | int) -> str:
    """Appends steps to a JSON pointer (RFC 6901)."""
    return pointer + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def read_document(content: bytes, media_type: str) -> Document:
    """Reads a package, or refuses it with the line and column of the offence."""
    check_size(content)
    try:
        sent = decode(content)
    except UnicodeDecodeError as error:
        raise invalid(
            "The package is not UTF-8: byte {offset} does not belong there. Save it as UTF-8.", offset=error.start
        ) from None
    text = package_text(sent)
    if not text.is_json:
        if media_type.endswith("json"):
            _check_json(sent)
        _check_characters(sent)
    try:
        return _Builder(text).build()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "it cannot be read"
        line, column = text.sent(mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _at(line, column, f"The package is not valid YAML: {problem}") from None
    except (YAMLError, ValueError, OverflowError, RecursionError):
        raise invalid("The package is not valid YAML: it has escapes which YAML does not allow.") from None


def _check_json(text: str) -> None:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _at(*position(text, error.pos), f"The package is not valid JSON: {error.msg}") from None


def _check_characters(text: str) -> None:
    """Refuses what the scanner would refuse without a place, or would change."""
    index = misread(text)
    if index is None:
        return
    code = ord(text[index])
    escape = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    why = "ends a line in one version of YAML and not in the other" if code in _ENDS else "YAML does not take as it is"
    problem = f"The package has the character U+{code:04X}, which {why}. Write {escape} in double quotes"
    raise _at(*position(text, index), problem)


def _at(line: int, column: int, problem: str) -> Refusal:
    return invalid("{problem} (line {line}, column {column}).", problem=problem.rstrip("."), line=line, column=column)


class _Builder:
    """Builds values from events, counting as it goes."""

    def __init__(self, text: PackageText) -> None:
        self._text = text
        self._places: dict[str, tuple[int, int]] = {}
        self._key_places: dict[str, tuple[int, int]] = {}
        self._events = 0

    def build(self) -> Document:
        # Containers under construction: pointer, container, pending key. A key is pending between it and its value.
        stack: list[tuple[str, Any]] = []
        pending: list[str | None] = []
        root: list[Any] = []
        for event in self._parse():
            if isinstance(event, (MappingEndEvent, SequenceEndEvent)):
                stack.pop()
                pending.pop()
                continue
            if isinstance(event, DocumentStartEvent):
                if root or (event.version is not None and tuple(event.version) != (1, 2)) or event.tags:
                    raise self._refused(event, "Only one YAML 1.2 document without directives is taken")
                continue
            if isinstance(event, AliasEvent):
                raise self._refused(event, "Aliases (*name) are not taken. Write the value out where it is used")
            if not isinstance(event, (ScalarEvent, MappingStartEvent, SequenceStartEvent)):
                continue
            self._check_node(event)
            if stack and isinstance(stack[-1][1], dict) and pending[-1] is None:
                pending[-1] = key = self._key(event, stack[-1][1])
                self._key_places[join(stack[-1][0], key)] = self._place(event)
                continue
            pointer = self._pointer(stack, pending)
            self._places[pointer] = self._place(event)
            value: Any
            if isinstance(event, ScalarEvent):
                value = self._scalar(event)
            else:
                value = {} if isinstance(event, MappingStartEvent) else []
            self._attach(stack, pending, root, value)
            if not isinstance(event, ScalarEvent):
                if len(stack) >= MAX_DEPTH:
                    raise self._refused(event, f"The package is nested deeper than {MAX_DEPTH} levels")
                stack.append((pointer, value))
                pending.append(None)
        if not root or not isinstance(root[0], dict):
            raise invalid("The package is not a CWL document: a mapping with cwlVersion is expected at the top.")
        return Document(self._text, root[0], self._places, self._key_places)

    def _parse(self) -> Iterator[Any]:
        for event in YAML(typ="rt", pure=True).parse(self._text.text):
            self._events += 1
            if self._events > MAX_EVENTS:
                raise self._refused(event, f"The package has more than {MAX_EVENTS} YAML events")
            yield event

    @staticmethod
    def _pointer(stack: list[tuple[str, Any]], pending: list[str | None]) -> str:
        if not stack:
            return ""
        pointer, container = stack[-1]
        return join(pointer, len(container) if isinstance(container, list) else str(pending[-1]))

    @staticmethod
    def _attach(stack: list[tuple[str, Any]], pending: list[str | None], root: list[Any], value: Any) -> None:
        if not stack:
            root.append(value)
        elif isinstance(stack[-1][1], list):
            stack[-1][1].append(value)
        else:
            stack[-1][1][pending[-1]] = value
            pending[-1] = None

    def _check_node(self, event: Any) -> None:
        if event.anchor is not None:
            raise self._refused(event, "Anchors (&name) are not taken. Write the value out where it is used")
        if event.tag is not None:
            raise self._refused(event, "Tags (!name) are not taken. Write a plain value")

    def _key(self, event: Any, container: dict[str, Any]) -> str:
        if not isinstance(event, ScalarEvent):
            raise self._refused(event, "A key must be a string")
        if event.style is None and event.value == "<<":
            raise self._refused(event, "Merge keys (<<) are not taken. Write the fields out")
        key = self._scalar(event)
        if not isinstance(key, str):
            raise self._refused(event, f"The key {event.value} is not a string. Put it in quotes")
        if key in container:
            raise self._refused(event, f"The key {key[:100]} is given twice")
        return key

    def _scalar(self, event: Any) -> Any:
        value: str = event.value
        if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
            raise self._refused(event, "An escape names half a character. Write the character itself")
        if event.style is not None:
            # The scanner marks where lines of a folded text were; the library takes the marks out as well.
            return value.replace("\a", "") if event.style == ">" else value
        for kind, pattern in _RESOLVERS.get(value[:1], ()):
            if pattern.match(value):
                return self._plain(event, kind, value)
        return value

    def _plain(self, event: Any, kind: str, value: str) -> Any:
        match kind:
            case "null":
                return None
            case "bool":
                return value.lower() == "true"
            case "int":
                return self._integer(event, value)
            case "float":
                number = float(value.replace("_", "")) if value.strip("+-.").lower() not in ("inf", "nan") else None
                if number is None or number in (float("inf"), float("-inf")):
                    raise self._refused(event, "Infinity and NaN are not numbers here. Put the word in quotes")
                return number
            case "merge" | "value":
                raise self._refused(event, f"A plain {value} has a meaning of its own in YAML. Put it in quotes")
            case _:
                return value

    def _integer(self, event: Any, value: str) -> int | float:
        digits = value.replace("_", "").lower()
        if len(digits) <= LONGEST_INTEGER:
            base = {"0b": 2, "0o": 8, "0x": 16}.get(digits.lstrip("+-")[:2], 10)
            number = int(digits, base)
            if LEAST_INTEGER <= number <= MOST_INTEGER:
                return number
            with contextlib.suppress(OverflowError):
                # A double may be written as an integer; nothing else has more than 64 bits.
                return float(number)
        raise self._refused(event, "A number here is larger than any. Put it in quotes when it is text")

    def _place(self, event: Any) -> tuple[int, int]:
        return self._text.sent(event.start_mark.line + 1, event.start_mark.column + 1)

    def _refused(self, event: Any, problem: str) -> Refusal:
        return _at(*self._place(event), problem)


def offence(document: Document, pointer: str, message: str) -> Offence:
    """Makes an offence whose sentence ends with its place in the text."""
    place = document.place(pointer)
    return Offence(pointer, f"{message} ({place})" if place else message)
