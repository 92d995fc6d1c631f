from typing import Any

import pytest

from services.access.identity import ANONYMOUS, Subject
from services.access.policy import Decision, ListFilter, PolicyInput
from services.access.policy.decision import MalformedDecision, parse_decision

ALLOWED = {"allow": True, "reason": "role", "hidden": False, "calling_workspace": "", "filter": None}
FILTER = {"everything": False, "workspaces": ["w"], "subject": None, "visibilities": ["public"], "groups": []}


def asking(action: str) -> PolicyInput:
    return PolicyInput(subject=ANONYMOUS, action=action, workspace="w", resource={"type": "process", "found": True})


def test_a_decision_is_read():
    decision = parse_decision(asking("process.read"), ALLOWED)

    assert decision == Decision(allow=True, reason="role")


def test_the_filter_of_a_list_is_read():
    decision = parse_decision(asking("process.list"), ALLOWED | {"filter": FILTER})

    assert decision.filter == ListFilter(
        everything=False, workspaces=("w",), subject=None, visibilities=("public",), groups=()
    )


@pytest.mark.parametrize(
    "document",
    [
        {},
        None,
        True,
        "true",
        [ALLOWED],
        {"allow": True},
        ALLOWED | {"allow": "true"},
        ALLOWED | {"allow": 1},
        ALLOWED | {"allow": None},
        ALLOWED | {"allow": "<undefined>"},
        ALLOWED | {"reason": None},
        ALLOWED | {"hidden": 0},
        ALLOWED | {"calling_workspace": None},
        ALLOWED | {"filter": "<undefined>"},
        ALLOWED | {"filter": {}},
        ALLOWED | {"filter": FILTER | {"everything": "false"}},
        ALLOWED | {"filter": FILTER | {"workspaces": "w"}},
        ALLOWED | {"filter": FILTER | {"workspaces": [None]}},
        ALLOWED | {"filter": FILTER | {"unknown": []}},
        ALLOWED | {"obligation": "ask twice"},
    ],
    ids=repr,
)
def test_an_answer_of_another_shape_is_no_answer(document: Any):
    with pytest.raises(MalformedDecision):
        parse_decision(asking("process.read"), document)


def test_a_list_is_not_allowed_without_a_filter():
    with pytest.raises(MalformedDecision):
        parse_decision(asking("job.list"), ALLOWED)


def test_an_execution_is_not_allowed_without_a_calling_workspace():
    with pytest.raises(MalformedDecision):
        parse_decision(asking("process.execute"), ALLOWED)


def test_the_input_has_the_documented_shape():
    subject = Subject(id="ada", claims={"workspaces": ["w"]}, token_expiry=None)
    query = PolicyInput(subject=subject, action="process.read", workspace="w", resource={"type": "process"})

    assert query.to_json() == (
        b'{"subject":{"id":"ada","anonymous":false,"claims":{"workspaces":["w"]}},'
        b'"action":"process.read","workspace":"w","resource":{"type":"process"}}'
    )
