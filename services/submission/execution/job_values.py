"""Brings the values of an execute request into the shape of a CWL job order.

The type of the input guides it: a string is a link where only a file fits, `{"value": …}` is opened unless the input is
an object with such a field, a single value becomes a list where only a list fits. Nothing is judged here but what
cannot be brought into shape; the schema in `inputs.py` judges the rest.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from services.shared.errors import Violation
from services.submission.execution.input_types import InputType, Place
from services.submission.execution.job_files import JobFiles
from services.submission.execution.qualified_values import BASE64, BESIDE_A_VALUE, UnusableMember, qualified
from services.submission.packages.document import join

_NUMBERS = frozenset({"int", "long", "float", "double"})
_FOLLOWED = frozenset({"$import", "$include", "$mixin", "$graph"})
_CRS84 = ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", "http://www.opengis.net/def/crs/OGC/0/CRS84h")


class _Nothing(Exception):
    """The value cannot be brought into shape, and a violation says why."""


class JobValues:
    """A job order under construction."""

    def __init__(self, prefixes: Mapping[str, str]) -> None:
        """`prefixes` are those of the package, which names in a request may have."""
        self.prefixes = prefixes
        self.order: dict[str, Any] = {}
        self.violations: list[Violation] = []
        self._pointers: dict[Place, str] = {}

    def add(self, name: str, kind: InputType, given: Any) -> None:
        """Adds the value of one input."""
        with contextlib.suppress(_Nothing):
            self.order[name] = _Shaper(self, name).shape(kind, given, (name,), join("/inputs", name))

    def pointer(self, place: Place) -> str:
        """Says where in the request a value of the job order came from."""
        for length in range(len(place), 0, -1):
            if place[:length] in self._pointers:
                return join(self._pointers[place[:length]], *place[length:])
        return join("/inputs", *place)

    def moved(self, place: Place, pointer: str) -> None:
        """Remembers that a value does not stand in the request where it stands in the job order."""
        self._pointers[place] = pointer

    def refuse(self, pointer: str, message: str) -> _Nothing:
        """Records a violation, and gives what to raise."""
        self.violations.append(Violation(pointer, message))
        return _Nothing()


class _Shaper:
    """Shapes one input."""

    def __init__(self, values: JobValues, name: str) -> None:
        self._values = values
        self._name = name
        self._files = JobFiles(values.refuse, values.prefixes)

    def shape(self, kind: InputType, given: Any, place: Place, pointer: str) -> Any:
        if isinstance(given, dict):
            return self._object(kind, given, place, pointer)
        if isinstance(given, list):
            items = kind.items
            if items is None:
                return self._free(given, pointer)
            if items.takes_all(given):
                return given
            if items.is_scalar:
                return [
                    self.shape(items, item, (*place, index), join(pointer, index))
                    if isinstance(item, (dict, list, float))
                    else item
                    for index, item in enumerate(given)
                ]
            return [self.shape(items, item, (*place, index), join(pointer, index)) for index, item in enumerate(given)]
        return self._scalar(kind, given, place, pointer)

    def _scalar(self, kind: InputType, given: Any, place: Place, pointer: str) -> Any:
        if "Any" in kind.names or given is None:
            return given
        if kind.names & _scalar_kinds(given) or (kind.has_enum and isinstance(given, str)):
            # 2.0 is an integer to JSON Schema, and a float to CWL.
            if isinstance(given, float) and not {"float", "double"} & kind.names:
                return int(given)
            return given
        if isinstance(given, str) and (found := _file_kind(kind)):
            return self._files.link(kind, found, given, place, pointer)
        return self._wrapped(kind, given, place, pointer)

    def _object(self, kind: InputType, given: dict[str, Any], place: Place, pointer: str) -> Any:
        fields = kind.fields
        is_record = bool(kind.records) and given.keys() <= fields.keys()
        if not is_record:
            if isinstance(given.get("href"), str):
                return self._linked(kind, given, place, pointer)
            if given.get("class") in ("File", "Directory") and (form := _file_kind(kind)):
                return self._files.shape(kind, form, given, place, pointer)
            if self._is_qualified(kind, given):
                return self._qualified(kind, given, place, pointer)
            if "bbox" in given and set(given) <= {"bbox", "crs"}:
                return self._box(kind, given, place, pointer)
            if given.get("stac_version") and "Directory" in kind.names:
                return self._files.shape(kind, "Directory", given, place, pointer)
        if kind.records:
            return {
                name: self.shape(fields[name], item, (*place, name), join(pointer, name))
                if name in fields
                else self._free(item, join(pointer, name))
                for name, item in given.items()
                if item is not None
            }
        if "Any" in kind.names:
            return self._free(given, pointer)
        return self._wrapped(kind, given, place, pointer)

    @staticmethod
    def _is_qualified(kind: InputType, given: dict[str, Any]) -> bool:
        """Whether this is a value with what is said of it, and not an object that has a member `value` itself."""
        if "value" not in given or "value" in kind.fields:
            return False
        return "Any" not in kind.names or set(given) <= BESIDE_A_VALUE

    def _free(self, given: Any, pointer: str) -> Any:
        """Gives a value that may be anything, unless it holds what the engine would follow out of the request."""
        if isinstance(given, list):
            return [
                self._free(item, join(pointer, index)) if isinstance(item, (dict, list)) else item
                for index, item in enumerate(given)
            ]
        if not isinstance(given, dict):
            return given
        for key in given:
            if key in _FOLLOWED or key.startswith(
                ("cwl:", "cwltool:", "https://w3id.org/cwl/", "http://commonwl.org/")
            ):
                raise self._values.refuse(
                    join(pointer, key), "This key has a meaning to the engine. Choose another one."
                )
        if given.get("class") in ("File", "Directory"):
            return self._files.shape(_ANY, str(given["class"]), given, (self._name,), pointer)
        return {key: self._free(item, join(pointer, key)) for key, item in given.items()}

    def _linked(self, kind: InputType, given: dict[str, Any], place: Place, pointer: str) -> Any:
        if found := _file_kind(kind):
            return self._files.shape(kind, found, given, place, pointer)
        if "Any" in kind.names:
            return self._free(given, pointer)
        items = kind.items
        if items is not None and (_file_kind(items) or items.items is not None):
            return self._wrapped(kind, given, place, pointer)
        raise self._values.refuse(pointer, "This input takes a value, not a link. Send the value itself.")

    def _qualified(self, kind: InputType, given: dict[str, Any], place: Place, pointer: str) -> Any:
        try:
            given = qualified(given)
        except UnusableMember as error:
            raise self._values.refuse(join(pointer, *error.place), error.problem) from None
        value, inside = given["value"], join(pointer, "value")
        items = kind.items
        listed = isinstance(value, list) and items is not None
        if "File" in kind.names and not listed and not isinstance(value, (bool, int, float, type(None))):
            return self._files.shape(kind, "File", given, place, pointer)
        if "Directory" in kind.names and isinstance(value, dict):
            return self._files.shape(kind, "Directory", given, place, pointer)
        if items is not None and not listed and _file_kind(items):
            return self._wrapped(kind, given, place, pointer)
        if given.get("encoding") == BASE64:
            if not listed or items is None or "File" not in items.names:
                raise self._values.refuse(join(pointer, "encoding"), "Only files are taken in base64.")
            said = {name: given[name] for name in ("mediaType", "encoding") if name in given}
            value = [{"value": item, **said} if isinstance(item, str) else item for item in value]
        self._values.moved(place, inside)
        return self.shape(kind, value, place, inside)

    def _wrapped(self, kind: InputType, given: Any, place: Place, pointer: str) -> Any:
        """Makes a list of one value where only a list fits."""
        if kind.items is None or len(kind.arrays) != len(kind.alternatives):
            return given
        self._values.moved((*place, 0), pointer)
        return [self.shape(kind.items, given, (*place, 0), pointer)]

    def _box(self, kind: InputType, given: dict[str, Any], place: Place, pointer: str) -> Any:
        box, inside = given["bbox"], join(pointer, "bbox")
        if given.get("crs") not in (None, *_CRS84):
            raise self._values.refuse(join(pointer, "crs"), f"Only {_CRS84[0]} is taken. Transform the bounding box.")
        numbers = isinstance(box, list) and all(
            isinstance(item, (int, float)) and not isinstance(item, bool) for item in box
        )
        if not numbers or len(box) not in (4, 6):
            raise self._values.refuse(inside, "A bounding box is a list of 4 or 6 numbers.")
        if kind.items is not None and _NUMBERS & kind.items.names:
            self._values.moved(place, inside)
            return self.shape(kind, box, place, inside)
        if "string" in kind.names:
            return ",".join(str(number) for number in box)
        return given


_ANY = InputType("Any")


def _file_kind(kind: InputType) -> str | None:
    return next((form for form in ("File", "Directory") if form in kind.names), None)


def _scalar_kinds(given: Any) -> set[str]:
    match given:
        case bool():
            return {"boolean"}
        case int():
            return set(_NUMBERS)
        case float():
            return set(_NUMBERS) if given.is_integer() else {"float", "double"}
        case _:
            return {"string"}
