"""What each kind of caller may do in workspace `w`, as one table to read. An RPC without a row fails."""

import pytest

from services.access.identity import ANONYMOUS, Subject
from services.access.policy import Embedded, PolicyEngine, PolicyInput, open_policy
from tests.policy.test_policy_actions import METHODS, action_of


def subject(**claims: object) -> Subject:
    return Subject(id="ada", claims=claims, token_expiry=None)


CALLERS = {
    "anonymous": ANONYMOUS,
    "stranger": subject(workspaces={"elsewhere": "owner"}),
    "viewer": subject(workspaces={"w": "viewer"}),
    "executor": subject(workspaces={"w": "executor"}),
    "developer": subject(workspaces={"w": "developer"}),
    "owner": subject(workspaces={"w": "owner"}),
    "operator": subject(realm_access={"roles": ["workflow-runner-operator"]}),
    "ingestion": subject(workflow_runner_service="ingestion"),
}

# yes: allowed; no: refused; ...: refused as if it did not exist.
PRIVATE = """
                  anonymous  stranger  viewer  executor  developer  owner  operator  ingestion
workspace.read    no         no        yes     yes       yes        yes    yes       no
process.list      no         yes       yes     yes       yes        yes    yes       yes
process.read      no         ...       yes     yes       yes        yes    yes       ...
package.read      no         ...       yes     yes       yes        yes    yes       ...
process.execute   no         ...       no      yes       yes        yes    no        ...
process.deploy    no         no        no      no        yes        yes    no        yes
process.replace   no         ...       no      no        yes        yes    no        yes
process.undeploy  no         ...       no      no        yes        yes    no        yes
process.share     no         ...       no      no        yes        yes    no        yes
job.list          no         no        yes     yes       yes        yes    yes       no
job.read          no         ...       yes     yes       yes        yes    yes       ...
job.watch         no         ...       yes     yes       yes        yes    yes       ...
job.logs          no         ...       yes     yes       yes        yes    yes       ...
job.results       no         ...       yes     yes       yes        yes    yes       ...
job.dismiss       no         ...       no      yes       yes        yes    yes       ...
ingestion.create  no         no        no      no        yes        yes    no        no
ingestion.list    no         no        yes     yes       yes        yes    yes       no
ingestion.read    no         ...       yes     yes       yes        yes    yes       ...
"""

PUBLIC = """
                  anonymous  stranger  viewer  executor  developer  owner  operator  ingestion
process.read      no         yes       yes     yes       yes        yes    yes       yes
package.read      no         yes       yes     yes       yes        yes    yes       yes
process.execute   no         yes       no      yes       yes        yes    no        no
process.replace   no         no        no      no        yes        yes    no        yes
process.undeploy  no         no        no      no        yes        yes    no        yes
process.share     no         no        no      no        yes        yes    no        yes
"""

USER_SERVICE = """
                  anonymous  stranger  viewer  executor  developer  owner  operator  ingestion
process.read      no         yes       yes     yes       yes        yes    yes       yes
package.read      no         no        yes     yes       yes        yes    yes       no
process.execute   no         yes       no      yes       yes        yes    no        no
process.undeploy  no         no        no      no        yes        yes    no        yes
"""

FOREIGN_JOB_ON_A_USER_SERVICE = """
                  anonymous  stranger  viewer  executor  developer  owner  operator  ingestion
job.read          no         ...       ...     ...       ...        yes    yes       ...
job.logs          no         ...       ...     ...       ...        yes    yes       ...
job.results       no         ...       ...     ...       ...        yes    yes       ...
job.dismiss       no         ...       ...     ...       ...        no     yes       ...
"""


def cells(table: str) -> list[tuple[str, str, str]]:
    header, *rows = table.strip().splitlines()
    callers = header.split()
    return [
        (action, caller, cell)
        for action, *line in map(str.split, rows)
        for caller, cell in zip(callers, line, strict=True)
    ]


def resource(action: str, visibility: str, calling_workspace: str) -> dict[str, object]:
    kind = {"package": "process", "workspace": "workspace"}.get(action.partition(".")[0], action.partition(".")[0])
    if action.endswith((".list", ".deploy", ".create")):
        return {"type": "workspace", "id": "w", "found": True}
    return {
        "type": kind,
        "id": "x",
        "found": True,
        "visibility": visibility,
        "shared_workspaces": [],
        "shared_groups": [],
        "calling_workspace": calling_workspace,
        "owner": "grace",
        "mutable": True,
    }


async def decided(engine: PolicyEngine, table: str, visibility: str, calling_workspace: str = "w") -> list[object]:
    answers: list[object] = []
    for action, caller, _ in cells(table):
        facts = resource(action, visibility, calling_workspace)
        query = PolicyInput(subject=CALLERS[caller], action=action, workspace="w", resource=facts)
        decision = await engine.decide(query)
        answers.append((action, caller, "yes" if decision.allow else "..." if decision.hidden else "no"))
    return answers


@pytest.mark.parametrize(
    ("table", "visibility", "calling_workspace"),
    [
        (PRIVATE, "private", "w"),
        (PUBLIC, "public", "w"),
        (USER_SERVICE, "user-service", "w"),
        (FOREIGN_JOB_ON_A_USER_SERVICE, "user-service", "c"),
    ],
    ids=["private", "public", "user-service", "foreign job on a user-service"],
)
async def test_callers_may_do_what_the_table_says(table, visibility, calling_workspace):
    async with open_policy(Embedded()) as engine:
        assert await decided(engine, table, visibility, calling_workspace) == cells(table)


def test_the_table_has_a_row_for_the_action_of_every_rpc():
    actions = {action_of(method) for method in METHODS}

    assert actions - {action for action, _, _ in cells(PRIVATE)} == set()
