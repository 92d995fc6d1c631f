"""Text of packages: what JSON can write, YAML can read afterwards."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.submission.cwl.text import package_text
from services.submission.packages.document import read_document
from services.submission.packages.refusal import Refusal


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('\\"ud83d')))
def test_a_text_is_the_same_however_json_writes_it(text: str) -> None:
    escaped, plain = (json.dumps({"doc": text}, ensure_ascii=ascii_only) for ascii_only in (True, False))

    assert {"doc": text} == read_document(escaped.encode(), "application/cwl+json").value
    assert {"doc": text} == read_document(plain.encode(), "application/cwl+json").value


@pytest.mark.parametrize(
    "text",
    [
        r'{"doc": "\\ud83d\\ude00"}',
        r"doc: '\ud83d\ude00'",
        "doc: |\n  \\ud83d\\ude00\n",
    ],
)
def test_what_is_no_escape_stays(text: str) -> None:
    assert text == package_text(text.encode())


def test_half_a_character_is_refused_in_json_too() -> None:
    with pytest.raises(Refusal):
        read_document(rb'{"doc": "\ud83d"}', "application/cwl+json")
