"""Execute requests: what is read, what is refused and where, and the job orders they make."""

import json
from typing import Any

import orjson
import pytest

from services.shared.errors import InvalidArgument
from services.submission.execution.inputs import InputSchema, parse_execute_request

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
TIFF = "https://www.iana.org/assignments/media-types/image/tiff"


def schema_of(**kinds: Any) -> InputSchema:
    parameters = {
        name: kind if isinstance(kind, dict) and set(kind) & {"default", "format"} else {"type": kind}
        for name, kind in kinds.items()
    }
    return InputSchema({"outputs": {"out": {}, "log": {}}}, parameters)


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def record(**fields: Any) -> dict[str, Any]:
    return {"type": "record", "fields": {name: {"type": kind} for name, kind in fields.items()}}


def order(kind: Any, value: Any) -> Any:
    schema = schema_of(x=kind)
    return schema.job_order({"x": value})["x"]


def violations(schema: InputSchema, inputs: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as caught:
        schema.job_order(inputs)
    assert "INVALID_INPUTS" == caught.value.reason_name
    return {violation.pointer: violation.message for violation in caught.value.violations}


def refusal(kind: Any, value: Any) -> dict[str, str]:
    return violations(schema_of(x=kind), {"x": value})


ENUM = {"type": "enum", "symbols": ["fast", "slow"]}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("string", "", ""),
        ("string", {"value": "a"}, "a"),
        ("int", 5, 5),
        ("int", 5.0, 5),
        ("long", 2**63 - 1, 2**63 - 1),
        ("double", 1, 1),
        ("boolean", False, False),
        (ENUM, "slow", "slow"),
        ("Any", {"a": 1}, {"a": 1}),
        ("Any", {"value": {"a": 1}}, {"a": 1}),
        (array("int"), [1, 2], [1, 2]),
        (array("int"), 1, [1]),
        (array("int"), {"value": [1, 2]}, [1, 2]),
        (array("int"), [{"value": 1}, 2.0], [1, 2]),
        (array(array("int")), [[1], [2, 3]], [[1], [2, 3]]),
        (record(a="int", b=["null", "string"]), {"a": 1}, {"a": 1}),
        (record(a="int", b=["null", "string"]), {"value": {"a": 1.0, "b": None}}, {"a": 1}),
        (record(value="int"), {"value": 3}, {"value": 3}),
        (["int", "string"], "3", "3"),
        (["int", array("int")], 3, 3),
        (["string", "File"], "https://h.test/a", "https://h.test/a"),
        (array("double"), {"bbox": [1, 2, 3, 4]}, [1, 2, 3, 4]),
        (array("double"), {"bbox": [1, 2, 3, 4, 5, 6], "crs": CRS84}, [1, 2, 3, 4, 5, 6]),
        ("string", {"bbox": [-1.5, 2, 3, 4]}, "-1.5,2,3,4"),
        (record(bbox=array("double"), crs=["null", "string"]), {"bbox": [1, 2, 3, 4]}, {"bbox": [1, 2, 3, 4]}),
    ],
)
def test_values_come_into_the_shape_of_their_type(kind, value, expected):
    given = json.dumps(value)

    made = order(kind, value)

    assert (expected, type(expected)) == (made, type(made))
    assert json.dumps(value) == given


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (
            "File",
            {"href": "https://h.test/d/a%20b.tif?x=1"},
            {"location": "https://h.test/d/a%20b.tif?x=1", "basename": "a b.tif"},
        ),
        ("File", "https://h.test/", {"location": "https://h.test/", "basename": "x"}),
        ("File", {"value": "text"}, {"contents": "text", "basename": "x"}),
        ("File", {"value": "a,b", "mediaType": "text/csv"}, {"contents": "a,b", "basename": "x.csv"}),
        (
            "File",
            {"value": {"a": 1}, "mediaType": "application/geo+json"},
            {"contents": '{"a":1}', "basename": "x.geojson"},
        ),
        ("File", {"value": [1], "mediaType": "application/json"}, {"contents": "[1]", "basename": "x.json"}),
        (
            "File",
            {"value": "AAEC", "encoding": "base64"},
            {"location": "data:application/octet-stream;base64,AAEC", "basename": "x"},
        ),
        (
            "File",
            {"value": "AA\nEC", "mediaType": "image/tiff; application=geotiff"},
            {"location": "data:image/tiff;base64,AAEC", "basename": "x.tif"},
        ),
        ("File", {"class": "File", "location": "https://h.test/a"}, {"location": "https://h.test/a", "basename": "a"}),
        ("Directory", {"href": "https://h.test/item"}, {"location": "https://h.test/item", "basename": "item"}),
    ],
)
def test_files_come_by_link_as_text_or_as_base64(kind, value, expected):
    assert {"class": kind, **expected} == order(kind, value)


@pytest.mark.parametrize(
    "value",
    [
        [{"href": "https://h.test/a"}, {"href": "https://h.test/b"}],
        ["https://h.test/a", "https://h.test/b"],
        {"value": [{"href": "https://h.test/a"}, "https://h.test/b"]},
    ],
)
def test_files_come_in_lists_and_repeated(value):
    assert ["a", "b"] == [item["basename"] for item in order(array("File"), value)]


@pytest.mark.parametrize("value", [{"href": "https://h.test/a"}, "https://h.test/a", {"value": "t"}])
def test_one_file_is_taken_for_a_list_of_files(value):
    assert ["File"] == [item["class"] for item in order(array("File"), value)]


def test_a_stac_object_becomes_a_directory():
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "i"}

    for value in (item, {"value": item}):
        made = order("Directory", value)
        assert ("Directory", "x", "item.json") == (made["class"], made["basename"], made["listing"][0]["basename"])
        assert item == orjson.loads(made["listing"][0]["contents"])


def test_a_file_gets_the_format_that_the_package_declares():
    parameter = {"type": "File", "format": [TIFF]}

    assert TIFF == order(parameter, {"href": "https://h.test/a"})["format"]
    assert TIFF == order(parameter, {"value": "AAEC", "mediaType": "image/tiff"})["format"]


@pytest.mark.parametrize(
    ("kind", "value", "pointer", "said"),
    [
        ("string", 5, "/inputs/x", "Expected a string, got the number 5."),
        ("string", ["a"], "/inputs/x", "Expected a string, got a list."),
        ("int", "5", "/inputs/x", "Expected a 32-bit integer, got the string 5."),
        ("int", True, "/inputs/x", "Expected a 32-bit integer, got true."),
        ("int", 2**31, "/inputs/x", "Expected a 32-bit integer, got the number 2147483648."),
        ("int", 1.5, "/inputs/x", "Expected a 32-bit integer, got the number 1.5."),
        ("boolean", "true", "/inputs/x", "Expected true or false, got the string true."),
        ("boolean", {"value": 1}, "/inputs/x/value", "Expected true or false, got the number 1."),
        (ENUM, "medium", "/inputs/x", "Expected one of fast, slow, got the string medium."),
        ("string", {"a": 1}, "/inputs/x", "Expected a string, got an object."),
        ("string", {"href": "https://h.test/a"}, "/inputs/x", "takes a value, not a link"),
        (array("int"), {"href": "https://h.test/a"}, "/inputs/x", "takes a value, not a link"),
        (array("int"), "a", "/inputs/x", "Expected a 32-bit integer, got the string a."),
        (array("int"), [1, "b"], "/inputs/x/1", "Expected a 32-bit integer"),
        (array("int"), {"value": [1, {"value": "b"}]}, "/inputs/x/value/1/value", "Expected a 32-bit integer"),
        (["null", array("int")], [1, "b"], "/inputs/x/1", "Expected a 32-bit integer"),
        (["string", array("int")], [1, "b"], "/inputs/x/1", "Expected a 32-bit integer"),
        (["string", "int"], 1.5, "/inputs/x", "Expected a string or a 32-bit integer, got the number 1.5."),
        (record(a="int"), {}, "/inputs/x/a", "This field is required."),
        (record(a="int"), {"a": 1, "b": 2}, "/inputs/x/b", "There is no such field. There are: a."),
        (record(a=array("int")), {"value": {"a": ["b"]}}, "/inputs/x/value/a/0", "Expected a 32-bit integer"),
        ("File", "hello", "/inputs/x", "not a web address"),
        ("File", 5, "/inputs/x", "Expected a file"),
        ("File", {"href": "file:///etc/passwd"}, "/inputs/x/href", "not a web address"),
        ("File", {"href": "s3://bucket/key"}, "/inputs/x/href", "not a web address"),
        ("File", {"class": "File", "path": "/etc/passwd"}, "/inputs/x/path", "not a web address"),
        ("File", {"class": "File", "location": "data:,x"}, "/inputs/x/location", "not a web address"),
        ("File", {"value": "é", "encoding": "base64"}, "/inputs/x/value", "not base64"),
        ("File", {"value": 5}, "/inputs/x/value", "Expected a file"),
        ("Directory", {"value": "a"}, "/inputs/x/value", "not a web address"),
        ("Any", {"a": [{"$include": "/etc/passwd"}]}, "/inputs/x/a/0/$include", "a meaning to the engine"),
        ("Any", [{"cwl:requirements": []}], "/inputs/x/0/cwl:requirements", "a meaning to the engine"),
        ("Any", {"value": {"class": "File", "path": "/etc/x"}}, "/inputs/x/value/path", "not a web address"),
        (array("Any"), [{"class": "File", "location": "file:///x"}], "/inputs/x/0/location", "not a web address"),
        (array("double"), {"bbox": [1, 2]}, "/inputs/x/bbox", "4 or 6 numbers"),
        (array("double"), {"bbox": [1, 2, 3, 4], "crs": "EPSG:3857"}, "/inputs/x/crs", "Transform the bounding box"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_where_it_stands(kind, value, pointer, said):
    found = refusal(kind, value)

    assert [pointer] == list(found)
    assert said in found[pointer]


def test_all_violations_are_listed_missing_unknown_and_wrong():
    schema = schema_of(a="int", b="string", c="boolean", d={"type": "int", "default": 0}, e=["null", "int"])

    found = violations(schema, {"a": "x", "c": None, "z": 1, "d": "y"})

    assert {
        "/inputs/z": "The process has no such input. It has: a, b, c, d, e.",
        "/inputs/b": "This input is required.",
        "/inputs/c": "This input is required.",
        "/inputs/a": "Expected a 32-bit integer, got the string x.",
        "/inputs/d": "Expected a 32-bit integer, got the string y.",
    } == found


def test_pointers_of_strange_names_are_escaped():
    assert ["/inputs/a~1b~0c"] == list(violations(schema_of(), {"a/b~c": 1}))


def test_inputs_left_out_are_left_to_the_defaults_of_the_package():
    schema = schema_of(a={"type": "int", "default": 0}, b=["null", "string"], c="int")

    assert {"c": 1} == schema.job_order({"c": 1, "b": None})


def test_a_long_value_is_not_repeated_in_the_refusal():
    assert "a string of 5000 characters" in refusal("int", "x" * 5000)["/inputs/x"]


def test_outputs_are_checked():
    schema = schema_of()

    schema.check_outputs(None)
    schema.check_outputs({"out": {"transmissionMode": "reference"}, "log": {}})

    with pytest.raises(InvalidArgument) as caught:
        schema.check_outputs({"nothing": {}})
    assert ("NO_SUCH_OUTPUT", "nothing") == (caught.value.reason_name, caught.value.metadata["output"])
    for wanted in ({"transmissionMode": "mail"}, "reference", None):
        with pytest.raises(InvalidArgument) as caught:
            schema.check_outputs({"out": wanted})
        assert "INVALID_EXECUTE_REQUEST" == caught.value.reason_name


def test_an_execute_request_is_read():
    body = (
        b'{"inputs": {"a": 1}, "outputs": {}, "response": "raw", "subscriber": {"successUri": "https://h"}, "more": 1}'
    )

    request = parse_execute_request(body)

    assert ({"a": 1}, {}, "raw") == (request.inputs, request.outputs, request.response)
    assert {"successUri": "https://h"} == request.subscriber


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_a_request_without_inputs_has_none(body):
    request = parse_execute_request(body)

    assert ({}, None, None) == (request.inputs, request.outputs, request.response)


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        (b"{", "", "not valid JSON"),
        (b'{"inputs": {"a": NaN}}', "", "line 1, column 18"),
        (b"[]", "", "must be a JSON object"),
        (b'"x"', "", "must be a JSON object"),
        (b'{"inputs": []}', "/inputs", "must be an object"),
        (b'{"inputs": null}', "/inputs", "must be an object, not null"),
        (b'{"outputs": ["a"]}', "/outputs", "must be an object"),
        (b'{"response": 1}', "/response", "must be a string"),
        (b'{"response": "xml"}', "/response", "raw or document"),
        (b'{"subscriber": "x"}', "/subscriber", "must be an object"),
        (b'{"inputs": {"a": ' + b"[" * 100 + b"]" * 100 + b"}}", "", "deeper than 64"),
        (b'{"a": ' * 2000, "", "not valid JSON"),
        (b"\xff", "", "not valid JSON"),
    ],
)
def test_what_is_no_execute_request_is_refused(body, pointer, said):
    with pytest.raises(InvalidArgument) as caught:
        parse_execute_request(body)

    assert "INVALID_EXECUTE_REQUEST" == caught.value.reason_name
    assert [pointer] == [violation.pointer for violation in caught.value.violations]
    assert said in caught.value.message


def test_a_request_that_is_too_large_is_refused_before_it_is_read():
    with pytest.raises(InvalidArgument) as caught:
        parse_execute_request(b"x" * ((4 << 20) + 1))

    assert 413 == caught.value.http_status
