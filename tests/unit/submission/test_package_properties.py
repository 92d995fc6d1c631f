"""Any CWL input type: what its description takes becomes a job order the CWL library takes, and nothing else does."""

import copy
import re
from typing import Any

import jsonschema_rs
import orjson
import pytest
from cwltool.builder import INPUT_OBJ_VOCAB
from cwltool.utils import normalizeFilesDirs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from schema_salad.exceptions import ValidationException
from schema_salad.validate import validate_ex

from services.shared.errors import InvalidArgument
from services.submission.execution.inputs import InputSchema
from services.submission.packages.cwl_types import is_optional, members, union, without_null
from services.submission.packages.document import read_document
from services.submission.packages.inspection import inspect_package
from services.submission.packages.validation import validate

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
SYMBOLS = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,6}", fullmatch=True)
SCALARS = st.sampled_from(["string", "int", "long", "float", "double", "boolean"])
FILES = st.sampled_from(["File", "Directory"])
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
URLS = NAMES.map(lambda name: f"https://data.example.org/{name}.tif")


def enums() -> st.SearchStrategy[Any]:
    return st.lists(SYMBOLS, min_size=1, max_size=3, unique=True).map(
        lambda symbols: {"type": "enum", "symbols": symbols}
    )


def compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    arrays = inner.map(lambda items: {"type": "array", "items": items})
    optional = inner.map(lambda kind: union(["null", *members(kind)]))
    fields = st.dictionaries(NAMES, st.one_of(inner, optional).map(lambda kind: {"type": kind}), min_size=1, max_size=3)
    unions = st.lists(SCALARS, min_size=2, max_size=3, unique=True).map(union)
    return st.one_of(arrays, fields.map(lambda found: {"type": "record", "fields": found}), unions)


KINDS = st.recursive(st.one_of(SCALARS, FILES, enums(), st.just("Any")), compound, max_leaves=4)


def written(kind: Any, short: bool = True) -> st.SearchStrategy[Any]:
    """The ways to write a plain type in CWL; `items` know no short forms."""
    match kind:
        case ["null", str(name)]:
            return st.sampled_from([f"{name}?", ["null", name]] if short else [["null", name]])
        case list():
            return st.tuples(*(written(member, short) for member in kind)).map(list)
        case {"type": "array", "items": str(name)}:
            long = {"type": "array", "items": name}
            return st.sampled_from([f"{name}[]", long] if short else [long])
        case {"type": "array", "items": items}:
            return written(items, False).map(lambda inner: {"type": "array", "items": inner})
        case {"type": "record", "fields": fields}:
            named = st.fixed_dictionaries({name: written(field["type"]) for name, field in fields.items()})
            return named.flatmap(
                lambda found: st.sampled_from(
                    [
                        {"type": "record", "fields": {name: {"type": kind} for name, kind in found.items()}},
                        {"type": "record", "fields": [{"name": name, "type": kind} for name, kind in found.items()]},
                    ]
                )
            )
        case _:
            return st.just(kind)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """OGC values of a plain type, in the shapes which callers use."""
    plain = plain_values(kind)
    return st.one_of(plain, plain.map(lambda value: {"value": value})) if is_bare(kind) else plain


def is_bare(kind: Any) -> bool:
    return kind not in ("File", "Directory", "Any") and not (isinstance(kind, dict) and kind["type"] == "record")


def plain_values(kind: Any) -> st.SearchStrategy[Any]:
    match kind:
        case "string":
            return TEXT
        case "boolean":
            return st.booleans()
        case "int":
            return st.integers(-(2**31), 2**31 - 1)
        case "long":
            return st.integers(-(2**63), 2**63 - 1)
        case "float" | "double":
            return st.one_of(st.floats(-1e30, 1e30), st.integers(-1000, 1000))
        case "File":
            return st.one_of(
                URLS,
                URLS.map(lambda url: {"href": url, "type": "image/tiff"}),
                TEXT.map(lambda text: {"value": text, "mediaType": "text/plain"}),
                st.just({"value": "AAEC", "encoding": "base64", "mediaType": "image/tiff"}),
            )
        case "Directory":
            return URLS.map(lambda url: {"href": url})
        case "Any":
            return st.one_of(TEXT, st.integers(0, 9), st.booleans(), st.lists(st.integers(0, 9)))
        case {"type": "enum", "symbols": symbols}:
            return st.sampled_from(symbols)
        case {"type": "array", "items": items}:
            return st.lists(values(items), max_size=3)
        case {"type": "record", "fields": fields}:
            needed = {
                name: values(field["type"]) for name, field in fields.items() if "null" not in members(field["type"])
            }
            optional = {
                name: values(without_null(field["type"])) for name, field in fields.items() if name not in needed
            }
            return st.fixed_dictionaries(needed, optional=optional)
        case list():
            return st.one_of(*(plain_values(member) for member in kind if member != "null"))
        case _:
            raise AssertionError(kind)


JUNK: st.SearchStrategy[Any] = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    TEXT,
    st.lists(st.integers(0, 9), max_size=2),
    st.just({"unheard": 1}),
    st.floats(0.1, 0.9),
)


def package(inputs: dict[str, Any]) -> bytes:
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "id": "tool",
        "baseCommand": "true",
        "inputs": {name: {"type": kind} for name, kind in inputs.items()},
        "outputs": {},
    }
    return orjson.dumps(tool)


def read(document: bytes) -> dict[str, Any]:
    return inspect_package(document, "application/cwl+json", workflow=None, process_id=None, process_description=None)


def engine_takes(document: bytes, order: dict[str, Any]) -> bool:
    """Asks the CWL library as it does at the start of a job."""
    process = validate(read_document(document, "application/cwl+json"), "")
    # Literals and data URLs become files before the engine sees them.
    staged = orjson.loads(re.sub(rb'"location":"data:[^"]*"', b'"location":"file:///in"', orjson.dumps(order)))
    normalizeFilesDirs(staged)
    try:
        validate_ex(process.names.get_name("input_record_schema", None), staged, strict=False, vocab=INPUT_OBJ_VOCAB)
    except ValidationException:
        return False
    return True


@pytest.mark.timeout(300)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_a_value_of_the_type_becomes_a_job_order_that_the_engine_takes(data: st.DataObject) -> None:
    kinds = data.draw(st.dictionaries(NAMES, KINDS, min_size=1, max_size=3))
    document = package({name: data.draw(written(kind)) for name, kind in kinds.items()})
    inputs = {name: data.draw(values(kind)) for name, kind in kinds.items()}
    given_inputs = copy.deepcopy(inputs)

    found = read(document)
    schema = InputSchema(found["description"], found["cwl_inputs"])
    order = schema.job_order(inputs)

    assert kinds == {name: parameter["type"] for name, parameter in found["cwl_inputs"].items()}
    assert list(kinds) == list(found["description"]["inputs"])
    assert set(kinds) == set(order)
    assert engine_takes(document, order)
    assert given_inputs == inputs


@pytest.mark.timeout(300)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.data())
def test_what_the_check_takes_the_engine_takes_whatever_it_is(data: st.DataObject) -> None:
    kind = data.draw(KINDS)
    document = package({"x": data.draw(written(kind))})
    value = data.draw(JUNK)
    found = read(document)
    schema = InputSchema(found["description"], found["cwl_inputs"])

    refused: InvalidArgument | None = None
    try:
        schema.job_order({"x": value})
    except InvalidArgument as refusal:
        refused = refusal

    if refused is None:
        assert engine_takes(document, schema.job_order({"x": value}))
    else:
        # The engine refuses it as well, though it takes true for a number and unheard fields in a record.
        assert isinstance(value, (bool, dict)) or not engine_takes(document, {"x": value})
        assert all(violation.pointer.startswith("/inputs/x") for violation in refused.violations)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_plain_values_fit_the_schema_that_the_description_shows(data: st.DataObject) -> None:
    kind = data.draw(KINDS)
    value = data.draw(plain_values(kind))
    assume("{" not in str(value))
    found = read(package({"x": data.draw(written(kind))}))

    shown = found["description"]["inputs"]["x"]

    assert jsonschema_rs.is_valid(shown["schema"], value)
    assert is_optional({"type": kind}) == (shown["minOccurs"] == 0)
    assert jsonschema_rs.meta.is_valid(shown["schema"])
