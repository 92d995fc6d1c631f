"""What a package needs of the installation, and what is said of it at deploy."""

from dataclasses import replace
from typing import Any

import pytest

from services.submission.facilities import Facilities, memory_share_mib
from services.submission.packages.inspection import inspect_package


def needs_of(package: str) -> list[dict[str, Any]]:
    found = inspect_package(
        package.encode(), "application/cwl+yaml", workflow=None, process_id=None, process_description=None
    )
    needs: list[dict[str, Any]] = found["needs"]
    return needs


def tool(requirements: str = "{}", hints: str = "{}", version: str = "v1.2") -> str:
    return f"""
cwlVersion: {version}
class: CommandLineTool
id: tool
requirements: {requirements}
hints: {hints}
baseCommand: "true"
inputs: {{}}
outputs: {{}}
"""


WORKFLOW = """
cwlVersion: v1.2
$graph:
- class: Workflow
  id: main
  requirements: {SubworkflowFeatureRequirement: {}, ResourceRequirement: {coresMin: 2}}
  inputs: {}
  outputs: {}
  steps:
    one: {run: '#a', in: {}, out: [], hints: [{class: DockerRequirement, dockerPull: "example/hinted:1"}]}
    two: {run: '#inner', in: {}, out: []}
- class: Workflow
  id: inner
  inputs: {}
  outputs: {}
  steps:
    three: {run: '#a', in: {}, out: []}
    four:
      in: {}
      out: []
      run:
        class: CommandLineTool
        requirements: {DockerRequirement: {dockerPull: "example/inner:1"}, ResourceRequirement: {ramMax: 5000.5}}
        baseCommand: "true"
        inputs: {}
        outputs: {}
- class: CommandLineTool
  id: a
  requirements: {NetworkAccess: {networkAccess: true}, ResourceRequirement: {coresMin: 1, ramMin: 900}}
  baseCommand: "true"
  inputs: {}
  outputs: {}
"""


def test_needs_are_those_of_all_that_a_process_runs() -> None:
    assert [
        {"kind": "cores", "count": 2, "required": True},
        {"kind": "image", "image": "example/hinted:1", "required": False},
        {"kind": "image", "image": "example/inner:1", "required": True},
        {"kind": "memory", "mib": 5000.5, "required": True},
        {"kind": "network", "required": True},
    ] == sorted(needs_of(WORKFLOW), key=lambda need: (need["kind"], need.get("image", "")))


@pytest.mark.parametrize(
    ("requirements", "hints", "needs"),
    [
        ("{}", "{}", []),
        ("{NetworkAccess: {networkAccess: false}}", "{}", []),
        ("{}", "{NetworkAccess: {networkAccess: true}}", [{"kind": "network", "required": False}]),
        ("{ResourceRequirement: {ramMin: $(1 + 1), tmpdirMin: 9000}, InlineJavascriptRequirement: {}}", "{}", []),
        (
            "{ResourceRequirement: {coresMax: 8}}",
            "{ResourceRequirement: {ramMin: 100}}",
            [{"kind": "memory", "mib": 100, "required": True}, {"kind": "cores", "count": 8, "required": True}],
        ),
    ],
)
def test_needs_are_read_where_they_stand(requirements: str, hints: str, needs: list[dict[str, Any]]) -> None:
    assert needs == needs_of(tool(requirements, hints))


HERE = Facilities(memory_mib=4096, cores=2.0, network_workspaces=frozenset({"online"}), network_lacks="")


@pytest.mark.parametrize(
    ("need", "missing"),
    [
        (
            {"kind": "image", "image": "a/b:1", "required": True},
            "requires the image a/b:1, and this installation runs no",
        ),
        ({"kind": "image", "image": "a/b:1", "required": False}, "names the image a/b:1, which this installation does"),
        ({"kind": "network", "required": True}, "SUBMISSION_LIMITS__NETWORK_WORKSPACES"),
        ({"kind": "memory", "mib": 8192, "required": True}, "asks for 8192 MiB of memory, and a job may use 4096 here"),
        ({"kind": "cores", "count": 8, "required": True}, "asks for 8 cores, and a job may use 2 here"),
        ({"kind": "gpu", "required": False}, "asks for a GPU"),
    ],
)
def test_what_is_missing_is_said_with_who_can_change_it(need: dict[str, Any], missing: str) -> None:
    needs, warnings = HERE.judge([need], "demo")

    assert [{**need, "met": False, "missing": warnings[0]}] == needs
    assert missing in warnings[0]


def test_what_is_there_is_no_warning() -> None:
    asked = [
        {"kind": "network", "required": True},
        {"kind": "memory", "mib": 4096, "required": True},
        {"kind": "cores", "count": 2, "required": True},
    ]

    assert ([need | {"met": True} for need in asked], []) == HERE.judge(asked, "online")


def test_a_network_that_the_machine_cannot_give_is_missing_everywhere() -> None:
    nowhere = replace(HERE, network_lacks="pasta is not installed")

    assert (
        "this installation has none to give: pasta is not installed."
        in nowhere.judge([{"kind": "network", "required": True}], "online")[1][0]
    )


def test_the_memory_of_a_job_follows_the_machine() -> None:
    one, two = memory_share_mib(1), memory_share_mib(2)

    assert one >= two >= 1024 == memory_share_mib(1_000_000)
    assert abs(one / two - 2) < 0.5 or two == 1024
