"""What the services do for callers over REST."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ogc.problems import LARGEST_PROBLEM, problem
from services.ogc.requests import RestRequest
from services.shared.errors import NotFound, Violation
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_INPUTS, ERROR_REASON_NO_SUCH_JOB


def rest(**headers: str) -> RestRequest:
    metadata = [("x-envoy-original-path", "/workspaces/ada/jobs/x?limit=3"), *headers.items()]
    request = RestRequest.of([(key.replace("_", "-"), value) for key, value in metadata], None)
    assert request is not None
    return request


def test_a_call_without_the_mark_of_the_edge_is_not_rest() -> None:
    assert RestRequest.of([("x-forwarded-host", "evil.example")], None) is None


def test_links_begin_with_what_the_client_sees() -> None:
    seen = rest(x_forwarded_proto="https", x_forwarded_host="eo.example", x_forwarded_prefix="/api")

    assert "https://eo.example/api/workspaces/ada/jobs" == seen.url("workspaces/ada", "jobs")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("respond-async", {"respond-async": ""}),
        ("respond-async;return=representation", {"respond-async": "", "return": "representation"}),
        ('wait=10, RESPOND-ASYNC, handling="lenient"', {"wait": "10", "respond-async": "", "handling": "lenient"}),
        ("", {}),
        (" , ", {}),
    ],
)
def test_preferences_are_read_as_clients_send_them(header: str, expected: dict[str, str]) -> None:
    assert expected == rest(prefer=header).preferences()


@given(st.text(), st.lists(st.tuples(st.text(max_size=50), st.text(max_size=900)), max_size=30))
def test_a_problem_fits_into_a_header_and_reads_back(message: str, violations: list[tuple[str, str]]) -> None:
    error = NotFound(
        ERROR_REASON_INVALID_INPUTS,
        message,
        violations=[Violation(pointer, text) for pointer, text in violations],
    )

    document = problem(error, status=400, title="Bad Request", rest=rest(), trace_id=None)

    assert document.isascii()
    assert all(32 <= byte < 127 for byte in document)
    read = json.loads(document)
    assert "INVALID_INPUTS" == read["reason"]
    assert len(violations) == len(read.get("errors", [])) + read.get("moreErrors", 0)
    assert len(document) <= LARGEST_PROBLEM


def test_a_problem_has_the_type_of_the_standard_where_there_is_one() -> None:
    error = NotFound(ERROR_REASON_NO_SUCH_JOB, "No job {job}.", job="x")

    read = json.loads(problem(error, status=404, title="Not Found", rest=rest(), trace_id=None))

    assert "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-job" == read["type"]
    assert "/workspaces/ada/jobs/x" == read["instance"]
