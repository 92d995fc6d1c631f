"""Types of CWL with values that fit them, as a package declares and a request gives them."""

import json
import re
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["", " ", "null", "true", "1", "1.10", "1e3", "yes", "~", "\n", "a\r\nb", "\0", "\ufeff", "\u2028", "'\"\\", "$(x)",
     "https://a.example/x#y", "file:///etc/passwd", "{}", "[]", "-", "--", "%41", "é", "e\u0301", "\ue041\ue03a",
     "\\ue041", "😀" * 5,
     "x" * 5000]
)  # fmt: skip
ARGUMENTS = TEXT.filter(lambda text: "\0" not in text)

_INT = st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]) | st.integers(-(2**31), 2**31 - 1)
_LONG = st.sampled_from([0, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]) | st.integers(-(2**63), 2**63 - 1)
_DOUBLE = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**53), 2**53)
    | st.sampled_from(
        [0.0, -0.0, 1e-7, 0.00001, 1e16, 1e22, 1e23, 0.1, 1 / 3, 5e-324, 2.2250738585072014e-308,
         1.7976931348623157e308, 2.0, 2**64, 10**20, -(2**70), 123456789.12345679]
    )
)  # fmt: skip

_SYMBOLS = (
    "EPSG:4326", "EPSG:3857", "m/s", "a/b/c", "https://a.example/x", "https://a.example/x#y", "s:a", "00:00", "a#b",
    "#a", "fast", "yes", "no", "on", "null", "true", "1", "1.10", "~", "é", "水", "a b", "a.b", "-x", "%41", "File",
    "string",
)  # fmt: skip
_PLAIN_NAME = st.from_regex(re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,10}", re.ASCII), fullmatch=True)
NAMES = _PLAIN_NAME | st.sampled_from(
    ["eo:cloud_cover", "sar:looks", "a:b:c", "a-b", "a.b", "x y", "é", "水", "Class", "type", "id", "on", "yes", "null",
     "1", "value", "href", "constructor", "__proto__", "toString", "inputs", "self", "length"]
)  # fmt: skip
_KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(
    lambda key: key not in ("class", "href", "value", "bbox") and not key.startswith(("$", "cwl", "http"))
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | _LONG | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True)
class Kind:
    """A type as a package writes it, with a strategy for values that fit it."""

    written: Any
    values: st.SearchStrategy[Any]
    shape: frozenset[str]
    """Which forms of JSON its values have, so that the members of a union can be told apart."""

    def __repr__(self) -> str:
        return f"Kind({json.dumps(self.written)})"


def _primitive(name: str, values: st.SearchStrategy[Any], shape: str) -> Kind:
    return Kind(name, values, frozenset({shape}))


PRIMITIVES = st.sampled_from(
    [
        _primitive("boolean", st.booleans(), "boolean"),
        _primitive("int", _INT, "number"),
        _primitive("long", _LONG, "number"),
        _primitive("float", _DOUBLE, "number"),
        _primitive("double", _DOUBLE, "number"),
        _primitive("string", TEXT, "string"),
    ]
)


@st.composite
def enums(draw: st.DrawFn) -> Kind:
    symbols = draw(st.lists(st.sampled_from(_SYMBOLS), min_size=1, max_size=5, unique=True))
    return Kind({"type": "enum", "symbols": symbols}, st.sampled_from(symbols), frozenset({"string"}))


def _array(items: Kind) -> Kind:
    return Kind({"type": "array", "items": items.written}, st.lists(items.values, max_size=4), frozenset({"array"}))


@st.composite
def _records(draw: st.DrawFn, inner: st.SearchStrategy[Kind]) -> Kind:
    fields = draw(st.dictionaries(NAMES, inner, min_size=1, max_size=3))
    written = {"type": "record", "fields": [{"name": name, "type": kind.written} for name, kind in fields.items()]}
    values = st.fixed_dictionaries({name: kind.values for name, kind in fields.items()})
    return Kind(written, values, frozenset({"object"}))


@st.composite
def _unions(draw: st.DrawFn, inner: st.SearchStrategy[Kind]) -> Kind:
    members: list[Kind] = []
    for kind in draw(st.lists(inner, min_size=2, max_size=3)):
        if not any(kind.shape & member.shape for member in members) and not isinstance(kind.written, list):
            members.append(kind)
    shape = frozenset().union(*(member.shape for member in members))
    return Kind([member.written for member in members], st.one_of([member.values for member in members]), shape)


KINDS = st.recursive(
    PRIMITIVES | enums(),
    lambda inner: inner.map(_array) | _records(inner) | _unions(inner),
    max_leaves=4,
) | st.just(Kind("Any", ANYTHING.filter(lambda value: value is not None), frozenset({"any"})))


def optional(kind: Kind) -> Kind:
    """A type that takes null too."""
    written = kind.written if isinstance(kind.written, list) else [kind.written]
    return Kind(["null", *written], kind.values | st.none(), kind.shape | {"null"})


def _short_array(items: Kind) -> Kind:
    return Kind(f"{items.written}[]", st.lists(items.values, max_size=4), frozenset({"array"}))


@dataclass(frozen=True)
class Parameter:
    """An input of a package, with what a request says of it."""

    kind: Kind
    is_optional: bool
    default: tuple[Any, ...]
    """The default, if there is one."""
    sent: tuple[Any, ...]
    """What the request gives, if it gives anything."""
    label: str
    doc: str

    @property
    def expected(self) -> Any:
        """What the tool gets, and what comes out."""
        sent = self.sent[0] if self.sent else None
        return sent if sent is not None else self.default[0] if self.default else None


@st.composite
def parameters(draw: st.DrawFn) -> Parameter:
    kind = draw(KINDS | PRIMITIVES.map(_short_array))
    is_optional = draw(st.booleans())
    if is_optional and kind.written != "Any":
        kind = optional(kind)
    value = kind.values.filter(lambda value: value is not None)
    default = (draw(value),) if draw(st.booleans()) else ()
    # An input of any kind has no null: it would be taken for left out.
    may_lack = bool(default) or (is_optional and kind.written != "Any")
    sent = (draw(kind.values if may_lack else value),) if not may_lack or draw(st.booleans()) else ()
    return Parameter(kind, may_lack, default, sent, draw(TEXT), draw(TEXT))


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same: truth is no number, and a number is the same double or integer."""
    match one, other:
        case bool(), _:
            return one is other
        case _, bool():
            return False
        case int() | float(), int() | float():
            return one == other and (str(float(one)).startswith("-") == str(float(other)).startswith("-"))
        case list(), list():
            return len(one) == len(other) and all(map(same, one, other))
        case dict(), dict():
            return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return type(one) is type(other) and bool(one == other)
