"""Reading harvest messages."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestion.harvest import (
    LARGEST_MESSAGE,
    LONGEST_KEY_BYTES,
    MOST_KEYS,
    Harvest,
    KeyAction,
    media_type_of,
    parse_harvest,
)
from services.shared.errors import InvalidArgument

LEAST: dict[str, Any] = {"bucket_name": "harvest", "source": "git", "target": ""}


def parse(**members: Any) -> Any:
    return parse_harvest(json.dumps({**LEAST, **members}).encode(), "ada")


def pointers(content: bytes | dict[str, Any]) -> list[str]:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(InvalidArgument) as caught:
        parse_harvest(data, "ada")
    assert caught.value.reason_name == "INVALID_HARVEST_MESSAGE"
    return [violation.pointer for violation in caught.value.violations]


def test_the_message_of_the_data_hub_is_read() -> None:
    harvest = parse(
        **{
            "id": "job-1",
            "workspace": "ada",
            "source-uri": "https://example.org/catalogs/user/catalogs/ada/jobs/job-1",
            "repository": "workflows",
            "branch": "main",
            "added_keys": ["git-harvester/1/ada/ndvi.cwl"],
            "updated_keys": ["git-harvester/1/ada/evi.cwl.yaml"],
            "deleted_keys": ["git-harvester/1/ada/old.json"],
        }
    )

    assert (harvest.message_id, harvest.source, harvest.bucket_name) == ("job-1", "git", "harvest")
    assert harvest.actions == (
        KeyAction(key="git-harvester/1/ada/ndvi.cwl", verb="deploy"),
        KeyAction(key="git-harvester/1/ada/evi.cwl.yaml", verb="deploy"),
        KeyAction(key="git-harvester/1/ada/old.json", verb="undeploy"),
    )


def test_a_key_named_twice_is_taken_once() -> None:
    harvest = parse(added_keys=["a.cwl", "a.cwl"], updated_keys=["a.cwl"], deleted_keys=["b.cwl", "b.cwl"])

    assert [(action.key, action.verb) for action in harvest.actions] == [("a.cwl", "deploy"), ("b.cwl", "undeploy")]


def test_lists_may_be_null_or_missing() -> None:
    assert parse(added_keys=None, id=None, workspace=None).actions == ()


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"bucket_name": None}, "/bucket_name"),
        ({"bucket_name": ".."}, "/bucket_name"),
        ({"bucket_name": "a/b"}, "/bucket_name"),
        ({"bucket_name": "a..b"}, "/bucket_name"),
        ({"bucket_name": "harvest\n"}, "/bucket_name"),
        ({"source": 1}, "/source"),
        ({"source": "a\x00b"}, "/source"),
        ({"target": None}, "/target"),
        ({"id": ""}, "/id"),
        ({"id": 7}, "/id"),
        ({"id": "x" * 257}, "/id"),
        ({"workspace": "bob"}, "/workspace"),
        ({"added_keys": "a.cwl"}, "/added_keys"),
        ({"added_keys": ["ok.cwl", 1]}, "/added_keys/1"),
        ({"updated_keys": ["../a.cwl"]}, "/updated_keys/0"),
        ({"updated_keys": ["a/../b.cwl"]}, "/updated_keys/0"),
        ({"updated_keys": ["/etc/passwd"]}, "/updated_keys/0"),
        ({"updated_keys": ["a//b.cwl"]}, "/updated_keys/0"),
        ({"updated_keys": ["a\\b.cwl"]}, "/updated_keys/0"),
        ({"updated_keys": ["a\nb.cwl"]}, "/updated_keys/0"),
        ({"updated_keys": ["."]}, "/updated_keys/0"),
        ({"deleted_keys": [""]}, "/deleted_keys/0"),
        ({"deleted_keys": ["é" * (LONGEST_KEY_BYTES // 2 + 1)]}, "/deleted_keys/0"),
        ({"added_keys": ["a.cwl"], "deleted_keys": ["b.cwl", "a.cwl"]}, "/deleted_keys/1"),
        ({"added_keys": [f"{number}.cwl" for number in range(MOST_KEYS + 1)]}, "/added_keys"),
        (
            {"added_keys": [f"{number}.cwl" for number in range(MOST_KEYS)], "deleted_keys": ["a.cwl"]},
            "",
        ),
    ],
)
def test_what_is_wrong_is_pointed_at(change: dict[str, Any], pointer: str) -> None:
    assert pointers({**LEAST, **change}) == [pointer]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert sorted(pointers({"added_keys": [".."]})) == ["/added_keys/0", "/bucket_name", "/source", "/target"]


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 5000, b'{"a": NaN}', b"\xff", b" " * (LARGEST_MESSAGE + 1)])
def test_what_is_not_json_is_refused(content: bytes) -> None:
    assert pointers(content) == []


@pytest.mark.parametrize("content", [b"[]", b"null", b'"text"', b"1"])
def test_what_is_no_object_is_refused(content: bytes) -> None:
    assert pointers(content) == [""]


def test_the_order_of_members_and_spacing_do_not_make_another_message() -> None:
    document = {**LEAST, "added_keys": ["a.cwl"], "more": {"b": 1, "a": [1.0, 2]}}
    again = json.dumps(dict(reversed(document.items())), indent=2).encode()

    assert parse_harvest(json.dumps(document).encode(), "ada") == parse_harvest(again, "ada")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
keys = st.lists(st.text(max_size=30) | st.sampled_from(["a.cwl", "b/c.yaml", "..", "/x", "d.txt"]), max_size=6)
messages = st.fixed_dictionaries(
    {
        "bucket_name": st.just("harvest") | json_values,
        "source": st.text(max_size=10) | json_values,
        "target": st.text(),
    },
    optional={
        "id": st.text(max_size=10) | json_values,
        "workspace": st.sampled_from(["ada", "bob", None]) | json_values,
        "added_keys": keys | json_values,
        "updated_keys": keys | json_values,
        "deleted_keys": keys | json_values,
        "more": json_values,
    },
)


@given(messages | json_values)
def test_any_document_is_read_or_refused_with_a_reason(document: Any) -> None:
    content = json.dumps(document).encode()
    try:
        harvest = parse_harvest(content, "ada")
    except InvalidArgument as error:
        refusal = error
    else:
        check_harvest(document, harvest)
        assert harvest == parse_harvest(content, "ada")
        return
    assert refusal.reason_name == "INVALID_HARVEST_MESSAGE"
    assert refusal.message


def check_harvest(document: dict[str, Any], harvest: Harvest) -> None:
    names = [action.key for action in harvest.actions]
    assert len(names) == len(set(names)) <= MOST_KEYS
    assert set(names) == {
        *(document.get("added_keys") or []),
        *(document.get("updated_keys") or []),
        *(document.get("deleted_keys") or []),
    }
    for name in names:
        assert not name.startswith("/")
        assert not {"..", "."} & set(name.split("/"))
        assert "\x00" not in name
    assert 0 < len(harvest.message_id) <= 256


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse_harvest(content, "ada")


@pytest.mark.parametrize(
    ("key", "content", "media_type"),
    [
        ("a.cwl", b"anything", "application/cwl"),
        ("a.cwl.yaml", b"#!/usr/bin/env cwl-runner\ncwlVersion: v1.2\n", "application/cwl+yaml"),
        ("a.yml", b'"cwlVersion" : v1.2', "application/cwl+yaml"),
        ("a.yml", b"{cwlVersion: v1.2, class: Workflow}", "application/cwl+yaml"),
        ("a.yml", b"# cwlVersion: v1.2\nname: x", None),
        ("a.yaml", b"\xff\xfe\x00", None),
        ("a.json", b'{"cwlVersion": "v1.2"}', "application/cwl+json"),
        (
            "a.json",
            b'{"processDescription": {}, "executionUnit": {"unit": {"cwlVersion": "v1.2"}}}',
            "application/ogcapppkg+json",
        ),
        ("a.json", b'{"properties": {"cwlVersion": "v1.2"}}', None),
        ("a.json", b'["cwlVersion"]', None),
        ("a.json", b"cwlVersion: v1.2", None),
        ("a.json", b"", None),
    ],
)
def test_a_package_is_known_by_its_key_and_content(key: str, content: bytes, media_type: str | None) -> None:
    assert media_type_of(key, content) == media_type
