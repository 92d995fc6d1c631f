"""Which process a package deploys, and how CWL becomes the process description of OGC API - Processes."""

from typing import Any

import jsonschema_rs
import orjson
import pytest

from services.submission.packages.inspection import inspect_package
from services.submission.packages.refusal import Refusal


def inspect(document: dict[str, Any], **wishes: Any) -> dict[str, Any]:
    asked = {"workflow": None, "process_id": None, "process_description": None, **wishes}
    return inspect_package(orjson.dumps(document), "application/cwl+json", **asked)


def refusal(document: dict[str, Any], **wishes: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        inspect(document, **wishes)
    return caught.value


def workflow(name: str, *runs: str) -> dict[str, Any]:
    return {
        "class": "Workflow",
        "id": name,
        "requirements": {"SubworkflowFeatureRequirement": {}},
        "inputs": {},
        "outputs": {},
        "steps": {f"s{index}": {"run": f"#{run}", "in": {}, "out": []} for index, run in enumerate(runs)},
    }


def tool(**fields: Any) -> dict[str, Any]:
    return {"class": "CommandLineTool", "id": "tool", "baseCommand": "true", "inputs": {}, "outputs": {}, **fields}


def graph(*processes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"cwlVersion": "v1.2", "$graph": list(processes), **fields}


def described(**fields: Any) -> dict[str, Any]:
    description = inspect({"cwlVersion": "v1.2", **tool(**fields)})["description"]
    assert isinstance(description, dict)
    return description


def input_of(kind: Any, **fields: Any) -> dict[str, Any]:
    shown = described(inputs={"x": {"type": kind, **fields}})["inputs"]["x"]
    assert jsonschema_rs.meta.is_valid(shown["schema"])
    assert isinstance(shown, dict)
    return shown


@pytest.mark.parametrize(
    ("processes", "wanted", "chosen"),
    [
        ([workflow("app", "tool")], None, "app"),
        ([workflow("app", "tool")], "app", "app"),
        ([workflow("app", "tool")], "#app", "app"),
        ([workflow("app", "tool")], "tool", "tool"),
        ([workflow("other"), workflow("main", "tool")], None, "main"),
        ([workflow("inner", "tool"), workflow("outer", "inner")], None, "outer"),
        ([workflow("inner", "tool"), workflow("outer", "inner")], "inner", "inner"),
        ([], None, "tool"),
    ],
)
def test_the_workflow_is_chosen_by_wish_or_by_what_the_graph_says(processes, wanted, chosen):
    found = inspect(graph(*processes, tool()), workflow=wanted)

    assert (chosen, chosen) == (found["workflow_id"], found["process_id"])
    assert 1 == len(found["warnings"])


def test_among_equal_workflows_the_first_is_deployed_and_the_others_are_named():
    found = inspect(graph(workflow("b", "tool"), workflow("a", "tool"), tool()))

    assert "b" == found["process_id"]
    assert "Choose another one with w: a." in found["warnings"][0]


def test_an_unknown_workflow_is_refused_with_those_there_are():
    found = refusal(graph(workflow("a", "tool"), tool()), workflow="c")

    assert "ERROR_REASON_WORKFLOW_NOT_FOUND" == found.reason
    assert {"workflow": "c", "available": "a, tool"} == found.metadata
    assert "ERROR_REASON_WORKFLOW_NOT_FOUND" == refusal(graph()).reason
    assert "ERROR_REASON_WORKFLOW_NOT_FOUND" == refusal({"cwlVersion": "v1.2", **tool()}, workflow="c").reason


def test_a_document_that_is_the_process_needs_no_fragment():
    found = inspect({"cwlVersion": "v1.2", **tool()})

    assert ("", "tool") == (found["workflow_id"], found["process_id"])
    assert found["digest"].startswith("sha256:")


def test_the_digest_tells_the_workflows_of_one_document_apart():
    document = graph(workflow("a", "tool"), workflow("b", "tool"), tool())

    assert inspect(document, workflow="a")["digest"] != inspect(document, workflow="b")["digest"]
    assert inspect(document, workflow="a")["digest"] == inspect(document, workflow="a")["digest"]


@pytest.mark.parametrize("name", ["../etc", "a b", "-a", "a..b", "a" * 64, "a/b", "é"])
def test_an_id_that_cannot_name_a_process_is_refused(name):
    found = refusal({"cwlVersion": "v1.2", **tool()}, process_id=name)

    assert "ERROR_REASON_INVALID_PROCESS_ID" == found.reason


def test_a_process_without_an_id_is_refused_until_one_is_given():
    document = {"cwlVersion": "v1.2", **tool()}
    del document["id"]

    assert "ERROR_REASON_INVALID_PROCESS_ID" == refusal(document).reason
    assert "given" == inspect(document, process_description={"id": "given"})["process_id"]
    assert "wish" == inspect(document, process_id="wish", process_description={"id": "given"})["process_id"]


def test_a_description_has_what_ogc_asks_for():
    description = described(label="A tool", doc=["First line.", "Second line."])

    assert {
        "id": "tool",
        "title": "A tool",
        "description": "First line.\nSecond line.",
        "version": "0.0.0",
        "mutable": True,
        "jobControlOptions": ["async-execute", "dismiss"],
        "outputTransmission": ["value", "reference"],
        "inputs": {},
        "outputs": {},
    } == description


@pytest.mark.parametrize(
    "fields",
    [
        {"s:softwareVersion": "1.4.2"},
        {"$namespaces": {"s": "https://schema.org/"}, "s:softwareVersion": "1.4.2"},
        {"$namespaces": {"sdo": "http://schema.org/"}, "sdo:softwareVersion": "1.4.2"},
        {"$namespaces": {"schema": "https://schema.org/"}, "schema:softwareVersion": ["1.4.2"]},
        {"https://schema.org/softwareVersion": "1.4.2"},
        {"http://schema.org/softwareVersion": "1.4.2"},
    ],
)
def test_the_version_is_found_in_every_spelling(fields):
    found = inspect({"cwlVersion": "v1.2", **tool(), "$namespaces": {"s": "https://schema.org/"}, **fields})

    assert "1.4.2" == found["description"]["version"]
    assert [] == found["warnings"]


def test_a_number_is_a_version_and_no_version_is_a_warning():
    named = {"$namespaces": {"s": "https://schema.org/"}, "s:softwareVersion": 2.5}

    assert "2.5" == inspect({"cwlVersion": "v1.2", **tool(**named)})["description"]["version"]
    assert "version 0.0.0 is assumed" in inspect({"cwlVersion": "v1.2", **tool()})["warnings"][0]


def test_metadata_of_the_document_are_taken_over():
    description = inspect(
        graph(
            workflow("app", "tool"),
            tool(),
            **{
                "$namespaces": {"s": "https://schema.org/"},
                "s:keywords": "water, mask",
                "s:author": [{"class": "s:Person", "s:name": "Ada", "s:identifier": "https://orcid.org/0000-0001"}],
                "s:license": "https://spdx.org/licenses/MIT",
                "s:codeRepository": {"s:name": "Code", "s:url": "https://git.example.org/app"},
            },
        )
    )["description"]

    assert ["water", "mask"] == description["keywords"]
    assert [
        {"title": "Ada", "role": "https://schema.org/author", "href": "https://orcid.org/0000-0001"},
        {
            "title": "https://spdx.org/licenses/MIT",
            "role": "https://schema.org/license",
            "href": "https://spdx.org/licenses/MIT",
        },
        {"title": "Code", "role": "https://schema.org/codeRepository", "href": "https://git.example.org/app"},
    ] == description["metadata"]


def test_the_deployer_s_description_wins_over_that_of_the_package():
    overrides = {
        "id": "mine",
        "title": "Mine",
        "version": "9",
        "keywords": ["k"],
        "description": "D",
        "inputs": {"no": 1},
    }

    found = inspect({"cwlVersion": "v1.2", **tool(label="Theirs")}, process_description=overrides)

    shown = found["description"]
    assert {**overrides, "inputs": {}} == {name: shown[name] for name in overrides}
    assert [] == found["warnings"]


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        ("string", {"type": "string"}),
        ("boolean", {"type": "boolean"}),
        ("int", {"type": "integer", "format": "int32"}),
        ("long", {"type": "integer", "format": "int64"}),
        ("float", {"type": "number", "format": "float"}),
        ("double", {"type": "number", "format": "double"}),
        ("Any", {}),
        ("string[]", {"type": "array", "items": {"type": "string"}}),
        ("string[]?", {"type": "array", "items": {"type": "string"}}),
        (
            {"type": "array", "items": {"type": "array", "items": "double"}},
            {"type": "array", "items": {"type": "array", "items": {"type": "number", "format": "double"}}},
        ),
        ({"type": "enum", "symbols": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        (["null", {"type": "enum", "symbols": ["a"]}], {"type": "string", "enum": ["a"]}),
        (
            {"type": "array", "items": {"type": "enum", "symbols": ["a"]}},
            {"type": "array", "items": {"type": "string", "enum": ["a"]}},
        ),
        (
            {"type": "array", "items": ["null", "string"]},
            {"type": "array", "items": {"type": "string", "nullable": True}},
        ),
        (
            ["int", "string", "null"],
            {"anyOf": [{"type": "integer", "format": "int32"}, {"type": "string"}]},
        ),
        (
            {"type": "record", "fields": {"a": "int", "b": {"type": "string?", "doc": "B"}}},
            {
                "type": "object",
                "properties": {
                    "a": {"type": "integer", "format": "int32"},
                    "b": {"type": "string", "description": "B"},
                },
                "required": ["a"],
            },
        ),
    ],
)
def test_types_map_to_schemas(kind, schema):
    assert schema == input_of(kind)["schema"]


@pytest.mark.parametrize("default", ["", 0, False, [], 0.0, "a"])
def test_a_default_is_kept_also_when_it_is_falsy(default):
    kinds = {str: "string", int: "int", bool: "boolean", list: "string[]", float: "double"}

    shown = input_of(kinds[type(default)], default=default)

    assert (default, 0) == (shown["schema"]["default"], shown["minOccurs"])


def test_a_default_that_is_a_file_shows_only_that_the_input_may_be_left_out():
    shown = input_of("File", default={"class": "File", "basename": "a", "contents": "a"})

    assert 0 == shown["minOccurs"]
    assert "default" not in shown["schema"]


def test_symbols_keep_their_slashes():
    kind = {"type": "enum", "symbols": ["EPSG:4326", "a/b"]}

    shown = inspect({"cwlVersion": "v1.2", **tool(inputs={"x": {"type": kind}})})

    assert ["EPSG:4326", "a/b"] == shown["description"]["inputs"]["x"]["schema"]["enum"]
    assert 1 == len(shown["warnings"])


def test_types_come_from_the_definitions_of_the_process():
    types = [{"name": "#mode", "type": "enum", "symbols": ["fast", "slow"]}]
    # The library wants the definitions in front of what uses them.
    document = {"cwlVersion": "v1.2", "requirements": {"SchemaDefRequirement": {"types": types}}}

    shown = inspect({**document, **tool(inputs={"x": {"type": {"type": "array", "items": "#mode"}}, "y": "#mode?"})})[
        "description"
    ]["inputs"]

    assert ["fast", "slow"] == shown["y"]["schema"]["enum"] == shown["x"]["schema"]["items"]["enum"]


def test_a_bounding_box_record_says_what_it_is():
    fields = {"bbox": "double[]", "crs": "string?"}

    assert "ogc-bbox" == input_of({"type": "record", "fields": fields})["schema"]["format"]


@pytest.mark.parametrize(
    ("written", "media_type"),
    [
        ("image/tiff", "image/tiff"),
        ("iana:image/tiff", "image/tiff"),
        ("https://www.iana.org/assignments/media-types/text/csv", "text/csv"),
        ("edam:format_3464", "application/json"),
    ],
)
def test_the_media_type_of_a_file_is_known_from_its_format(written, media_type):
    namespaces = {"iana": "https://www.iana.org/assignments/media-types/", "edam": "http://edamontology.org/"}
    fields = {
        "inputs": {"x": {"type": "File", "format": written}},
        "outputs": {"y": {"type": "stdout", "format": written}},
    }

    shown = inspect({"cwlVersion": "v1.2", **tool(**fields, **{"$namespaces": namespaces})})["description"]

    reference, value, link = shown["inputs"]["x"]["schema"]["anyOf"]
    assert {"type": "string", "format": "uri", "contentMediaType": media_type} == reference
    assert {"type": "string", "contentEncoding": "base64", "contentMediaType": media_type} == value
    assert ["href"] == link["required"]
    assert media_type == shown["outputs"]["y"]["schema"]["anyOf"][0]["contentMediaType"]


def test_inputs_and_outputs_keep_the_order_of_the_document():
    names = ["zebra", "apple", "mango"]
    fields = {
        "inputs": dict.fromkeys(names, "string"),
        "outputs": [{"id": name, "type": "File", "outputBinding": {"glob": "a"}} for name in names],
    }

    shown = described(**fields)

    assert names == list(shown["inputs"]) == list(shown["outputs"])


def test_the_old_versions_of_cwl_are_read_alike():
    shown = [
        inspect({"cwlVersion": version, **tool(inputs={"x": "File[]?"}, outputs={"o": "stdout"})})
        for version in ("v1.0", "v1.1", "v1.2")
    ]

    assert shown[0]["description"] == shown[1]["description"] == shown[2]["description"]


NEWEST = {
    "s:author": [{"class": "s:Person", "s:givenName": "Ada", "s:familyName": "Lovelace", "s:email": "a@h.test"}],
    "s:license": {"s:identifier": "Apache-2.0"},
    "s:codeRepository": {"URL": "https://git.example/app"},
    "s:softwareHelp": {"class": "s:CreativeWork", "s:name": "User manual", "s:url": "https://h.test/manual"},
    "s:thumbnailUrl": "https://h.test/small.png",
    "s:keywords": [
        "water",
        {"class": "s:DefinedTerm", "s:name": "floods", "s:inDefinedTermSet": "https://h.test/terms"},
        {"s:termCode": "EO-7"},
    ],
}


def test_metadata_of_the_newest_style_is_kept():
    described = inspect({"cwlVersion": "v1.2", "$namespaces": {"s": "https://schema.org/"}, **NEWEST, **tool()})[
        "description"
    ]

    assert ["water", "floods", "EO-7"] == described["keywords"]
    assert [
        {"title": "Ada Lovelace", "role": "https://schema.org/author"},
        {"title": "Apache-2.0", "role": "https://schema.org/license"},
        {
            "title": "https://git.example/app",
            "role": "https://schema.org/codeRepository",
            "href": "https://git.example/app",
        },
        {"title": "User manual", "role": "https://schema.org/softwareHelp", "href": "https://h.test/manual"},
        {
            "title": "https://h.test/small.png",
            "role": "https://schema.org/thumbnailUrl",
            "href": "https://h.test/small.png",
        },
    ] == described["metadata"]


def test_a_field_of_a_record_is_described_with_its_own_format():
    fields = {"f": {"type": "File", "format": "iana:image/tiff"}, "g": "File"}
    namespaces = {"iana": "https://www.iana.org/assignments/media-types/"}
    document = tool(inputs={"x": {"type": {"type": "record", "fields": fields}}})

    shown = inspect({"cwlVersion": "v1.2", "$namespaces": namespaces, **document})

    properties = shown["description"]["inputs"]["x"]["schema"]["properties"]
    assert "image/tiff" == properties["f"]["anyOf"][0]["contentMediaType"]
    assert "contentMediaType" not in properties["g"]["anyOf"][0]
    kept = shown["cwl_inputs"]["x"]["type"]["fields"]["f"]["format"]
    assert ["https://www.iana.org/assignments/media-types/image/tiff"] == kept
