"""Defaults of packages are judged at deploy, wherever they stand, by what judges the values of requests."""

from typing import Any

import jsonschema_rs
import orjson
import pytest

from services.submission.packages.inspection import inspect_package
from services.submission.packages.refusal import Refusal

ENUM = "{type: enum, symbols: [a, b]}"


def inspected(text: str, **changes: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"workflow": None, "process_id": None, "process_description": None, **changes}
    return inspect_package(text.encode(), "application/cwl+yaml", **asked)


def offences(text: str) -> dict[str, str]:
    with pytest.raises(Refusal) as refused:
        inspected(text)
    assert "ERROR_REASON_INVALID_PACKAGE" == refused.value.reason
    return {offence.pointer: offence.message for offence in refused.value.offences}


def tool(parameter: str, identifier: str = "id: tool") -> str:
    return f"""
cwlVersion: v1.2
class: CommandLineTool
{identifier}
baseCommand: echo
inputs: {{x: {parameter}}}
outputs: {{}}
"""


@pytest.mark.parametrize(
    ("parameter", "tail", "said"),
    [
        ("{type: string, default: 1.10}", "", "Expected a string, got the number 1.1. Put it in quotes."),
        ("{type: string, default: 017}", "", "Expected a string, got the number 17. Put it in quotes."),
        ("{type: string, default: true}", "", "Expected a string, got true."),
        ("{type: int, default: 5.5}", "", "Expected a 32-bit integer, got the number 5.5."),
        ("{type: int, default: 5.0}", "", "Expected a 32-bit integer, got the number 5.0."),
        ("{type: int, default: 2147483648}", "", "Expected a 32-bit integer"),
        ("{type: long, default: 1000000000000000000000000}", "", "Expected a 64-bit integer, got the number 1e+24."),
        (
            "{type: boolean, default: yes}",
            "",
            "Expected true or false, got the string yes. YAML 1.2 has true",
        ),
        ("{type: double, default: 1e}", "", "Expected a number, got the string 1e."),
        (f"{{type: {ENUM}, default: c}}", "", "Expected one of a, b, got the string c."),
        (f"{{type: ['null', {ENUM}], default: c}}", "", "Expected one of a, b, got the string c."),
        ("{type: 'int[]', default: [1, b, 3]}", "/1", "Expected a 32-bit integer, got the string b."),
        ("{type: 'int[]', default: 1}", "", "Expected a list, each item a 32-bit integer, got the number 1."),
        ("{type: {type: record, fields: {a: int}}, default: {a: x}}", "/a", "Expected a 32-bit integer"),
        ("{type: {type: record, fields: {a: int}}, default: {}}", "/a", "This field is required."),
        ("{type: Directory, default: 's3://bucket/x'}", "", "Expected a directory"),
        ("{type: File, default: 'a.txt'}", "", "Expected a file"),
        ("{type: File, default: {class: Directory, listing: []}}", "", "Expected a file"),
        ("{type: File, default: {class: File, basename: a}}", "", "A default File needs contents."),
        ("{type: Directory, default: {class: Directory, basename: a}}", "", "A default Directory needs listing."),
        ("{type: Any, default: [{class: File}]}", "/0", "A default File needs contents."),
    ],
)
def test_a_default_that_its_type_does_not_take_is_refused_with_its_line(parameter: str, tail: str, said: str) -> None:
    found = offences(tool(parameter))

    assert [f"/inputs/x/default{tail}"] == list(found)
    assert said in found[f"/inputs/x/default{tail}"]
    assert "(line 6, column" in found[f"/inputs/x/default{tail}"] or tail == "/a"


@pytest.mark.parametrize(
    ("parameter", "default"),
    [
        ("{type: string, default: '1.10'}", "1.10"),
        ("{type: double, default: 5}", 5),
        ("{type: double, default: 1000000000000000000000000}", 1e24),
        ("{type: float, default: 1e-10}", 1e-10),
        ("{type: [int, string], default: ten}", "ten"),
        ("{type: int, default: null}", None),
        ("{type: 'int?', default: null}", None),
        (f"{{type: {ENUM}, default: b}}", "b"),
        (f"{{type: {{type: array, items: {ENUM}}}, default: [b, a]}}", ["b", "a"]),
        ("{type: {type: record, fields: {a: int, b: 'string?'}}, default: {a: 1}}", {"a": 1}),
    ],
)
def test_a_default_that_fits_is_described_by_a_schema_that_takes_it(parameter: str, default: Any) -> None:
    shown = inspected(tool(parameter))["description"]["inputs"]["x"]

    assert (default, 0) == (shown["schema"]["default"], shown["minOccurs"])
    assert orjson.dumps(shown)
    assert shown["schema"].get("nullable") if default is None else jsonschema_rs.is_valid(shown["schema"], default)


def test_a_default_that_is_a_file_is_left_to_the_engine() -> None:
    shown = inspected(tool("{type: File, default: {class: File, basename: a, contents: b}}"))["description"]

    assert (0, False) == (shown["inputs"]["x"]["minOccurs"], "default" in shown["inputs"]["x"]["schema"])


WORKFLOW = """
cwlVersion: v1.2
$graph:
- class: Workflow
  id: main
  requirements: {{ScatterFeatureRequirement: {{}}, StepInputExpressionRequirement: {{}}}}
  inputs: {{n: 'int[]'}}
  outputs: {{}}
  steps:
    s: {{run: '#tool', in: {{{step}}}, out: [], {scatter}}}
- class: CommandLineTool
  id: tool
  baseCommand: echo
  inputs: {{x: {parameter}}}
  outputs: {{}}
"""


@pytest.mark.parametrize(
    ("step", "scatter", "parameter", "pointer"),
    [
        ("x: {default: a}", "", "int", "/$graph/0/steps/s/in/x/default"),
        ("x: {default: 1}", "scatter: x", "int", "/$graph/0/steps/s/in/x/default"),
        ("x: {default: [1, b]}", "scatter: [x]", "int", "/$graph/0/steps/s/in/x/default/1"),
        ("", "", "{type: int, default: ten}", "/$graph/1/inputs/x/default"),
    ],
)
def test_defaults_of_steps_and_of_tools_inside_are_judged(
    step: str, scatter: str, parameter: str, pointer: str
) -> None:
    assert [pointer] == list(offences(WORKFLOW.format(step=step, scatter=scatter, parameter=parameter)))


@pytest.mark.parametrize(
    ("step", "scatter"),
    [
        ("x: {default: 1}", ""),
        ("x: {default: [1, 2]}", "scatter: x"),
        ("x: {default: a, valueFrom: $(1)}", ""),
        ("x: {default: 1}, more: {default: {a: [b]}}", ""),
    ],
)
def test_defaults_of_steps_that_fit_are_taken(step: str, scatter: str) -> None:
    text = WORKFLOW.format(step=step, scatter=scatter, parameter="int").replace("$(1)", "$(inputs.x)")

    assert "main" == inspected(text)["process_id"]


@pytest.mark.parametrize(
    ("identifier", "said"),
    [
        ("id: file:///home/ada/tool.cwl", "is the place file:///home/ada/tool.cwl of a file"),
        ("label: none", "The CommandLineTool has no id"),
        ("id: a b", "Use 1 to 63 letters"),
    ],
)
def test_a_process_without_a_usable_id_is_told_how_to_get_one(identifier: str, said: str) -> None:
    text = tool("int", identifier)

    with pytest.raises(Refusal) as refused:
        inspected(text)

    assert "ERROR_REASON_INVALID_PROCESS_ID" == refused.value.reason
    assert said in refused.value.message.format(**refused.value.metadata)
    assert "named" == inspected(text, process_description={"id": "named"})["process_id"]
    if "a b" not in identifier:
        assert ("", "named") == tuple(inspected(text, workflow="named")[key] for key in ("workflow_id", "process_id"))
