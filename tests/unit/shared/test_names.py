"""Resource names."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.errors import InvalidArgument, NotFound, ServiceError
from services.shared.names import IngestionName, JobName, ProcessName, WorkspaceName, parse_name

workspaces = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
process_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True)


@given(workspaces, process_ids, st.uuids())
def test_a_name_reads_back_as_it_was_written(workspace: str, process_id: str, identifier: UUID) -> None:
    for name in (
        WorkspaceName(workspace),
        ProcessName(workspace, process_id),
        JobName(workspace, identifier),
        IngestionName(workspace, identifier),
    ):
        assert name == parse_name(str(name))


@given(st.text(max_size=200))
def test_any_text_is_a_name_that_reads_back_or_none(text: str) -> None:
    try:
        name = str(parse_name(text))
    except ServiceError:
        name = text

    assert text == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "workspaces",
        "workspaces/",
        "workspaces/Ada",
        "workspaces/-ada",
        "workspaces/ada-",
        "workspaces/" + "a" * 64,
        "workspaces/ada\n",
        "workspaces/Ada/jobs/1",
        "workspaces/ada/processes/a/b",
        "workspaces/ada/things/1",
    ],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "workspaces/ada/processes/",
        "workspaces/ada/processes/..",
        "workspaces/ada/processes/a..b",
        "workspaces/ada/processes/.hidden",
        "workspaces/ada/processes/a b",
        "workspaces/ada/processes/" + "a" * 64,
        "workspaces/ada/processes/а",  # Cyrillic
        "workspaces/ada/jobs/1",
        "workspaces/ada/jobs/01A20740-2B7C-716C-8781-0101999FD6FA",
        "workspaces/ada/jobs/01a207402b7c716c87810101999fd6fa",
        "workspaces/ada/jobs/{01a20740-2b7c-716c-8781-0101999fd6fa}",
        "workspaces/ada/jobs/",
        "workspaces/ada/ingestions/1",
    ],
)
def test_an_id_that_nothing_can_have_is_that_of_nothing(name: str) -> None:
    with pytest.raises(NotFound) as refused:
        parse_name(name)

    reasons = {"processes": "NO_SUCH_PROCESS", "jobs": "NO_SUCH_JOB", "ingestions": "NO_SUCH_INGESTION"}
    assert reasons[name.split("/")[2]] == refused.value.reason_name


def test_a_name_of_no_form_is_told_the_form_of_its_call() -> None:
    with pytest.raises(InvalidArgument, match=r"does not have the form workspaces/\{workspace\}"):
        parse_name("", "workspaces/{workspace}")
