"""Outputs are what the package declares: of expressions, of command line tools and of workflows. In a real sandbox."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from services.submission.backends import Failure, FailureReason, RunState
from services.submission.backends.cwltool import Cwltool
from tests.backend_runs import Ended, keep_inputs, run

pytestmark = pytest.mark.asyncio(loop_scope="module")

JAVASCRIPT: dict[str, Any] = {"InlineJavascriptRequirement": {}}
ENUM = {"type": "enum", "symbols": ["EPSG:4326", "m/s", "fast"]}
RECORD = {
    "type": "record",
    "fields": [{"name": "class", "type": "string"}, {"name": "eo:cover", "type": ["null", "double"]}],
}
FILE = "{class: 'File', basename: 'a.txt', contents: 'a'}"
DIRECTORY = f"{{class: 'Directory', basename: 'd', listing: [{FILE}]}}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cwltool]:
    async with Cwltool.open(tmp_path_factory.mktemp("runs"), keep_inputs) as opened:
        yield opened


def expression(outputs: dict[str, Any], value: str, *, inputs: dict[str, Any] | None = None) -> dict[str, Any]:
    """An expression tool that gives the value of an expression."""
    return {
        "class": "ExpressionTool",
        "id": "give",
        "requirements": JAVASCRIPT,
        "inputs": inputs or {},
        "outputs": {name: {"type": kind} for name, kind in outputs.items()},
        "expression": f"${{return {value};}}",
    }


def tool(outputs: dict[str, Any], script: str = "true") -> dict[str, Any]:
    """A command line tool that runs a script; an output is a type, or a pair of a type and an expression."""
    return {
        "class": "CommandLineTool",
        "id": "give",
        "requirements": JAVASCRIPT,
        "baseCommand": ["sh", "-c", script],
        "inputs": {},
        "outputs": {
            name: {"type": kind[0], "outputBinding": {"outputEval": f"$({kind[1]})"}}
            if isinstance(kind, tuple)
            else {"type": kind}
            for name, kind in outputs.items()
        },
    }


def writing(outputs: dict[str, Any], content: Any) -> dict[str, Any]:
    """A tool that writes its output object itself; text is written as it is."""
    text = content if isinstance(content, str) else json.dumps(content)
    return tool(outputs, f"cat > cwl.output.json <<'END'\n{text}\nEND")


def workflow(outputs: dict[str, Any], steps: dict[str, Any], inputs: dict[str, Any] | None = None) -> dict[str, Any]:
    """A workflow; an output is a type and the rest of what the package says of it."""
    features = ("InlineJavascript", "MultipleInputFeature", "ScatterFeature", "SubworkflowFeature")
    return {
        "class": "Workflow",
        "id": "main",
        "requirements": {f"{feature}Requirement": {} for feature in features},
        "inputs": inputs or {},
        "outputs": {name: {"type": kind, **rest} for name, (kind, rest) in outputs.items()},
        "steps": steps,
    }


async def ran(backend: Cwltool, process: dict[str, Any], *, version: str = "v1.2", **inputs: Any) -> Ended:
    return await run(backend, json.dumps({"cwlVersion": version, **process}).encode(), inputs)


async def failure(backend: Cwltool, process: dict[str, Any], *, version: str = "v1.2", **inputs: Any) -> Failure:
    ended = await ran(backend, process, version=version, **inputs)
    assert RunState.failed is ended.state
    return ended.failure


async def test_what_is_as_declared_comes_out_as_it_is(backend: Cwltool) -> None:
    values: dict[str, tuple[Any, Any]] = {
        "whole": ("double", 1),
        "large": ("double", 1e300),
        "int": ("int", -(2**31)),
        "long": ("long", 2**53),
        "no": ("boolean", False),
        "zero": ("int", 0),
        "empty": ("string", ""),
        "nothing": ("int?", None),
        "either": (["string", "int"], 7),
        "list": ("int[]", []),
        "optional-list": (["null", {"type": "array", "items": ["null", "string"]}], [None, "a"]),
        "nested": ({"type": "array", "items": {"type": "array", "items": "boolean"}}, [[True], []]),
        "enum": (ENUM, "m/s"),
        "record": (RECORD, {"class": "File or not", "eo:cover": None}),
        "records": ({"type": "array", "items": RECORD}, [{"class": "x", "eo:cover": 2.5}]),
        "any": ("Any", {"a": [None, True]}),
        "nothing-of-any": ("Any", None),
    }
    outputs = {name: kind for name, (kind, _) in values.items()}
    expected = {name: value for name, (_, value) in values.items()}

    ended = await ran(backend, expression(outputs, json.dumps(expected)))

    assert expected == ended.outputs


DOUBLE = "a number (double)"


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("double", "''", f'must be {DOUBLE}, and is the text "".'),
        ("double", "{}", f"must be {DOUBLE}, and is an empty object."),
        ("double", "[null]", f"must be {DOUBLE}, and is a list of 1 entry."),
        ("double", "true", f"must be {DOUBLE}, and is true."),
        ("double?", "false", f"must be {DOUBLE} or nothing (null), and is false."),
        ("boolean", "1", "must be true or false (boolean), and is the number 1."),
        ("int", "2147483648", "must be an integer of 32 bits (int), and is the number 2147483648."),
        ("int", "1.5", "must be an integer of 32 bits (int), and is the number 1.5."),
        ("long", "1e19", "must be an integer of 64 bits (long), and is the number 10000000000000000000."),
        ("string", "0", "must be text (string), and is the number 0."),
        ("int[]", "[1, null]", "its [1] must be an integer of 32 bits (int), and is nothing (null)."),
        (["null", {"type": "array", "items": "boolean"}], "[true, 0]", "its [1] must be true or false (boolean)"),
        (ENUM, "'m'", 'must be one of "EPSG:4326", "m/s", "fast" (enum), and is the text "m".'),
        (RECORD, "{class: 'x', 'eo:cover': true}", f"its eo:cover must be {DOUBLE} or nothing (null), and is true."),
        (RECORD, "{}", "its class must be text (string), and is nothing (null)."),
        ("File", "'a.txt'", 'must be a file (File), and is the text "a.txt".'),
        ("File", "{class: 'File'}", "must be a file (File), and is a file with neither a location nor contents."),
        (
            ["File", "Directory"],
            "{class: 'Directory', basename: 'd'}",
            "must be a file (File) or a directory (Directory), and is a directory (d) with neither a location nor "
            "listing.",
        ),
        ("Any", "{class: 'File'}", "a file in its outputs has neither a location nor contents."),
        ("Any", "[{class: 'Directory', listing: []}]", "a directory in its outputs has no location and lacks"),
        ("Directory", FILE, "must be a directory (Directory), and is a file (a.txt)."),
        ("File", DIRECTORY, "must be a file (File), and is a directory (d)."),
        (
            "Directory",
            "{class: 'Directory', basename: 'd', listing: [{class: 'File'}]}",
            "its listing[0] must be a file (File) or a directory (Directory), and is a file with neither",
        ),
    ],
)
async def test_what_is_not_as_declared_is_refused_in_words(
    backend: Cwltool, kind: Any, value: str, problem: str
) -> None:
    refused = await failure(backend, expression({"v": kind}, f"{{v: {value}}}"))

    assert FailureReason.OUTPUT_REFUSED is refused.reason
    assert refused.message.startswith("Step give ended well, but ")
    assert problem in refused.message
    assert "org.w3id" not in refused.message


@pytest.mark.parametrize("version", ["v1.0", "v1.1", "v1.2"])
async def test_every_version_of_the_language_is_held_to_its_types(backend: Cwltool, version: str) -> None:
    given = await ran(backend, expression({"v": "double"}, "{v: 2}"), version=version)
    refused = await failure(backend, expression({"v": "double"}, "{v: true}"), version=version)
    of_a_tool = await failure(backend, tool({"v": ("int", "true")}), version=version)

    assert {"v": 2} == given.outputs
    assert FailureReason.OUTPUT_REFUSED is refused.reason
    assert "Step give ended well, but output v must be an integer of 32 bits (int), and is true." == of_a_tool.message


@pytest.mark.parametrize("value", ["{}", "{v: null}", "{v: undefined, w: 1}"])
async def test_an_output_that_is_not_given_is_missing(backend: Cwltool, value: str) -> None:
    missing = await failure(backend, expression({"v": "double"}, value))

    assert FailureReason.OUTPUT_MISSING is missing.reason
    assert f"Step give ended well, but output v must be {DOUBLE}, and is missing." == missing.message


@pytest.mark.parametrize("value", ["null", "5", "[1]", "'x'"])
async def test_an_expression_that_gives_no_object_is_refused(backend: Cwltool, value: str) -> None:
    refused = await failure(backend, expression({"v": "int?"}, value))

    assert FailureReason.OUTPUT_REFUSED is refused.reason
    assert "its outputs must be an object, and are " in refused.message


@pytest.mark.parametrize(
    ("outputs", "content", "reason", "problem"),
    [
        ({"v": "int"}, {"v": True}, "OUTPUT_REFUSED", "must be an integer of 32 bits (int), and is true."),
        ({"v": "int"}, {}, "OUTPUT_MISSING", "must be an integer of 32 bits (int), and is missing."),
        ({"v": "int"}, [], "OUTPUT_REFUSED", "its outputs must be an object, and are an empty list."),
        ({"v": "int?"}, "null", "OUTPUT_REFUSED", "its outputs must be an object, and are nothing (null)."),
        ({"v": "int"}, "{", "OUTPUT_REFUSED", "its cwl.output.json is no JSON (Expecting property name"),
        ({"v": "int"}, "[" * 100_000, "OUTPUT_REFUSED", "its cwl.output.json is nested too deeply."),
        ({"v": "Any"}, {"v": {"class": "Directory"}}, "OUTPUT_REFUSED", "missing both 'location' and 'path'"),
    ],
)
async def test_an_output_object_of_a_tool_is_judged(
    backend: Cwltool, outputs: dict[str, Any], content: Any, reason: str, problem: str
) -> None:
    refused = await failure(backend, writing(outputs, content))

    assert (FailureReason(reason), 0) == (refused.reason, refused.exit_code)
    assert problem in refused.message


async def test_a_tool_that_fails_is_told_by_its_exit_code_and_not_by_its_outputs(backend: Cwltool) -> None:
    failed = await failure(backend, tool({"v": ("int", "true")}, "exit 3"))

    assert (FailureReason.STEP_FAILED, 3) == (failed.reason, failed.exit_code)


async def test_a_file_in_place_of_a_directory_is_told_in_words(backend: Cwltool) -> None:
    process = tool({"d": "Directory"}, "echo x > made")
    process["outputs"]["d"]["outputBinding"] = {"glob": "made"}

    refused = await failure(backend, process)

    assert FailureReason.OUTPUT_REFUSED is refused.reason
    assert "output d must be a directory (Directory), and is a file (made)." in refused.message


@pytest.mark.parametrize(
    "process", [expression({"v": "int?"}, "{v: 1, 'more': 2}"), writing({"v": "int?"}, {"v": 1, "more": 2})]
)
async def test_what_is_not_declared_is_left_out_and_told_in_the_log(backend: Cwltool, process: dict[str, Any]) -> None:
    ended = await ran(backend, process)

    assert {"v": 1} == ended.outputs
    assert b"not declare as an output, and that is left out: more]\n" in ended.logs["give"]


async def test_an_optional_output_that_a_step_leaves_out_is_null_for_the_next(backend: Cwltool) -> None:
    steps = {
        "first": {"run": writing({"v": "int?"}, {}), "in": {}, "out": ["v"]},
        "second": {
            "run": expression({"w": "string"}, "{w: String(inputs.v)}", inputs={"v": "int?"}),
            "in": {"v": "first/v"},
            "out": ["w"],
        },
    }

    ended = await ran(backend, workflow({"w": ("string", {"outputSource": "second/w"})}, steps))

    assert {"w": "null"} == ended.outputs


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ({"type": "array", "items": "string"}, "[]"),
        ({"type": "record", "fields": [{"name": "a", "type": "int?"}]}, "{}"),
        ("Any", "[]"),
        ("Any", "{}"),
        ({"type": "array", "items": "File"}, "[]"),
        ("string", "''"),
        ("int", "0"),
        ("boolean", "false"),
    ],
)
@pytest.mark.parametrize("is_optional", [True, False])
async def test_what_is_empty_stays_what_the_tool_gave(
    backend: Cwltool, kind: Any, given: str, is_optional: bool
) -> None:
    kind = ["null", kind] if is_optional else kind

    ended = await ran(backend, tool({"v": (kind, given)}))

    assert {"v": json.loads(given.replace("'", '"'))} == ended.outputs


async def test_a_file_that_may_be_missing_and_is_not_found_is_null(backend: Cwltool) -> None:
    process = tool({"v": ("File?", "self"), "w": ("File", "self")}, "echo x > made")
    process["outputs"]["v"]["outputBinding"]["glob"] = "none"
    process["outputs"]["w"]["outputBinding"]["glob"] = "made"

    ended = await ran(backend, process)

    assert (None, "x\n") == (ended.outputs["v"], ended.text("w"))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [("File?", "null", None), ("File?", "self", "File"), ("File[]", "self", ["File"]), ("File[]", "[]", [])],
)
async def test_a_format_belongs_to_the_files_that_an_expression_gives(
    backend: Cwltool, kind: str, value: str, expected: Any
) -> None:
    process = tool({"v": (kind, value)}, "echo x > made")
    process["outputs"]["v"].update(format="http://edamontology.org/format_3591")
    process["outputs"]["v"]["outputBinding"]["glob"] = "made"

    given = (await ran(backend, process)).outputs["v"]

    files = [given] if isinstance(given, dict) else given or []
    assert {"http://edamontology.org/format_3591"} >= {file["format"] for file in files}
    assert expected == ([file["class"] for file in given] if isinstance(given, list) else given and given["class"])


COUNT = {"run": expression({"n": "int"}, "{n: inputs.i}", inputs={"i": "int"}), "in": {"i": "i"}, "out": ["n"]}
SKIPPED = {**COUNT, "when": "$(inputs.i > 1)"}
SCATTERED = {**COUNT, "in": {"i": "list"}, "scatter": "i", "when": "$(inputs.i > 1)"}
LIST = {"type": "array", "items": "int"}


@pytest.mark.parametrize(
    ("kind", "rest", "i", "expected"),
    [
        ("int?", {"outputSource": "maybe/n"}, 1, None),
        ("int", {"outputSource": "maybe/n"}, 2, 2),
        ("int", {"outputSource": ["maybe/n", "always/n"], "pickValue": "first_non_null"}, 1, 1),
        ("int", {"outputSource": ["maybe/n", "always/n"], "pickValue": "the_only_non_null"}, 1, 1),
        (LIST, {"outputSource": ["maybe/n", "always/n"], "pickValue": "all_non_null"}, 1, [1]),
        (LIST, {"outputSource": "each/n", "pickValue": "all_non_null"}, 1, [2, 3]),
        ({"type": "array", "items": ["null", "int"]}, {"outputSource": "each/n"}, 1, [None, 2, 3]),
        ("Any", {"outputSource": "each/n"}, 1, [None, 2, 3]),
    ],
)
async def test_nothing_of_a_skipped_step_fits_where_the_workflow_lets_it(
    backend: Cwltool, kind: Any, rest: dict[str, Any], i: int, expected: Any
) -> None:
    steps = {"maybe": SKIPPED, "always": COUNT, "each": SCATTERED}

    ended = await ran(backend, workflow({"v": (kind, rest)}, steps, {"i": "int", "list": "int[]"}), i=i, list=[1, 2, 3])

    assert {"v": expected} == ended.outputs


async def test_an_output_of_a_workflow_that_a_skipped_step_owes_is_missing(backend: Cwltool) -> None:
    process = workflow({"v": ("int", {"outputSource": "maybe/n"})}, {"maybe": SKIPPED}, {"i": "int"})

    missing = await failure(backend, process, i=1)

    assert (FailureReason.OUTPUT_MISSING, None) == (missing.reason, missing.step)
    assert (
        "The steps of the workflow ended well, but output v must be an integer of 32 bits (int), and is missing. "
        "What was skipped may be why: maybe." == missing.message
    )


async def test_an_output_of_a_workflow_that_is_not_as_declared_is_refused(backend: Cwltool) -> None:
    process = workflow({"v": (LIST, {"outputSource": "each/n"})}, {"each": SCATTERED}, {"list": "int[]"})

    refused = await failure(backend, process, list=[2, 1, 3])

    assert FailureReason.OUTPUT_REFUSED is refused.reason
    assert "its [1] must be an integer of 32 bits (int), and is nothing (null)." in refused.message


async def test_a_workflow_in_a_workflow_is_judged_and_named(backend: Cwltool) -> None:
    inner = workflow({"v": ("int", {"outputSource": "maybe/n"})}, {"maybe": SKIPPED}, {"i": "int"})
    outer = workflow(
        {"v": ("int?", {"outputSource": "inner/v"})},
        {"inner": {"run": inner, "in": {"i": "i"}, "out": ["v"]}},
        {"i": "int"},
    )

    missing = await failure(backend, outer, i=1)
    skipped = await ran(backend, {**outer, "steps": {"inner": {**outer["steps"]["inner"], "when": "$(false)"}}}, i=1)

    assert FailureReason.OUTPUT_MISSING is missing.reason
    assert missing.message.startswith("The steps of workflow inner ended well, but output v must be an integer")
    assert {"v": None} == skipped.outputs


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("int", "true", "input i must be an integer of 32 bits (int), and is true."),
        ({"type": "array", "items": "double"}, "[1, false]", "its [1] must be a number (double), and is false."),
    ],
)
@pytest.mark.parametrize("takes", ["tool", "expression", "workflow"])
async def test_what_an_expression_of_a_step_gives_is_judged_before_the_step_begins(
    backend: Cwltool, takes: str, kind: Any, value: str, problem: str
) -> None:
    processes = {
        "tool": tool({}),
        "expression": expression({}, "{}"),
        "workflow": workflow({}, {}),
    }
    taking = {**processes[takes], "inputs": {"i": {"type": kind}}}
    steps = {"take": {"run": taking, "in": {"i": {"valueFrom": f"$({value})"}}, "out": []}}
    process = workflow({}, steps)
    process["requirements"]["StepInputExpressionRequirement"] = {}

    refused = await failure(backend, process)

    assert FailureReason.INPUT_UNAVAILABLE is refused.reason
    assert refused.message.startswith("The inputs do not fit: ")
    assert problem in refused.message
