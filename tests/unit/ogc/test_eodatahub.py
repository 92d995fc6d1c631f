"""What the clients of the EO DataHub read, made of what everybody reads."""

from typing import Any

import orjson
import pytest

from services.ogc.eodatahub import counted_links, description_for_forms
from services.ogc.requests import RestRequest

URL = "http://x/ades/ada/ogc-api/jobs"


def neighbors(query: str, **page: Any) -> dict[str, str]:
    rest = RestRequest(path=f"/workspaces/ada/jobs?{query}", root="http://x", headers={}, alias="/ades/ada/ogc-api")
    return {link.rel: link.href.removeprefix(URL) for link in counted_links(rest, URL, **page)}


@pytest.mark.parametrize(
    ("query", "page", "expected"),
    [
        ("", {"size": 10, "skip": 0, "more": False}, {"self": ""}),
        ("", {"size": 10, "skip": 0, "more": True}, {"self": "", "next": "?limit=10&skip=10"}),
        ("limit=10", {"size": 10, "skip": 4, "more": False}, {"self": "", "prev": "?limit=10&skip=0"}),
        (
            "skip=30&limit=10&status=failed&&processID=a%2Cb",
            {"size": 10, "skip": 30, "more": True},
            {
                "self": "",
                "prev": "?status=failed&processID=a%2Cb&limit=10&skip=20",
                "next": "?status=failed&processID=a%2Cb&limit=10&skip=40",
            },
        ),
        ("", {"size": 10, "skip": 99_991, "more": True}, {"self": "", "prev": "?limit=10&skip=99981"}),
    ],
)
def test_a_page_links_to_the_pages_beside_it(query: str, page: dict[str, Any], expected: dict[str, str]) -> None:
    assert expected == neighbors(query, **page)


def test_following_next_meets_every_job_once() -> None:
    total, skip = 47, 0
    seen: list[int] = []
    while True:
        seen += range(total)[skip : skip + 10]
        links = neighbors(f"limit=10&skip={skip}", size=10, skip=skip, more=skip + 10 < total)
        if "next" not in links:
            break
        skip = int(links["next"].rpartition("=")[2])

    assert list(range(total)) == seen


@pytest.mark.parametrize(
    ("default", "shown"),
    [(5, "5"), (2.5, "2.5"), (True, "true"), ("x", "x"), ([1], [1]), (None, None), ({"a": 1}, {"a": 1})],
)
def test_a_default_can_be_put_into_a_text_field(default: Any, shown: Any) -> None:
    described = {"id": "p", "inputs": {"x": {"schema": {"type": "integer", "default": default}}}, "outputs": {}}

    found = orjson.loads(description_for_forms(orjson.dumps(described)))

    assert shown == found["inputs"]["x"]["schema"]["default"]
    assert "extended-schema" not in found["inputs"]["x"]


def test_a_list_is_found_where_it_is_looked_for() -> None:
    schema = {"type": "array", "items": {"type": "string"}}

    found = orjson.loads(description_for_forms(orjson.dumps({"inputs": {"x": {"schema": schema}}})))

    assert schema == found["inputs"]["x"]["extended-schema"] == found["inputs"]["x"]["schema"]
