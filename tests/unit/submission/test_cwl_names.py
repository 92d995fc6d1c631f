"""Names and symbols come through the CWL library as they are written, in every position, or are refused at deploy."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from services.submission.backends import RunState
from services.submission.backends.cwltool import Cwltool
from services.submission.cwl.names import decoded, encoded, protect, symbol_names
from services.submission.execution.inputs import InputSchema
from services.submission.packages.inspection import inspect_package
from services.submission.packages.refusal import Refusal
from tests.backend_runs import keep_inputs, run

EVERYWHERE = (Path(__file__).parent / "names.cwl").read_bytes()
"""Colons and slashes in the names of everything, with namespaces that the library would put in their place."""
SYMBOLS = ["s:a", "m/s", "#ff0000", "a?b", "null", "string", " x ", "EPSG:4326"]


def inspected(package: str | bytes) -> dict[str, Any]:
    content = package.encode() if isinstance(package, str) else package
    return inspect_package(content, "application/cwl+yaml", workflow=None, process_id=None, process_description=None)


def offences(package: str) -> dict[str, str]:
    with pytest.raises(Refusal) as refused:
        inspected(package)
    return {offence.pointer: offence.message for offence in refused.value.offences}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cwltool]:
    async with Cwltool.open(tmp_path_factory.mktemp("runs"), keep_inputs) as opened:
        yield opened


async def test_names_and_symbols_are_right_in_every_position(backend: Cwltool) -> None:
    found = inspected(EVERYWHERE)
    inputs = {"eo:cloud_cover": 5, "size": "EPSG:4326", "u": "p:q"}
    order = InputSchema(found["description"], found["cwl_inputs"]).job_order(inputs)

    ended = await run(backend, EVERYWHERE, order, workflow_id=found["workflow_id"])

    description = found["description"]
    assert ["eo:cloud_cover", "sar:looks", "size", "sizes", "r", "u"] == list(description["inputs"])
    assert ["out:put", "rec"] == list(description["outputs"])
    assert SYMBOLS == description["inputs"]["size"]["schema"]["enum"]
    assert ["eo:cc", "un:it", "plain"] == list(description["inputs"]["r"]["schema"]["properties"])
    assert RunState.successful == ended.state
    after = "3 0.000000001 --cc 5 --l 100 --n=0.0000001 -rc 3 x:y -ru a?b 6 EPSG:4326"
    assert [
        f"--e=5 --n=0.0000001 s:a1e-9 {after} s:a p:q",
        f"--e=5 --n=0.0000001 m/s1e-9 {after} m/s p:q",
    ] == ended.outputs["out:put"]
    assert {"a:b": 3, "e": "q:r"} == ended.outputs["rec"]
    assert {"st:ep", "st:ep_2", "rr"} == {step for step, _ in ended.states}


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_each_symbol_is_taken_and_no_other(symbol: str) -> None:
    found = inspected(EVERYWHERE)
    schema = InputSchema(found["description"], found["cwl_inputs"])

    assert symbol == schema.job_order({"eo:cloud_cover": 1, "u": 1, "size": symbol})["size"]


TOOL = """
cwlVersion: v1.2
class: CommandLineTool
id: tool
baseCommand: echo
inputs: {inputs}
outputs: {outputs}
"""


@pytest.mark.parametrize(
    ("inputs", "pointer", "said"),
    [
        ("{'a/b': int}", "/inputs/a~1b", "has a /"),
        ("{'a#b': int}", "/inputs/a#b", "has a #"),
        ("[{id: 'a/b', type: int}]", "/inputs/0/id", "has a /"),
        ("{'': int}", "/inputs/", "empty"),
        ("[{id: a, type: int}, {id: a, type: string}]", "/inputs/1/id", "has the name a as well"),
        ("[{id: a, type: int}, {id: '#a', type: string}]", "/inputs/1/id", "has the name a as well"),
        ("{a: {type: {type: enum, symbols: [x, x]}}}", "/inputs/a/type/symbols/1", "x is given twice"),
        ("{a: {type: {type: enum, symbols: ['']}}}", "/inputs/a/type/symbols/0", "empty"),
        ("{a: {type: {type: record, fields: {'b/c': int}}}}", "/inputs/a/type/fields/b~1c", "has a /"),
        ("{a: {type: {type: array, items: {type: record, fields: [{name: b, type: int}, {name: b, type: int}]}}}}",
         "/inputs/a/type/items/fields/1/name", "has the name b"),
        ("{class: int}", "/inputs/class", "what an object is"),
        ("[{id: '#main/class', type: int}]", "/inputs/0", "what an object is"),
        ("{a: {type: {type: record, fields: {class: int}}}}", "/inputs/a/type/fields/class", "what an object is"),
        ('{"\ue03a": int}', "/inputs/\ue03a", "private area"),
    ],
)  # fmt: skip
def test_names_that_cwl_cannot_have_are_refused_where_they_stand(inputs: str, pointer: str, said: str) -> None:
    found = offences(TOOL.format(inputs=inputs, outputs="{}"))

    assert [pointer] == list(found)
    assert said in found[pointer]
    assert "line " in found[pointer]


def test_two_processes_of_one_id_are_refused() -> None:
    tool = "{class: CommandLineTool, id: %s, baseCommand: a, inputs: {}, outputs: {}}"

    for first, second in (("x", "x"), ("x", "'#x'")):
        graph = f"cwlVersion: v1.2\n$graph: [{tool % first}, {tool % second}]"
        found = offences(graph)
        assert ["/$graph/1/id"] == list(found)
        assert "Another process of this document has the id x as well" in found["/$graph/1/id"]


PACKED = """
cwlVersion: v1.2
$graph:
- class: Workflow
  id: main
  requirements: {SchemaDefRequirement: {types: [%s]}}
  inputs: {s: '#size'}
  outputs: {o: {type: File, outputSource: t/o}}
  steps: {t: {run: '#tool', in: {s: s}, out: [o]}}
- class: CommandLineTool
  id: tool
  requirements: {SchemaDefRequirement: {types: [%s]}}
  inputs: {s: {type: '#size', inputBinding: {}}}
  baseCommand: echo
  outputs: {o: stdout}
"""
SIZE, IMPORT = "{type: enum, name: '#size', symbols: ['#size/small', '#size/large']}", "{$import: '#size'}"


@pytest.mark.parametrize("types", [(SIZE, IMPORT), (IMPORT, SIZE)])
async def test_a_type_of_the_document_is_imported(backend: Cwltool, types: tuple[str, str]) -> None:
    package = (PACKED % types).encode()
    found = inspected(package)

    ended = await run(backend, package, {"s": "large"}, workflow_id="main")

    assert ["small", "large"] == found["description"]["inputs"]["s"]["schema"]["enum"]
    assert (RunState.successful, "large\n") == (ended.state, ended.text("o"))


def test_an_import_of_nothing_is_refused_where_it_stands() -> None:
    place = "/$graph/0/requirements/SchemaDefRequirement/types/0/$import"

    assert [place] == list(offences(PACKED % ("{$import: '#nothing'}", SIZE)))
    with pytest.raises(Refusal) as refused:
        inspected(PACKED % ("{$import: 'https://h.test/types.yaml'}", SIZE))
    assert "ERROR_REASON_PACKAGE_REFUSED" == refused.value.reason


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        (["#main/mode/fast", "#main/mode/slow"], ["fast", "slow"]),
        (["#size/a:b"], ["a:b"]),
        (["#ff0000", "#00ff00"], ["#ff0000", "#00ff00"]),
        (["#a/b", "c"], ["#a/b", "c"]),
        (["#a/b", "#c/b"], ["#a/b", "#c/b"]),
        (["m/s"], ["m/s"]),
    ],
)
def test_a_symbol_is_the_text_unless_a_packed_document_made_an_id_of_it(symbols: list[str], expected: Any) -> None:
    assert expected == symbol_names(symbols)


@given(st.text(st.characters(exclude_categories=["Cs", "Co"]), min_size=1))
def test_an_encoded_name_has_nothing_of_an_address_and_comes_back(name: str) -> None:
    assert not set(encoded(name)) & set(":/#?%[]@ \t\n$&'()*+,;=\\")
    assert name == decoded(encoded(name))
    assert encoded(name) == encoded(encoded(name))


NAMES = st.text(st.sampled_from("ab:. é?%&=+@~$[]'"), min_size=1, max_size=6)
TEXTS = st.text(st.sampled_from("ab:/#. é?%&=+@~$[]'"), min_size=1, max_size=8)


@pytest.mark.timeout(300)
@settings(max_examples=30, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(NAMES, NAMES, st.lists(TEXTS, min_size=1, max_size=4, unique=True), NAMES)
def test_whatever_the_names_are_the_description_has_them(
    name: str, field: str, symbols: list[str], output: str
) -> None:
    kind = {"type": "record", "fields": {field: {"type": {"type": "enum", "symbols": symbols}}}}
    package = json.dumps(
        {
            "cwlVersion": "v1.2",
            "class": "CommandLineTool",
            "id": "tool",
            "$namespaces": {"a": "https://a.example/", "b": "https://b.example/"},
            "baseCommand": "true",
            "inputs": {name: {"type": kind, "default": {field: symbol_names(symbols)[0]}}},
            "outputs": {output: {"type": "string?"}},
        }
    )

    found = inspected(package)
    values = symbol_names(symbols)

    assert ([name], [output]) == (list(found["description"]["inputs"]), list(found["description"]["outputs"]))
    schema = InputSchema(found["description"], found["cwl_inputs"])
    for value in values:
        assert {name: {field: value}} == schema.job_order({name: {field: value}})


def test_a_document_without_unusual_names_stays_as_it_is() -> None:
    document = {
        "cwlVersion": "v1.2",
        "$graph": [
            {
                "id": "main",
                "class": "Workflow",
                "inputs": {"a": "int[]", "b": {"type": "File?", "default": {"class": "File", "contents": ""}}},
                "steps": {"s": {"run": "#t", "scatter": "x", "in": {"x": "a"}, "out": ["o"]}},
                "outputs": [{"id": "#main/o", "type": {"type": "array", "items": "File"}, "outputSource": "s/o"}],
            }
        ],
    }
    before = json.dumps(document)

    protect(document)

    assert before == json.dumps(document)
