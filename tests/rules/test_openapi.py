"""The API definition is the contract, all of it and nothing else."""

import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import jsonschema_rs
import orjson
import pytest
from google.api import annotations_pb2
from schemathesis.specs.openapi.definitions import OPENAPI_30

from services.edge.rest_routes import BODY_TYPES
from services.ogc.openapi.answers import ANSWERS, BODIES, HEADERS
from services.ogc.openapi.contract import SERVICES, operations, statuses
from services.ogc.openapi.definition import as_class, definition
from services.ogc.openapi.schemas import openapi
from services.records.processes import Process
from workflow_runner.v1 import error_reason_pb2

DESCRIPTION: dict[str, Any] = {
    "title": "Sample",
    "version": "1.0.0",
    "inputs": {
        "size": {"schema": {"type": "integer", "exclusiveMinimum": 0}},
        "names": {"minOccurs": 0, "maxOccurs": "unbounded", "schema": {"type": ["string", "null"]}},
        "file": {
            "minOccurs": 0,
            "valuePassing": ["byValue", "byReference"],
            "schema": {"anyOf": [{"type": "string", "contentEncoding": "base64", "contentMediaType": "image/tiff"}]},
        },
    },
    "outputs": {"out": {"schema": {"anyOf": [{"type": "number"}, {"type": "null"}]}}},
}


def process(name: str) -> Process:
    return Process(
        revision_id=UUID(int=1),
        workspace="ada",
        process_id=name,
        revision=1,
        digest="sha256:0",
        media_type="application/cwl",
        workflow_id="",
        backend="",
        description=DESCRIPTION | {"id": name},
        cwl_inputs={},
        mutable=True,
        visibility="private",
        shared_workspaces=(),
        shared_groups=(),
        owner="ada",
        create_time=datetime.now(UTC),
    )


@pytest.fixture(scope="module")
def document() -> Any:
    return orjson.loads(definition("https://runner.example/workspaces/ada", [process("sample")]))


def test_it_is_an_openapi_document(document: Any) -> None:
    faults = [(list(error.instance_path), error.message) for error in _validator().iter_errors(document)]

    assert [] == faults


def test_every_rpc_over_rest_is_in_it_and_nothing_else(document: Any) -> None:
    contract = {
        (str(one.WhichOneof("pattern")), _shape(str(getattr(one, str(one.WhichOneof("pattern"))))))
        for service in SERVICES
        for method in service.methods
        for rule in [method.GetOptions().Extensions[annotations_pb2.http]]
        for one in (rule, *rule.additional_bindings)
    }

    told = {
        (verb, _shape(f"/workspaces/*{path.rstrip('/')}"))
        for path, item in document["paths"].items()
        for verb in item
        if path != "/processes/sample/execution"
    }

    assert contract == told


def test_every_operation_has_an_id_of_its_own(document: Any) -> None:
    ids = [about["operationId"] for item in document["paths"].values() for about in item.values()]

    assert len(ids) == len(set(ids))
    assert {operation.name for operation in operations()} <= set(ids)


def test_everything_that_is_pointed_to_is_there(document: Any) -> None:
    schemas = document["components"]["schemas"]
    pointed = set(re.findall(r'"#/components/schemas/([^"]+)"', orjson.dumps(document).decode()))

    assert pointed == schemas.keys()


def test_names_differ_by_more_than_capitals_and_marks() -> None:
    similar = ["tool", "Tool", "TOOL", "to-ol", "to.ol", "t_ool", "execute", "2"]
    document = orjson.loads(definition("https://runner.example/workspaces/ada", [process(name) for name in similar]))

    for names in (
        list(document["components"]["schemas"]),
        [about["operationId"] for item in document["paths"].values() for about in item.values()],
    ):
        assert len(names) == len({as_class(name) for name in names})
    assert all(f"/processes/{name}/execution" in document["paths"] for name in similar)


def test_limits_say_what_they_are_without_one_and_at_most(document: Any) -> None:
    limits = {
        path: parameter["schema"]
        for path, item in document["paths"].items()
        for parameter in item.get("get", {}).get("parameters", ())
        if parameter["name"] == "limit"
    }

    assert {"/processes": 100, "/jobs": 10, "/callbacks": 10, "/ingestions": 10} == {
        path: schema["default"] for path, schema in limits.items()
    }
    assert {(1, 1000)} == {(schema["minimum"], schema["maximum"]) for schema in limits.values()}


def test_each_process_has_a_path_with_its_inputs(document: Any) -> None:
    body = document["paths"]["/processes/sample/execution"]["post"]["requestBody"]
    reference = body["content"]["application/json"]["schema"]["$ref"]

    inputs = document["components"]["schemas"][reference.rpartition("/")[2]]["properties"]["inputs"]

    assert (["size"], {"size", "names", "file"}) == (inputs["required"], inputs["properties"].keys())
    assert {"type": "integer", "minimum": 0, "exclusiveMinimum": True} == inputs["properties"]["size"]["anyOf"][0]


def test_schemas_of_processes_are_brought_into_the_dialect_of_openapi() -> None:
    assert {"type": "string", "nullable": True} == openapi({"type": ["string", "null"]})
    assert {"anyOf": [{"type": "number"}], "nullable": True} == openapi(
        {"anyOf": [{"type": "number"}, {"type": "null"}]}
    )
    assert {"type": "string", "format": "byte", "x-contentMediaType": "image/tiff"} == openapi(
        {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/tiff"}
    )


def test_what_is_kept_beside_the_contract_is_of_operations_that_there_are() -> None:
    names = {operation.name for operation in operations()}

    assert ANSWERS.keys() | HEADERS.keys() <= names
    assert {operation.body.name for operation in operations() if operation.body} == BODIES.keys()


def test_the_edge_takes_the_bodies_that_the_definition_names() -> None:
    assert {field: set(types) for field, types in BODY_TYPES.items()} == {field: set(BODIES[field]) for field in BODIES}


@pytest.mark.parametrize("reason", error_reason_pb2.ErrorReason.keys()[1:])
def test_every_reason_says_its_status(reason: str) -> None:
    assert statuses(reason.removeprefix("ERROR_REASON_"))


def _shape(path: str) -> str:
    """A path with a star for every variable."""
    return re.sub(r"\{[^}=]+\}", "*", re.sub(r"\{[^}=]+=([^}]*)\}", r"\1", path)).replace("**", "*")


def _validator() -> Any:
    return jsonschema_rs.Draft4Validator(OPENAPI_30)
