"""Page tokens."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ogc.paging import decode_token, encode_token, page_links
from services.ogc.requests import RestRequest
from services.shared.errors import InvalidArgument

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
IDS = TEXT.filter(bool)
SCOPES = st.lists(TEXT, max_size=4).map(tuple)


@given(IDS, SCOPES)
def test_a_token_leads_back_to_its_id(after: str, scope: tuple[str, ...]) -> None:
    assert after == decode_token(encode_token(after, scope), scope)


@given(IDS, SCOPES, SCOPES)
def test_a_token_of_another_list_is_refused(after: str, scope: tuple[str, ...], other: tuple[str, ...]) -> None:
    if scope != other:
        with pytest.raises(InvalidArgument):
            decode_token(encode_token(after, scope), other)


@given(IDS, SCOPES, st.data())
def test_a_token_with_another_character_is_refused(after: str, scope: tuple[str, ...], data: st.DataObject) -> None:
    token = encode_token(after, scope)
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters(codec="utf-8").filter(lambda character: character != token[place]))

    with pytest.raises(InvalidArgument):
        decode_token(token[:place] + character + token[place + 1 :], scope)


@given(
    st.text(min_size=1, max_size=60)
    | st.binary(min_size=1, max_size=60).map(lambda b: base64.urlsafe_b64encode(b).decode())
)
def test_whatever_else_is_refused_with_one_reason(token: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        decode_token(token, ("jobs", "ada"))

    assert "INVALID_PAGE_TOKEN" == refused.value.reason_name


def test_no_token_is_the_first_page() -> None:
    assert decode_token("", ("jobs", "ada")) is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "pageToken=T"),
        ("limit=2", "limit=2&pageToken=T"),
        ("pageToken=old&limit=2", "limit=2&pageToken=T"),
        ("page_token=old&limit=2&&status=a%2Cb", "limit=2&status=a%2Cb&pageToken=T"),
        ("datetime=2026-01-01T00:00:00+01:00/..", "datetime=2026-01-01T00:00:00+01:00/..&pageToken=T"),
    ],
)
def test_the_next_page_keeps_the_query_as_it_was_spelled(query: str, expected: str) -> None:
    rest = RestRequest(path=f"/workspaces/ada/jobs?{query}", root="http://x", headers={})

    links = {link.rel: link.href for link in page_links(rest, "http://x/workspaces/ada/jobs", "T")}

    assert f"http://x/workspaces/ada/jobs?{expected}" == links["next"]
