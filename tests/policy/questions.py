"""Makes questions for the policy: sensible ones over all actions, and others that were damaged on purpose."""

import copy
import random
from collections.abc import Iterator
from typing import Any

ACTIONS = (
    "workspace.read",
    "process.list",
    "process.read",
    "package.read",
    "process.execute",
    "process.deploy",
    "process.replace",
    "process.undeploy",
    "process.share",
    "job.list",
    "job.read",
    "job.watch",
    "job.logs",
    "job.results",
    "job.dismiss",
    "ingestion.create",
    "ingestion.list",
    "ingestion.read",
)

OVERLAY = {"workflow_runner_config": {"anonymous": {"open": "developer"}, "stranger_actions": {"job.list": True}}}
"""The data the questions are decided with besides data.json, so that every source of roles takes part."""

WORKSPACES = ("w", "open", "mine", "third", "other")
ROLES = ("viewer", "executor", "developer", "owner", "emperor")
GROUPS = (
    "/workspaces/w/viewer",
    "/workspaces/w/owner",
    "/workspaces/mine/developer",
    "/workspaces/w",
    "/floods",
    "w/owner",
)
VISIBILITIES = ("private", "shared", "public", "user-service", "secret")

Question = dict[str, Any]


def sensible(draw: random.Random) -> Question:
    """A question such as the services ask."""
    action = draw.choice(ACTIONS)
    anonymous = draw.random() < 0.12
    return {
        "subject": {
            "id": "anonymous" if anonymous else draw.choice(("ada", "grace")),
            "anonymous": anonymous,
            "claims": {} if anonymous else _claims(draw),
        },
        "action": action,
        "workspace": draw.choice(WORKSPACES[:3]),
        "resource": _resource(draw, action),
    }


def damaged(draw: random.Random) -> Question:
    """A question with one to three members missing, of a wrong type, or strange."""
    question = sensible(draw)
    for _ in range(draw.randint(1, 3)):
        place = draw.choice(list(_places(question)))
        holder, key = place
        match draw.randrange(5):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1:
                holder[key] = [holder[key]]
            case 2:
                holder[key] = {draw.choice(("w", "workspaces", "", "viewer")): holder[key]}
            case _:
                holder[key] = copy.deepcopy(draw.choice(STRANGE))
    return question


STRANGE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    4,
    2**63,
    -(2**63),
    10**30,
    1.5e308,
    "",
    "w",
    "W",
    "w\u0000",
    "\u0000",
    "ẃ",
    "w\u0301",
    "../w",
    "owner",
    "true",
    "<undefined>",
    "x" * 2000,
    [],
    {},
    [None],
    [[]],
    ["w", "mine"],
    {"w": "owner"},
    {"w": ["owner"]},
    {"w": None},
    ["/workspaces/w/owner", 7, None, {"a": 1}],
)


def _claims(draw: random.Random) -> dict[str, Any]:
    claims: dict[str, Any] = {"preferred_username": "ada"}
    match draw.randrange(4):
        case 0:
            claims["workspaces"] = draw.sample(WORKSPACES, draw.randint(0, 3))
        case 1 | 2:
            claims["workspaces"] = {name: draw.choice(ROLES) for name in draw.sample(WORKSPACES, draw.randint(0, 3))}
    if draw.random() < 0.3:
        claims["workspaces-owned"] = draw.sample(WORKSPACES, draw.randint(0, 2))
    if draw.random() < 0.4:
        claims["groups"] = draw.sample(GROUPS, draw.randint(0, 3))
    if draw.random() < 0.3:
        claims["workspace"] = draw.choice(WORKSPACES)
    if draw.random() < 0.15:
        claims["realm_access"] = {"roles": draw.choice((["workflow-runner-operator"], ["hub_user"], []))}
    if draw.random() < 0.1:
        claims["workflow_runner_service"] = draw.choice(("ingestion", "other"))
    return claims


def _resource(draw: random.Random, action: str) -> dict[str, Any]:
    kind = {"job": "job", "ingestion": "ingestion", "workspace": "workspace"}.get(action.partition(".")[0], "process")
    if action.endswith(".list"):
        kind = "workspace"
    resource: dict[str, Any] = {"type": kind, "id": "x", "found": draw.random() < 0.85}
    if not resource["found"]:
        return resource
    if kind == "process":
        resource |= {
            "visibility": draw.choice(VISIBILITIES),
            "shared_workspaces": draw.sample(WORKSPACES, draw.randint(0, 2)),
            "shared_groups": draw.sample(GROUPS, draw.randint(0, 2)),
            "owner": draw.choice(("ada", "grace", "anonymous")),
            "mutable": draw.random() < 0.8,
        }
    if kind == "job":
        resource |= {
            "calling_workspace": draw.choice(WORKSPACES),
            "owner": draw.choice(("ada", "grace", "anonymous")),
            "visibility": draw.choice(VISIBILITIES),
        }
    return resource


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    entries = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, inner in entries:
        yield value, key
        yield from _places(inner)
