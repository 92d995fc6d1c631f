"""Values with what is said of them: what is taken, what is looked at, and what is refused where it stands."""

from typing import Any

import pytest

from services.shared.errors import InvalidArgument
from services.submission.builtin.echo import EchoInputs
from services.submission.execution.formats import fitting
from services.submission.execution.inputs import InputSchema

IANA = "https://www.iana.org/assignments/media-types/"
GEOJSON, TIFF = IANA + "application/geo+json", IANA + "image/tiff"
EDAM_JSON, EDAM_TEXT = "http://edamontology.org/format_3464", "http://edamontology.org/format_2330"
ITS_OWN = "https://formats.example/mine"


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def record(**fields: Any) -> dict[str, Any]:
    return {"type": "record", "fields": {name: {"type": kind} for name, kind in fields.items()}}


def order(kind: Any, value: Any, formats: Any = None) -> Any:
    parameter = {"type": kind} | ({"format": formats} if formats else {})
    return InputSchema({}, {"x": parameter}).job_order({"x": value})["x"]


def refusal(kind: Any, value: Any, formats: Any = None) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as refused:
        order(kind, value, formats)
    return {violation.pointer: violation.message for violation in refused.value.violations}


DESCRIBED = {"title": "t", "description": "d", "maxOccurs": 999, "schema": {"type": "string"}, "foo": 1}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (array("string"), {**DESCRIBED, "value": ["a", "b"]}, ["a", "b"]),
        ("int", {"value": 3, "uom": "m"}, 3),
        ("int", {"value": {"value": 3, "uom": "m"}, "more": 1}, 3),
        (array("int"), [{"value": 3, "uom": "m"}, 4], [3, 4]),
        (array("int"), {"value": 3, "uom": "m"}, [3]),
        (record(a="int"), {**DESCRIBED, "value": {"a": 1}}, {"a": 1}),
        (record(value="int", uom=["null", "string"]), {"value": 3, "uom": "m"}, {"value": 3, "uom": "m"}),
        ("Any", {"value": 3, "uom": "m"}, 3),
        ("Any", {"value": 3, "sensor": "s"}, {"value": 3, "sensor": "s"}),
        ("string", {"value": "a", "encoding": "UTF-8"}, "a"),
        ("string", {"value": "a", "mediaType": "text/plain"}, "a"),
    ],
)
def test_a_qualified_value_is_known_by_its_shape(kind: Any, value: Any, expected: Any) -> None:
    assert expected == order(kind, value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"value": "AAEC", "encoding": "BASE64"}, {"location": "data:application/octet-stream;base64,AAEC"}),
        ({"value": "00ff", "encoding": "utf8", "mediaType": "image/tiff"}, {"contents": "00ff"}),
        ({"value": "AAEC", "format": {"mediaType": "image/tiff"}}, {"location": "data:image/tiff;base64,AAEC"}),
        ({"value": "AAEC", "type": "image/tiff"}, {"location": "data:image/tiff;base64,AAEC"}),
        (
            {"value": "AAEC", "format": {"encoding": "base64"}},
            {"location": "data:application/octet-stream;base64,AAEC"},
        ),
        ({"value": "text", "type": "string"}, {"contents": "text"}),
    ],
)
def test_what_is_said_of_the_content_of_a_file_is_followed(value: Any, expected: dict[str, str]) -> None:
    made = order("File", value)

    assert expected == {name: made[name] for name in ("location", "contents") if name in made}


def test_several_files_in_base64_are_each_read() -> None:
    made = order(array("File"), {"value": ["AAEC", "AAED"], "encoding": "base64"})

    assert ["AAEC", "AAED"] == [file["location"].rpartition(",")[2] for file in made]


@pytest.mark.parametrize("encoding", ["hex", "base32", "base64url", "gzip", "x", 5, ["base64"]])
@pytest.mark.parametrize("kind", ["File", "string", array("File"), array("string"), "Any"])
def test_an_encoding_that_is_not_known_is_refused(kind: Any, encoding: Any) -> None:
    found = refusal(kind, {"value": "00ff", "encoding": encoding, "mediaType": "image/tiff"})

    assert ["/inputs/x/encoding"] == list(found)
    assert "base64" in found["/inputs/x/encoding"]


@pytest.mark.parametrize(
    ("kind", "value", "pointer"),
    [
        ("File", {"value": "a", "mediaType": 5}, "/inputs/x/mediaType"),
        ("File", {"value": "a", "format": {"mediaType": []}}, "/inputs/x/format/mediaType"),
        ("File", {"value": "a", "format": {"encoding": "hex"}}, "/inputs/x/format/encoding"),
        ("File", {"value": {"a": 1}, "encoding": "base64"}, "/inputs/x/value"),
        ("string", {"value": "YQ==", "encoding": "base64"}, "/inputs/x/encoding"),
        ("Any", {"value": "YQ==", "encoding": "base64"}, "/inputs/x/encoding"),
        (array("string"), ["a", {"value": "YQ==", "encoding": "base64"}], "/inputs/x/1/encoding"),
    ],
)
def test_members_that_cannot_be_followed_are_refused_where_they_stand(kind: Any, value: Any, pointer: str) -> None:
    assert [pointer] == list(refusal(kind, value))


def test_echo_refuses_an_unknown_encoding() -> None:
    for name in ("media", "message"):
        with pytest.raises(InvalidArgument) as refused:
            EchoInputs().job_order({"message": "m", name: {"value": "00ff", "encoding": "hex"}})
        assert [f"/inputs/{name}/encoding"] == [violation.pointer for violation in refused.value.violations]


@pytest.mark.parametrize("encoding", ["hex", 5])
def test_an_output_is_not_asked_for_in_an_unknown_encoding(encoding: Any) -> None:
    schema = InputSchema({"outputs": {"o": {"schema": {}}}}, {})

    with pytest.raises(InvalidArgument) as refused:
        schema.check_outputs({"o": {"format": {"encoding": encoding}}})

    assert ["/outputs/o/format/encoding"] == [violation.pointer for violation in refused.value.violations]


@pytest.mark.parametrize(
    ("declared", "media_type", "fits"),
    [
        (GEOJSON, "application/geo+json", True),
        (GEOJSON, "application/geo+json; charset=utf-8", True),
        (GEOJSON, "Application/Geo+JSON", True),
        (GEOJSON, "application/json", True),
        (EDAM_JSON, "application/geo+json", True),
        (GEOJSON, "application/xml", False),
        (GEOJSON, "application/stac+json", False),
        (TIFF, "image/tiff; application=geotiff", True),
        (TIFF, "image/geotiff", True),
        (TIFF, "image/png", False),
        (TIFF, "application/octet-stream", True),
        (TIFF, "", True),
        (EDAM_TEXT, "text/csv", True),
        (EDAM_TEXT, "image/png", False),
        ("application/x-netcdf", "application/netcdf", True),
        (ITS_OWN, "image/png", True),
    ],
)
def test_media_types_are_compared_by_what_they_mean(declared: str, media_type: str, fits: bool) -> None:
    assert (declared if fits else None) == fitting([declared], media_type)


@pytest.mark.parametrize(
    ("kind", "value", "pointer"),
    [
        ("File", {"value": "<x/>", "mediaType": "application/xml"}, "/inputs/x/mediaType"),
        ("File", {"href": "https://h.test/a", "type": "application/xml"}, "/inputs/x/type"),
        (
            "File",
            {"class": "File", "location": "https://h.test/a", "format": IANA + "application/xml"},
            "/inputs/x/format",
        ),
        (array("File"), [{"value": "<x/>", "mediaType": "application/xml"}], "/inputs/x/0/mediaType"),
        (array("File"), {"value": "<x/>", "mediaType": "application/xml"}, "/inputs/x/mediaType"),
        (["null", "File"], {"value": "<x/>", "mediaType": "application/xml"}, "/inputs/x/mediaType"),
    ],
)
def test_a_file_of_another_format_than_declared_is_refused(kind: Any, value: Any, pointer: str) -> None:
    found = refusal(kind, value, [GEOJSON])

    assert {pointer: "This file must be of the format application/geo+json."} == found


def test_the_fields_of_a_record_have_formats_of_their_own() -> None:
    kind = {"type": "record", "fields": {"f": {"type": "File", "format": [TIFF]}, "g": {"type": "File"}}}

    made = order(kind, {"f": {"value": "AAEC", "mediaType": "image/tiff"}, "g": {"value": "a"}})

    assert (TIFF, None) == (made["f"]["format"], made["g"].get("format"))
    wrong = {"f": {"value": "<x/>", "mediaType": "application/xml"}, "g": {"value": "a"}}
    assert ["/inputs/x/f/mediaType"] == list(refusal(kind, wrong))


def test_the_first_format_that_fits_is_the_format() -> None:
    formats = [GEOJSON, TIFF, ITS_OWN]

    made = [order("File", {"value": "AAEC", "mediaType": given}, formats) for given in ("image/tiff", "image/png")]

    assert [TIFF, ITS_OWN] == [file["format"] for file in made]
