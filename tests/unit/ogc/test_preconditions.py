"""Preconditions, and what comes first of them (RFC 9110, 13.2.2)."""

import pytest

from services.ogc.preconditions import etag_of, is_unchanged, require_unchanged, same_range
from services.shared.errors import FailedPrecondition

TAG = '"a"'


@pytest.mark.parametrize(
    ("header", "known"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"x", "a"', True),
        ('"x",W/"a" , "y"', True),
        ("*", True),
        (" * ", True),
        ('"x"', False),
        ('"a,b"', False),
        ("a", False),
        ("", False),
        ('"x", *', False),
    ],
)
def test_what_the_caller_has_is_compared_weakly(header: str, known: bool) -> None:
    assert known == is_unchanged({"if-none-match": header}, TAG)


@pytest.mark.parametrize("header", ['"a"', '"x", "a"', "*"])
def test_what_has_to_be_there_is(header: str) -> None:
    assert not is_unchanged({"if-match": header}, TAG)


@pytest.mark.parametrize("header", ['"x"', 'W/"a"', "a", ""])
def test_what_has_to_be_there_is_compared_strongly(header: str) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        is_unchanged({"if-match": header, "if-none-match": TAG}, TAG)

    assert (412, "PRECONDITION_FAILED") == (refused.value.http_status, refused.value.reason_name)


def test_a_writer_must_know_the_state_and_must_not_find_one_he_excludes() -> None:
    require_unchanged({"if-match": '"x", "a"', "if-none-match": '"x"'}, TAG)
    for headers in ({"if-match": '"x"'}, {"if-none-match": "*"}, {"if-none-match": TAG}):
        with pytest.raises(FailedPrecondition):
            require_unchanged(headers, TAG)


@pytest.mark.parametrize(
    ("header", "same"),
    [
        (None, True),
        (TAG, True),
        ('W/"a"', False),
        ('"x"', False),
        ("*", False),
        ("Wed, 21 Oct 2015 07:28:00 GMT", False),
    ],
)
def test_a_range_is_of_what_the_caller_has_or_nothing(header: str | None, same: bool) -> None:
    assert same == same_range(header, TAG)


def test_tags_tell_parts_apart() -> None:
    assert etag_of(b"ab", b"c") != etag_of(b"a", b"bc")
