"""Text of packages: JSON is read exactly, by the gate and by the engine, and a place told is one of the text sent."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.submission.backends.cwltool.journal import Journal
from services.submission.backends.cwltool.report import Report
from services.submission.backends.cwltool.worker import load
from services.submission.cwl.text import decode, package_text, position
from services.submission.packages.document import read_document
from services.submission.packages.inspection import inspect_package
from services.submission.packages.refusal import Refusal

JSON, YAML = "application/cwl+json", "application/cwl+yaml"
MISREAD = ["\x7f", "\x80", "\x85", "\x9f", "\u2028", "\u2029", "\ufeff", "\ufffe", "\uffff"]
PIECES = [*MISREAD, *"\0\x07\b\t\n\r \\\"'/#:-%&*!|>?[]{},~=", "\r\n", "---", "...", "<<", "😀", "é", "\\ud83d"]
"""What YAML has a meaning for, or no room."""
TEXTS = st.lists(st.characters(exclude_categories=["Cs"]) | st.sampled_from(PIECES), max_size=8).map(
    "".join
) | st.sampled_from(["x" * 1100, "\x7f" * 200])
MEMBERS = TEXTS.filter(lambda name: name not in ("class", "id") and not re.search("[\ue000-\ue07f]|^\\$", name))
"""Names that have no meaning to CWL, without characters that are refused in names."""
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def writers(draw: st.DrawFn) -> Callable[[Any], str]:
    """Ways to write a value as JSON."""
    ascii_only, mark = draw(st.booleans()), draw(st.sampled_from(["", "\ufeff"]))
    indent: Any = draw(st.sampled_from([None, 0, 2, "\t"]))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\n:\r\n"), (",\r", "\t: ")]))
    return lambda value: mark + json.dumps(value, ensure_ascii=ascii_only, indent=indent, separators=separators)


def refused(sent: str, media_type: str) -> str:
    with pytest.raises(Refusal) as caught:
        read_document(sent.encode(), media_type)
    return caught.value.message.format_map(caught.value.metadata)


def in_engine(sent: str, directory: Path) -> Any:
    """The default of the input x, as the engine has it."""
    package = directory / "package.cwl"
    package.write_bytes(sent.encode())
    report = Report(journal=Journal(directory, 0), cores=1, memory_mib=64, limits_steps=False, allowed_files=10)
    (found,) = load(package, "", report).tool["inputs"]
    return found["default"]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(MEMBERS, VALUES, max_size=3), writers())
def test_the_gate_reads_json_as_json(value: dict[str, Any], write: Callable[[Any], str]) -> None:
    sent = write(value)

    assert repr(value) == repr(json.loads(sent.removeprefix("\ufeff")))
    for media_type in (JSON, YAML):
        assert repr(value) == repr(read_document(sent.encode(), media_type).value)


@settings(max_examples=20, deadline=None)
@given(VALUES.filter(lambda value: value is not None), TEXTS, writers())
def test_the_engine_and_the_description_have_what_json_says(
    tmp_path_factory: pytest.TempPathFactory, value: Any, label: str, write: Callable[[Any], str]
) -> None:
    sent = write(
        {
            "cwlVersion": "v1.2",
            "class": "ExpressionTool",
            "id": "text",
            "label": label,
            "requirements": {"InlineJavascriptRequirement": {}},
            "inputs": {"x": {"type": "Any", "default": value}},
            "outputs": {},
            "expression": "${return {}}",
        }
    )
    read = inspect_package(sent.encode(), JSON, workflow=None, process_id=None, process_description=None)

    # Numbers are of classes of the library here, and equal those of JSON.
    assert value == in_engine(sent, tmp_path_factory.mktemp("package"))
    assert value == read["cwl_inputs"]["x"]["default"]
    assert (label or "text") == read["description"]["title"]


@pytest.mark.parametrize(
    "text",
    [
        r'{"doc": "\\ud83d\\ude00"}',
        r"doc: '\ud83d\ude00'",
        "doc: |\n  \\ud83d\\ude00\n",
        '{"doc": "x", "y": [1, 2.50]}',
    ],
)
def test_what_the_scanner_reads_right_stays(text: str) -> None:
    assert text == package_text(decode(text.encode())).text


@pytest.mark.parametrize("length", range(1015, 1030))
def test_keys_of_any_length_are_keys(length: int) -> None:
    for space in ("", " ", "\t \t", "\n", "\r"):
        sent = '{"a": {"' + "k" * length + f'"{space}: [1], "b":2}}}}'

        assert {"a": {"k" * length: [1], "b": 2}} == read_document(sent.encode(), JSON).value


@given(
    st.lists(st.tuples(TEXTS, st.sampled_from(["", " ", "\n", "\r\n", "\r", " \t"])), min_size=1, max_size=8),
    st.booleans(),
)
def test_places_are_those_of_the_text_that_was_sent(entries: list[tuple[str, str]], ascii_only: bool) -> None:
    sent, expected = "{", {}
    for number, (text, space) in enumerate(entries):
        sent += ("," if number else "") + space
        key = f"{number}{text}"
        at_key = len(sent)
        sent += json.dumps(key, ensure_ascii=ascii_only) + space + ":" + space
        expected[key] = position(sent, at_key), position(sent, len(sent))
        sent += json.dumps(text, ensure_ascii=ascii_only)
    document = read_document((sent + "}").encode(), JSON)

    pointers = {key: "/" + key.replace("~", "~0").replace("/", "~1") for key in expected}
    assert expected == {key: (document.key_places[place], document.places[place]) for key, place in pointers.items()}


@pytest.mark.parametrize(
    ("sent", "media_type", "said"),
    [
        # Columns behind characters that are written otherwise for the scanner, or not counted by it.
        (r'{"doc": "\ud83d\ude00", "a": 1, "a": 2}', JSON, "The key a is given twice (line 1, column 33)."),
        ('{"doc": "\u2028",\n "x\x7f": "\x85", "a": 1, "a": 2}', JSON, "The key a is given twice (line 2, column 21)."),
        ('{"' + "k" * 2000 + '": 1, "a": 1, "a": 2}', JSON, "The key a is given twice (line 1, column 2017)."),
        ('\ufeff{"a": 1, "a": 2}', JSON, "The key a is given twice (line 1, column 10)."),
        ('{"\ufeff": 1, "a": 1, "a": 2}', JSON, "The key a is given twice (line 1, column 18)."),
        ('"\ufeff\ufeff": {a: 1, a: 2}', YAML, "The key a is given twice (line 1, column 14)."),
        # No JSON.
        ('\r{"a":\r "\x85", "b": tru}', JSON, "not valid JSON: invalid literal, expected 'true' (line 3, column 12)."),
        ('{"a": "\r\n"}', JSON, "not valid JSON: unexpected control character in string (line 1, column 8)."),
        ('{"a": "\x00"}', JSON, "not valid JSON: unexpected control character in string (line 1, column 8)."),
        ('{"é": "\\ud83d"}', JSON, "not valid JSON: no low surrogate in string (line 1, column 8)."),
        ('{"é": "\\ude00"}', JSON, "not valid JSON: invalid high surrogate in string (line 1, column 8)."),
        ('{"é": "\\ud83d"}', YAML, "An escape names half a character. Write the character itself (line 1, column 7)."),
        ('{"a": 1e400}', JSON, "not valid JSON: number is infinity when parsed as double (line 1, column 7)."),
        ('{"a": NaN}', JSON, "(line 1, column 7)."),
        ('\ufeff\ufeff{"a": 1}', JSON, "(line 1, column 1)."),
        # JSON, but nothing that can be kept.
        ('{"a": 1, "\\u0061": 2}', JSON, "The key a is given twice (line 1, column 10)."),
        ('{"a": ' + "[" * 65 + "]" * 65 + "}", JSON, "nested deeper than 64 levels (line 1, column 70)."),
        ('{"a": ' + "[" * 90000 + "]" * 90000 + "}", JSON, "depth limit exceeded (line 1, column 1031)."),
        ('{"a": ' + "9" * 309 + "}", JSON, "(line 1, column 7)."),
    ],
)
def test_a_refusal_tells_the_place_in_the_text_that_was_sent(sent: str, media_type: str, said: str) -> None:
    assert said in refused(sent, media_type)


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("around", ['"x {} y"', "'{}'", "x{}y", "x # {} y", "|\n  x{}y", ">\n  x{} y"])
def test_yaml_with_ends_of_lines_of_one_version_only_is_refused(around: str, character: str) -> None:
    sent = "a: " + around.format(character)
    line, column = position(sent, sent.index(character))

    said = refused(sent, YAML)

    assert f"U+{ord(character):04X}, which ends a line in one version of YAML and not in the other" in said
    assert said.endswith(f"(line {line}, column {column}).")


@pytest.mark.parametrize("character", ["\0", "\x01", "\x7f", "\x80", "\ufffe", "\uffff"])
def test_yaml_with_characters_that_are_not_taken_is_refused_with_the_way_to_write_them(character: str) -> None:
    said = refused(f'a: é\r\nb: "{character}"', YAML)
    escape = re.search(r"Write (\S+) in double quotes \(line 2, column 5\)", said)

    assert escape is not None, said
    assert {"b": character} == read_document(f'b: "{escape[1]}"'.encode(), YAML).value


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("9223372036854775808", 2**63),
        ("-9223372036854775808", -(2**63)),
        # Beyond 64 bits a number is a double, whichever way it is written.
        ("1000000000000000000000", 1e21),
        ("-9223372036854775809", -(2.0**63)),
        ("-0", 0),
        ("-0.0", -0.0),
        ("1E5", 1e5),
        ("1e-7", 1e-7),
        ("1.5E+3", 1500.0),
        ("1e-400", 0.0),
    ],
)
def test_numbers_are_read_as_they_are_kept(written: str, number: float) -> None:
    value = read_document(f'{{"a": {written}}}'.encode(), JSON).value["a"]

    assert repr(number) == repr(value)
