"""What clients of the EO DataHub send is read as they mean it, and nothing else is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.submission.builtin.echo import DESCRIPTION
from services.submission.execution.eodatahub import coerced, read_leniently
from services.submission.execution.inputs import ExecuteRequest, InputSchema

KINDS = ["int", "long", "float", "double", "boolean", "string", "File", {"type": "enum", "symbols": ["1", "true"]}]
ANY_KIND = st.recursive(
    st.sampled_from(KINDS),
    lambda kinds: (
        st.builds(lambda items: {"type": "array", "items": items}, kinds)
        | st.lists(st.sampled_from(["null", "int", "double", "boolean", "string"]), min_size=1, max_size=3)
    ),
    max_leaves=3,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=2),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("50", "int", 50),
        (" -7 ", "long", -7),
        ("50", "double", 50.0),
        ("1.5e3", "float", 1500.0),
        (".5", ["null", "double"], 0.5),
        ("True", "boolean", True),
        ("false", ["null", "boolean"], False),
        ("2", ["int", "double"], 2),
        ("2.5", ["int", "double"], 2.5),
        (["1", 2, "3"], {"type": "array", "items": "int"}, [1, 2, 3]),
        ("5", {"type": "array", "items": "int"}, 5),
    ],
)
def test_a_text_becomes_the_value_that_it_stands_for(value: Any, kind: Any, expected: Any) -> None:
    found = coerced(value, kind)

    assert (type(expected), expected) == (type(found), found)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("50", "string"),
        ("50", ["string", "int"]),
        ("1", {"type": "enum", "symbols": ["1"]}),
        ("50%", "int"),
        ("1_000", "int"),
        ("٣", "int"),
        ("1.0", "int"),
        ("9" * 10_000, "int"),
        ("nan", "double"),
        ("inf", "double"),
        ("1e9999", "double"),
        ("0x10", "int"),
        ("yes", "boolean"),
        ("1", "boolean"),
        ("", "int"),
        ("null", "int"),
        ({"value": "5"}, "int"),
        ("true", "File"),
    ],
)
def test_a_text_that_stands_for_no_such_value_stays(value: Any, kind: Any) -> None:
    assert value == coerced(value, kind)


@given(JSON.filter(lambda value: not isinstance(value, str | list)), ANY_KIND)
def test_what_is_no_text_stays(value: Any, kind: Any) -> None:
    assert value is coerced(value, kind)


@given(JSON, ANY_KIND)
def test_reading_twice_changes_nothing_more(value: Any, kind: Any) -> None:
    once = coerced(value, kind)

    assert once == coerced(once, kind)


@given(st.integers(-(2**31), 2**31 - 1) | st.booleans() | st.floats(-1e300, 1e300))
def test_a_value_written_as_text_is_the_same_value(value: Any) -> None:
    kind = {int: "int", bool: "boolean", float: "double"}[type(value)]

    schema = InputSchema({}, {"x": {"type": kind}})
    wanted = read_leniently(ExecuteRequest(inputs={"x": str(value)}), {}, {"x": {"type": kind}})

    schema.job_order(wanted.inputs)
    assert {"x": value} == wanted.inputs


def test_a_workspace_that_no_process_asked_for_is_left_out() -> None:
    given = ExecuteRequest(inputs={"workspace": "ada", "size": "5", "other": "x"})

    wanted = read_leniently(given, {}, {"size": {"type": "int"}})

    assert {"size": 5, "other": "x"} == wanted.inputs


def test_a_workspace_that_the_process_has_is_its_input() -> None:
    wanted = read_leniently(ExecuteRequest(inputs={"workspace": "ada"}), {}, {"workspace": {"type": "string"}})

    assert {"workspace": "ada"} == wanted.inputs


def test_an_empty_field_of_a_form_is_no_number() -> None:
    optional, required = {"type": ["null", "int"]}, {"type": "int"}
    given = ExecuteRequest(inputs={"a": "", "b": "", "c": ""})

    wanted = read_leniently(given, {}, {"a": optional, "b": required, "c": {"type": ["null", "string"]}})

    assert {"b": "", "c": ""} == wanted.inputs


def test_built_in_processes_take_texts_too() -> None:
    given = ExecuteRequest(
        inputs={"message": "5", "pause": "0", "numbers": ["1", "2"], "object": "", "words": "true", "workspace": "ada"}
    )

    wanted = read_leniently(given, DESCRIPTION, {})

    assert {"message": "5", "pause": 0, "numbers": [1, 2], "object": "", "words": "true"} == wanted.inputs
