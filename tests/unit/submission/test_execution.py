"""How an execution is answered: the negotiation of OGC API - Processes 1.0."""

from datetime import timedelta
from typing import Any

import pytest

from services.ogc.requests import RestRequest
from services.shared.errors import InvalidArgument
from services.submission.builtin.echo import EchoInputs
from services.submission.execution.mode import Mode, check_media_type, choose_mode

BOTH = ["sync-execute", "async-execute"]
SYNC = ["sync-execute"]
ASYNC = ["async-execute"]
LONGEST = timedelta(seconds=30)


def rest(prefer: str) -> RestRequest:
    return RestRequest(path="/", root="http://x", headers={"prefer": prefer})


@pytest.mark.parametrize(
    ("controls", "prefer", "mode"),
    [
        (ASYNC, "", Mode(None)),
        (SYNC, "", Mode(LONGEST)),
        (BOTH, "", Mode(LONGEST)),
        (ASYNC, "respond-async", Mode(None, when_accepted="respond-async")),
        (SYNC, "respond-async", Mode(LONGEST, when_accepted="respond-async")),
        (BOTH, "respond-async", Mode(None, when_accepted="respond-async")),
        (BOTH, "respond-async;return=representation", Mode(None, when_accepted="respond-async")),
        (BOTH, "respond-async, wait=5", Mode(timedelta(seconds=5), "wait=5", "respond-async")),
        (BOTH, "respond-sync", Mode(LONGEST)),
        (BOTH, 'note="a, respond-async"', Mode(LONGEST)),
        (BOTH, "wait=5", Mode(timedelta(seconds=5), "wait=5", "wait=5")),
        (BOTH, "wait=0", Mode(timedelta(0), "wait=0", "wait=0")),
        (BOTH, "wait=500", Mode(LONGEST, "wait=30", "wait=30")),
        (BOTH, "wait=" + "9" * 5000, Mode(LONGEST, "wait=30", "wait=30")),
        (ASYNC, "wait=5", Mode(None)),
        (ASYNC, "wait=5, respond-async", Mode(None, when_accepted="respond-async")),
    ],
)
def test_the_mode_follows_the_table_of_the_standard(controls: list[str], prefer: str, mode: Mode) -> None:
    assert mode == choose_mode(rest(prefer), controls, LONGEST)


def test_a_caller_over_grpc_never_waits() -> None:
    assert Mode(None) == choose_mode(None, BOTH, LONGEST)


@pytest.mark.parametrize("wait", ["wait=-1", "wait=x", "wait=1.5", "wait=", "wait=²", "=", '"', ",;,"])
def test_a_preference_that_cannot_be_read_is_left_alone(wait: str) -> None:
    assert Mode(LONGEST) == choose_mode(rest(wait), BOTH, LONGEST)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/xml", "application/jsonx"])
def test_what_is_not_json_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_media_type(content_type)

    assert 415 == refused.value.http_status


@pytest.mark.parametrize(
    ("inputs", "pointers"),
    [
        ({"message": "x"}, []),
        ({"message": {"value": "x"}}, []),
        ({"message": "x", "object": {"value": {"a": 1}}, "numbers": [1, 2]}, []),
        ({"message": "x", "bbox": {"bbox": [1, 2, 3, 4]}}, []),
        ({"message": "x", "media": {"value": "aGk=", "mediaType": "text/plain"}}, []),
        ({"message": "x", "media": {"value": "aGk=", "mediaType": "application/octet-stream"}}, []),
        ({"message": "x", "media": {"value": "?", "mediaType": "application/octet-stream"}}, ["/inputs/media/value"]),
        ({"message": "x", "media": {"value": "x", "mediaType": "text/html"}}, ["/inputs/media/mediaType"]),
        ({"message": "x", "media": "plain"}, []),
        ({"message": "x", "media": 1}, ["/inputs/media"]),
        ({}, ["/inputs/message"]),
        ({"message": 1, "numbers": [1, "b"], "more": 1}, ["/inputs/message", "/inputs/numbers/1", "/inputs/more"]),
        ({"message": "x", "pause": -1}, ["/inputs/pause"]),
        ({"message": "x", "bbox": {"bbox": [1]}}, ["/inputs/bbox/bbox"]),
        ({"message": "x", "bbox": {"bbox": [1, 2, 3, 4, 5]}}, ["/inputs/bbox/bbox"]),
        ({"message": "x", "words": "one"}, []),
        ({"message": "x", "words": ["one", {"value": "two"}]}, []),
        ({"message": "x", "words": []}, ["/inputs/words"]),
        ({"message": "x", "words": ["one", 2]}, ["/inputs/words/1"]),
        ({"message": "x", "words": ["w"] * 11}, ["/inputs/words"]),
    ],
)
def test_echo_checks_its_inputs(inputs: dict[str, Any], pointers: list[str]) -> None:
    try:
        EchoInputs().job_order(inputs)
        found: list[str] = []
    except InvalidArgument as refusal:
        found = [violation.pointer for violation in refusal.violations]

    assert pointers == found
