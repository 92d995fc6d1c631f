"""Formats of files: a request names them as the package does, by prefix, address or media type, and steps agree."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from services.shared.errors import InvalidArgument
from services.submission.backends import RunState
from services.submission.backends.cwltool import Cwltool
from services.submission.execution.inputs import InputSchema
from services.submission.packages.inspection import inspect_package
from tests.backend_runs import keep_inputs, package, path_of, run

NAMESPACES = {
    "edam": "http://edamontology.org/",
    "x": "https://x.example/f#",
    "iana": "https://www.iana.org/assignments/media-types/",
}
PLAIN, NAMED = {"class": "File", "basename": "a", "contents": "a"}, "http://edamontology.org/format_1234"


def inspected(document: Any) -> Any:
    return inspect_package(
        json.dumps(document).encode(),
        "application/cwl+json",
        workflow=None,
        process_id=None,
        process_description=None,
    )


def schema_of(parameter: Any, namespaces: Any = NAMESPACES) -> InputSchema:
    document = {
        "cwlVersion": "v1.2",
        "$namespaces": namespaces,
        "class": "CommandLineTool",
        "id": "formats",
        "baseCommand": "true",
        "inputs": {"n": "int?", "f": parameter},
        "outputs": {},
    }
    if namespaces is None:
        del document["$namespaces"]
    read = inspected(document)
    return InputSchema(read["description"], read["cwl_inputs"])


def order(parameter: Any, value: Any) -> Any:
    return schema_of(parameter).job_order({"f": value})["f"]


def refusal(schema: InputSchema, value: Any) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as refused:
        schema.job_order({"f": value})
    return {violation.pointer: violation.message for violation in refused.value.violations}


def formats_in(value: Any) -> list[str]:
    """All formats of the files of a value."""
    if isinstance(value, list):
        return [found for item in value for found in formats_in(item)]
    if not isinstance(value, dict):
        return []
    return [*([value["format"]] if "format" in value else []), *formats_in(list(value.values()))]


@pytest.mark.parametrize("declared", [None, "edam:format_1234", NAMED, ["x:other", "edam:format_1234"]])
@pytest.mark.parametrize("written", ["edam:format_1234", NAMED])
@pytest.mark.parametrize(
    "shape",
    [
        PLAIN,
        {"value": "a", "name": "a"},
        {"value": "a", "name": "a", "mediaType": "text/plain"},
        {"href": "https://h.test/a"},
        {"value": PLAIN},
    ],
)
def test_a_format_is_what_its_prefix_stands_for(declared: Any, written: str, shape: dict[str, Any]) -> None:
    kind = {"type": "File"} | ({"format": declared} if declared else {})
    given = {**shape, "format": written}
    if "class" in shape.get("value", ()):
        given = {"value": {**shape["value"], "format": written}}

    assert NAMED == order(kind, given)["format"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("File", {**PLAIN, "secondaryFiles": [{**PLAIN, "basename": "b", "format": "edam:format_1234"}]}),
        ("File[]", [{**PLAIN, "format": "edam:format_1234"}]),
        ("Directory", {"class": "Directory", "basename": "d", "listing": [{**PLAIN, "format": "edam:format_1234"}]}),
        ("Any", {"deep": [{**PLAIN, "format": "edam:format_1234"}]}),
        (
            {"type": "record", "fields": {"g": {"type": "File", "format": "edam:format_1234"}}},
            {"g": {**PLAIN, "format": "edam:format_1234"}},
        ),
        (
            ["null", {"type": "array", "items": {"type": "record", "fields": {"g": {"type": "File"}}}}],
            [{"g": {**PLAIN, "format": "edam:format_1234"}}],
        ),
    ],
)
def test_prefixes_are_replaced_wherever_a_file_stands(kind: Any, value: Any) -> None:
    assert [NAMED] == formats_in(order({"type": kind}, value))


def test_media_types_of_a_file_that_declares_no_format_are_no_format() -> None:
    assert "format" not in order("File", {"href": "https://h.test/a", "type": "image/tiff"})
    assert "format" not in order("File", {"value": "a", "format": {"mediaType": "text/plain"}})


@pytest.mark.parametrize(
    ("declared", "given", "pointer", "said"),
    [
        ("edam:format_1234", {"format": "edam:format_99"}, "/format", f"must be of the format {NAMED}."),
        ("edam:format_1234", {"format": "http://edamontology.org/format_3464"}, "/format", f"of the format {NAMED}."),
        ("edam:format_1234", {"format": "y:z"}, "/format", "The prefix y is none of the package's $namespaces."),
        ("edam:format_3464", {"format": "edam:format_3591"}, "/format", "of the format application/json."),
        (["edam:format_3464", "x:o"], {"format": "x:p"}, "/format", "application/json, https://x.example/f#o."),
        ("edam:format_3464", {"type": "edam:format_3591"}, "/type", "of the format application/json."),
        ("edam:format_1234", {"format": ["edam:format_1234"]}, "/format", "is a string"),
        (None, {"format": 5}, "/format", "is a string"),
    ],
)
def test_another_format_is_refused_with_those_that_are_taken(
    declared: Any, given: dict[str, Any], pointer: str, said: str
) -> None:
    schema = schema_of({"type": "File"} | ({"format": declared} if declared else {}))

    found = refusal(schema, {"href": "https://h.test/a", **given})

    assert [f"/inputs/f{pointer}"] == list(found)
    assert said in found[f"/inputs/f{pointer}"]


def test_formats_known_as_one_media_type_are_one_format() -> None:
    declared = {"type": "File", "format": "edam:format_3464"}

    for written in ("iana:application/json", "application/json", "edam:format_3464"):
        assert "http://edamontology.org/format_3464" == order(declared, {**PLAIN, "format": written})["format"]


def test_prefixes_are_kept_once_for_all_inputs() -> None:
    document = {
        "cwlVersion": "v1.2",
        "$namespaces": NAMESPACES,
        "class": "CommandLineTool",
        "id": "formats",
        "baseCommand": "true",
        "inputs": {"n": "int?", **{f"f{number}": "File?" for number in range(9)}},
        "outputs": {},
    }
    read = inspected(document)

    assert [NAMESPACES] == [about["prefixes"] for about in read["cwl_inputs"].values() if "prefixes" in about]


def test_without_namespaces_a_name_stands_for_itself() -> None:
    schema = schema_of("File", None)

    assert "edam:format_1" == schema.job_order({"f": {**PLAIN, "format": "edam:format_1"}})["f"]["format"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cwltool]:
    async with Cwltool.open(tmp_path_factory.mktemp("runs"), keep_inputs) as opened:
        yield opened


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        ("edam:format_1234", NAMED),
        (NAMED, NAMED),
        ("image/tiff", "image/tiff"),
        ("application/geo+json", "application/geo+json"),
        ("[text/csv, 'edam:format_1234']", "text/csv"),
    ],
)
async def test_steps_take_the_format_that_their_package_and_the_request_name(
    backend: Cwltool, declared: str, given: str
) -> None:
    made = declared.strip("[").partition(",")[0]
    tool = f"""
      class: CommandLineTool
      requirements: {{InlineJavascriptRequirement: {{}}}}
      baseCommand: [sh, -c, 'cat "$0" > out']
      arguments: [$(inputs.f.path)]
      inputs: {{f: {{type: File, format: {declared}}}}}
      outputs: {{o: {{type: File, format: "{made}", outputBinding: {{glob: out}}}}}}
"""
    document = package(
        f"""\
cwlVersion: v1.2
$namespaces: {{edam: "http://edamontology.org/"}}
class: Workflow
inputs: {{f: {{type: File, format: {declared}}}}}
outputs: {{o: {{type: File, outputSource: b/o}}}}
steps:
  a:
    in: {{f: f}}
    out: [o]
    run: {tool}
  b:
    in: {{f: a/o}}
    out: [o]
    run: {tool}
"""
    )

    ended = await run(backend, document, {"f": {**PLAIN, "format": given}})

    assert RunState.successful == ended.state, ended
    assert "a" == path_of(ended.outputs["o"]).read_text()
    assert given == ended.outputs["o"]["format"]
