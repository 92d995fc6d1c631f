"""Inputs by reference: what is fetched when a job is accepted, and what is only looked at."""

from typing import Any

import pytest

from services.shared.errors import InvalidArgument
from services.submission.execution.inputs import InputSchema
from services.submission.execution.references import MOST_HOSTS, MOST_LINKS, fetch_inputs
from services.submission.staging.fetcher import Fetched
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_FETCH_FAILED, ERROR_REASON_URL_REFUSED

pytestmark = pytest.mark.requirement("core/process-execute-input-validation")

LINK = {"href": "https://h.test/a"}


class Web:
    """Answers what it is told to, and remembers what it was asked for."""

    def __init__(self, body: bytes = b"5", media_type: str = "application/json", refusal: int | None = None) -> None:
        self.fetched: list[str] = []
        self.checked: list[str] = []
        self._answer = Fetched(body, media_type, "https://h.test/a")
        self._refusal = refusal

    async def fetch(self, url: str, *, max_bytes: int, accept: str) -> Fetched:
        self.fetched.append(url)
        self._refuse()
        return self._answer

    async def check(self, url: str) -> None:
        self.checked.append(url)
        self._refuse()

    def _refuse(self) -> None:
        if self._refusal is not None:
            raise InvalidArgument(self._refusal, "No.")


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def schema_of(**kinds: Any) -> InputSchema:
    return InputSchema({}, {name: {"type": kind} for name, kind in kinds.items()})


async def fetched(kind: Any, value: Any, web: Web) -> Any:
    return (await fetch_inputs(schema_of(x=kind), {"x": value}, web))[0]  # type: ignore[arg-type]


async def refusal(kind: Any, value: Any, web: Web) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as refused:
        await fetched(kind, value, web)
    return refused.value


@pytest.mark.parametrize(
    ("kind", "value", "body", "media_type", "expected"),
    [
        ("int", LINK, b"5", "application/json", {"value": 5}),
        ("int", {**LINK, "type": "application/json"}, b"5", "text/html", {"value": 5}),
        ("string", LINK, b"five", "text/plain", {"value": "five"}),
        ("string", LINK, b"five", "", {"value": "five"}),
        ("string", {**LINK, "type": "text/csv"}, b"a,b", "", {"value": "a,b", "mediaType": "text/csv"}),
        (array("int"), LINK, b"[1, 2]", "application/json", {"value": [1, 2]}),
        (array("int"), [1, LINK], b"2", "application/json", [1, {"value": 2}]),
        (array("double"), LINK, b'{"bbox": [1, 2, 3, 4]}', "application/geo+json", {"value": {"bbox": [1, 2, 3, 4]}}),
    ],
)
async def test_a_link_becomes_the_value_that_is_there(
    kind: Any, value: Any, body: bytes, media_type: str, expected: Any
) -> None:
    assert {"x": expected} == await fetched(kind, value, Web(body, media_type))


@pytest.mark.parametrize(
    ("kind", "value", "body", "media_type", "pointer"),
    [
        ("int", LINK, b'"five"', "application/json", "/inputs/x/href"),
        ("int", LINK, b"5", "text/plain", "/inputs/x/href"),
        ("int", LINK, b"{", "application/json", "/inputs/x/href"),
        ("string", LINK, b"\xff", "text/plain", "/inputs/x/href"),
        (array("int"), [1, LINK], b'"b"', "application/json", "/inputs/x/1/href"),
        (array("int"), LINK, b'[1, "b"]', "application/json", "/inputs/x/href"),
    ],
)
async def test_what_is_there_is_judged_like_any_value(
    kind: Any, value: Any, body: bytes, media_type: str, pointer: str
) -> None:
    refused = await refusal(kind, value, Web(body, media_type))

    assert "INVALID_INPUTS" == refused.reason_name
    assert [pointer] == [violation.pointer for violation in refused.violations]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", 5),
        ("string", "https://h.test/a"),
        ("Any", LINK),
        ({"type": "record", "fields": {"href": {"type": "string"}}}, LINK),
    ],
)
async def test_what_is_no_link_is_not_fetched(kind: Any, value: Any) -> None:
    web = Web()

    assert {} == await fetched(kind, value, web)
    assert [] == web.fetched + web.checked


@pytest.mark.parametrize(
    ("kind", "value"),
    [("File", LINK), ("File", "https://h.test/a"), (array("File"), [LINK, "https://h.test/b"]), ("Directory", LINK)],
)
async def test_a_file_is_looked_at_and_left_to_the_launch(kind: Any, value: Any) -> None:
    web = Web()

    assert {} == await fetched(kind, value, web)
    assert ([], ["https://h.test/a"]) == (web.fetched, web.checked)


async def test_a_file_that_would_not_be_fetched_is_refused() -> None:
    refused = await refusal(array("File"), ["https://h.test/a"], Web(refusal=ERROR_REASON_URL_REFUSED))

    assert "URL_REFUSED" == refused.reason_name
    assert ["/inputs/x/0"] == [violation.pointer for violation in refused.violations]


async def test_a_file_at_a_name_that_leads_nowhere_may_be_there_when_the_job_is_launched() -> None:
    assert {} == await fetched("File", LINK, Web(refusal=ERROR_REASON_FETCH_FAILED))


async def test_a_value_that_cannot_be_fetched_is_refused_where_its_link_stands() -> None:
    refused = await refusal("int", LINK, Web(refusal=ERROR_REASON_FETCH_FAILED))

    assert "FETCH_FAILED" == refused.reason_name
    assert ["/inputs/x/href"] == [violation.pointer for violation in refused.violations]


async def test_a_request_has_an_end_of_links() -> None:
    web = Web()

    refused = await refusal(array("int"), [LINK] * (MOST_LINKS + 1), web)

    assert [f"/inputs/x/{MOST_LINKS}"] == [violation.pointer for violation in refused.violations]
    assert [] == web.fetched


async def test_all_values_by_reference_share_one_allowance() -> None:
    web = Web(b'"' + b"x" * (3 << 20) + b'"')

    refused = await refusal(array("string"), [LINK, LINK], web)

    assert ["/inputs/x/1/href"] == [violation.pointer for violation in refused.violations]


async def test_the_hosts_of_many_files_are_not_all_asked_for() -> None:
    web = Web()

    await fetched(array("File"), [f"https://h{number}.test/a" for number in range(1000)], web)

    assert MOST_HOSTS == len(web.checked)
