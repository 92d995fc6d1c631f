"""The gate in front of the CWL library: what it refuses, where it says so, and that it reads like the library."""

import time

import pytest
from schema_salad.utils import yaml_no_ts

from services.submission.packages.document import read_document
from services.submission.packages.limits import MAX_BYTES
from services.submission.packages.refusal import Refusal

YAML = "application/cwl+yaml"
JSON = "application/cwl+json"


def refused(content: bytes, media_type: str = YAML) -> str:
    with pytest.raises(Refusal) as caught:
        read_document(content, media_type)
    return caught.value.message.format_map(caught.value.metadata)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: &x 1", "Anchors (&name) are not taken. Write the value out where it is used (line 1, column 4)."),
        (b"a: 1\nb: *x", "(line 2, column 4)"),
        (b"a:\n  <<: {b: 1}", "Merge keys (<<) are not taken. Write the fields out (line 2, column 3)."),
        (b"a: !!python/object:os.system {}", "Tags (!name) are not taken"),
        (b"a: !!binary aGk=", "Tags (!name) are not taken"),
        (b"%TAG ! tag:x,2000:\n---\na: 1", "without directives"),
        (b"%YAML 1.1\n---\na: 1", "without directives"),
        (b"a: 1\n---\nb: 2", "Only one YAML 1.2 document"),
        (b"a: 1\nb: 2\na: 3", "The key a is given twice (line 3, column 1)."),
        (b"1: a", "The key 1 is not a string. Put it in quotes (line 1, column 1)."),
        (b"? [a]\n: b", "A key must be a string"),
        (b"a: .nan", "Infinity and NaN are not numbers here"),
        (b"a: -.inf", "Infinity and NaN are not numbers here"),
        (b"a: 1e999", "Infinity and NaN are not numbers here"),
        (b"a: " + b"9" * 5000, "larger than any"),
        (b"a: =", "A plain = has a meaning of its own"),
        (b'a: "\\ud83d\\ude00"', "An escape names half a character"),
        (b"a: [1, 2", "not valid YAML"),
        (b"a:\n\t- b", "not valid YAML"),
        (b"a: b: c", "(line 1, column 5)"),
        (b"\xff\xfea\x00:\x00", "The package is not UTF-8: byte 0"),
        (b'a: "\\UFFFFFFFF"', "escapes which YAML does not allow"),
        (b"- a", "a mapping with cwlVersion is expected at the top"),
        (b"just text", "a mapping with cwlVersion is expected at the top"),
        (b"# only a comment", "a mapping with cwlVersion is expected at the top"),
        (b"   \n", "The package is empty"),
        (b"[" * 5000, "nested deeper than 64 levels (line 1, column 65)"),
        (b"a:\n" + b"".join(b" " * n + b"-\n" for n in range(70)), "nested deeper than 64 levels"),
        (b"".join(b"k%d: 1\n" % n for n in range(30_000)), "more than 50000 YAML events"),
        (b"a: [" + b",".join([b"1"] * 60_000) + b"]", "more than 50000 YAML events"),
    ],
)
def test_what_is_more_than_json_could_say_is_refused_with_its_place(content, said):
    assert said in refused(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1,}', "not valid JSON: trailing comma"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": 1, "a": 2}', "The key a is given twice (line 1, column 10)."),
        (b"[" * 5000, "not valid JSON"),
        (b"a: 1", "not valid JSON"),
    ],
)
def test_json_packages_pass_the_same_gate(content, said):
    assert said in refused(content, JSON)


def test_a_package_of_more_than_a_mebibyte_is_refused_before_it_is_read():
    with pytest.raises(Refusal) as caught:
        read_document(b"a" * (MAX_BYTES + 1), YAML)

    assert ("ERROR_REASON_PACKAGE_TOO_LARGE", 413) == (caught.value.reason, caught.value.http_status)


def test_the_alias_bomb_is_refused_at_its_first_anchor():
    bomb = b"a0: &a0 [x, x]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 60))
    started = time.perf_counter()

    said = refused(bomb)

    assert "(line 1, column 5)" in said
    assert time.perf_counter() - started < 0.5


def test_values_know_their_line_and_column():
    document = read_document(b"a:\n  b: [x,\n    y]\n~key/: 1\n", YAML)

    assert {"a": {"b": ["x", "y"]}, "~key/": 1} == document.value
    assert "line 3, column 5" == document.place("/a/b/1")
    assert "/a/b" == document.pointer_at(2, 6)
    assert "/~0key~1" == document.pointer_at(4, 1)


@pytest.mark.parametrize(
    "text",
    [
        "a: 010\nb: 0o10\nc: 1_000\nd: yes\ne: ~\nf: 2001-01-01\ng: 1:30\nh:\ni: 0x1F\nj: 0b11\nk: +12\nl: 1.\nm: .5",
        "a: True\nb: FALSE\nc: 'true'\nd: NULL\ne: on\nf: 1e3\ng: 1.5e-3\nh: -0\ni: \"1\"\nj: 1e\nk: +.5e+2",
        "a: |\n  line\n\n  more\nb: >-\n  folded\n  text\nc: 'it''s'\nd: \"tab\\there\\u00e9\"",
        "a: {b: [1, {c: d}], e: }",
    ],
)
def test_plain_scalars_mean_what_they_mean_to_the_library(text):
    assert yaml_no_ts().load(text) == read_document(text.encode(), YAML).value
