"""The embedded engine gives up after 25,000 instructions; the dearest question must cost less than half of them.

The engine does not tell how many it used. So a rule is put before the decision that uses up a known share of the
budget: a question that still gets its answer after half the budget is gone costs less than half.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from services.access.identity import ENTRIES_LIMIT
from services.access.policy import EmbeddedEngine
from services.access.policy.files import policy_directory, read_data, read_modules
from tests.policy.questions import ACTIONS

BURNER = """package burner

import rego.v1

burnt := count([n | some n in input.burn; n > 0])

decision := {"burnt": burnt, "decision": data.workflow_runner.authz.decision}
"""

NAMES = [f"ws-{number}" for number in range(ENTRIES_LIMIT)]
CLAIMS: dict[str, dict[str, Any]] = {
    "all listed workspaces": {"workspaces": NAMES},
    "all workspaces with a role": {"workspaces": dict.fromkeys(NAMES, "owner")},
    "all owned workspaces": {"workspaces-owned": NAMES},
    "all groups of workspaces": {"groups": [f"/workspaces/{name}/owner" for name in NAMES]},
    "all realm roles": {"realm_access": {"roles": NAMES}},
    "some of each": {
        "workspaces": NAMES[0::3],
        "workspaces-owned": NAMES[1::3],
        "groups": [f"/workspaces/{name}/owner" for name in NAMES[2::3]],
    },
}


def question(claims: dict[str, Any], action: str, visibility: str) -> dict[str, Any]:
    kind = {"job": "job", "ingestion": "ingestion"}.get(action.partition(".")[0], "process")
    return {
        "subject": {"id": "ada", "anonymous": False, "claims": claims},
        "action": action,
        "workspace": "w",
        "resource": {
            "type": kind,
            "id": "x",
            "found": True,
            "visibility": visibility,
            "shared_workspaces": [f"other-{number}" for number in range(1000)],
            "shared_groups": [f"/other-{number}" for number in range(1000)],
            "calling_workspace": "c",
            "owner": "grace",
            "mutable": True,
        },
    }


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddedEngine]:
    modules = read_modules(policy_directory()) | {"burner.rego": BURNER}
    with EmbeddedEngine.open(modules, read_data(policy_directory()), entry_point="data.burner.decision") as engine:
        yield engine


def answered(engine: EmbeddedEngine, asked: dict[str, Any], burn: int) -> bool:
    try:
        engine.evaluate(json.dumps(asked | {"burn": [1] * burn}).encode())
    except RuntimeError as error:
        if "instruction" not in str(error).lower():
            raise
        return False
    return True


def most(engine: EmbeddedEngine, asked: dict[str, Any]) -> int:
    """How much can be burnt before the question gets no answer; -1 if it gets none at all."""
    low, high = -1, 25_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if answered(engine, asked, middle) else (low, middle)
    return low


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS)
def test_the_dearest_question_costs_less_than_half_of_the_budget(engine, claims):
    whole = most(engine, {})

    dear = [
        (action, visibility)
        for action in ACTIONS
        for visibility in ("private", "shared", "public", "user-service")
        if not answered(engine, question(claims, action, visibility), whole // 2)
    ]

    assert dear == []


if __name__ == "__main__":
    # Tells what share of the budget each action costs at worst.
    modules = read_modules(policy_directory()) | {"burner.rego": BURNER}
    own = EmbeddedEngine(modules, read_data(policy_directory()), entry_point="data.burner.decision")
    whole = most(own, {})
    for label, claims in CLAIMS.items():
        for action in ACTIONS:
            print(label, action, f"{1 - most(own, question(claims, action, 'shared')) / whole:.0%}")
