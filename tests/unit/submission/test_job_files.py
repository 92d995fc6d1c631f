"""Files and directories of an execute request: their shapes, and above all their names."""

from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.errors import InvalidArgument
from services.shared.keys import name_problem
from services.submission.execution.inputs import InputSchema
from services.submission.media_types import ending_of, media_type_of

SENTINEL = "S3A_SL_1_RBT____20180817T185806_20180817T190106_20180817T205124_0179_034_341_2520_LN2_O_NR_003.SEN3.zip"
STAC = {"type": "Feature", "stac_version": "1.0.0", "id": "i"}
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=60).filter(
    lambda name: name_problem(name) is None
)


def order(kind: Any, value: Any, name: str = "x") -> Any:
    return InputSchema({}, {name: {"type": kind}}).job_order({name: value})[name]


def refusal(kind: Any, value: Any) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as refused:
        order(kind, value)
    return {violation.pointer: violation.message for violation in refused.value.violations}


@given(name=NAMES)
def test_a_link_gives_its_last_segment_as_it_is(name: str) -> None:
    made = order("File", {"href": f"https://h.test/a/{quote(name)}?download=x/y.tif#z"})

    assert name == made["basename"]


@given(name=NAMES)
def test_a_name_that_the_caller_gives_is_kept(name: str) -> None:
    shapes = (
        {"href": "https://h.test/a", "name": name},
        {"value": "a", "mediaType": "text/plain", "name": name},
        {"value": "AAEC", "encoding": "base64", "mediaType": "image/tiff", "name": name},
        {"class": "File", "contents": "a", "basename": name},
        {"class": "File", "location": "https://h.test/a", "basename": name},
    )

    assert [name] * len(shapes) == [order("File", shape)["basename"] for shape in shapes]
    assert name == order("Directory", {"class": "Directory", "listing": [], "basename": name})["basename"]
    assert name == order("Directory", {"value": STAC, "name": name})["basename"]


@pytest.mark.parametrize(
    "name", [SENTINEL, "T=30 (1),a+b@c.nc", "données.csv", "S2_2024-01-01T10:00:00Z.tif", ".zgroup"]
)
def test_names_of_real_files_are_kept(name: str) -> None:
    assert name == order("File", f"https://h.test/a/{quote(name)}")["basename"]
    assert name == order("File", {"href": f"https://h.test/a/{quote(name, safe=':@,+=()')}"})["basename"]


@pytest.mark.parametrize(
    "segment", ["", ".", "%2e%2e", "..%2f..%2fetc%2fpasswd", "a%00b", "caf%e9", "x" * 256, "%E6%9D%B1" * 86]
)
def test_a_link_whose_last_segment_is_no_file_name_is_called_after_the_input(segment: str) -> None:
    assert "x" == order("File", f"https://h.test/{segment}")["basename"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 256, 5, None, ["a"]])
def test_a_name_that_no_file_can_have_is_refused_where_it_stands(name: Any) -> None:
    for shape, field in (
        ({"href": "https://h.test/a"}, "name"),
        ({"value": "a", "mediaType": "text/plain"}, "name"),
        ({"class": "File", "contents": "a"}, "basename"),
    ):
        found = refusal("File", {**shape, field: name})
        assert [f"/inputs/x/{field}"] == list(found)
        assert "cannot be the name of a file" in found[f"/inputs/x/{field}"]


def test_members_of_a_list_have_names_of_their_own() -> None:
    many = {"type": "array", "items": "File"}
    record = {"type": "record", "fields": {"left": {"type": "File"}, "right": {"type": many}}}
    text = {"value": "a", "mediaType": "text/plain"}

    assert ["reads_1.txt", "reads_2.txt"] == [item["basename"] for item in order(many, [text, text], "reads")]
    assert ["reads_1.txt", "reads_2.txt"] == [
        item["basename"] for item in order(many, {"value": [text, text]}, "reads")
    ]
    made = order({"type": "array", "items": record}, [{"left": text, "right": [text, text]}] * 2, "r")
    assert ["r_1_left.txt", "r_2_left.txt"] == [item["left"]["basename"] for item in made]
    assert ["r_2_right_1.txt", "r_2_right_2.txt"] == [item["basename"] for item in made[1]["right"]]


@pytest.mark.parametrize(
    ("media_type", "ending"),
    [
        ("application/xml", ".xml"),
        ("text/xml; charset=utf-8", ".xml"),
        ("Application/GeoJSON", ""),
        ("application/geo+json", ".geojson"),
        ("application/vnd.x+json", ".json"),
        ("application/vnd.x+xml", ".xml"),
        ("text/plain", ".txt"),
        ("image/jpeg", ".jpg"),
        ("image/tiff; application=geotiff; profile=cloud-optimized", ".tif"),
        ("application/octet-stream", ".bin"),
        ("no/such", ""),
        ("", ""),
    ],
)
def test_the_ending_of_a_value_is_that_of_its_media_type(media_type: str, ending: str) -> None:
    assert ending == ending_of(media_type)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("x" * 251 + ".tif", "image/tiff; application=geotiff"),
        ("T10:00:00Z.tif", "image/tiff; application=geotiff"),
        ("100% (final).txt", "text/plain"),
        ("what?.geojson", "application/geo+json"),
        ("a.csv.gz", "application/gzip"),
        (".zgroup", "application/json"),
        (".meta.json", "application/json"),
        ("data:,x.html", "text/html"),
        ("manifest.safe", "application/xml"),
        ("README", "application/octet-stream"),
        ("東京.PNG", "image/png"),
    ],
)
def test_the_media_type_is_that_of_the_ending(name: str, media_type: str) -> None:
    assert media_type == media_type_of(name)


def test_cwls_own_form_is_kept() -> None:
    beside: list[dict[str, Any]] = [
        {"class": "File", "location": "https://h.test/a.txt.idx"},
        {"class": "Directory", "basename": "a.d", "listing": [{"class": "File", "basename": "b", "contents": "b"}]},
    ]
    given: dict[str, Any] = {
        "class": "File",
        "location": "https://h.test/a%20b.txt",
        "format": "http://edamontology.org/format_2330",
        "checksum": "sha1$00",
        "secondaryFiles": beside,
    }

    made = order("File", given)

    assert {
        **given,
        "basename": "a b.txt",
        "secondaryFiles": [{**beside[0], "basename": "a.txt.idx"}, beside[1]],
    } == made
    assert made == order("Any", given) == order({"type": "array", "items": "File"}, given)[0]
    assert made == order("Any", {"deep": [given]})["deep"][0]


def test_links_and_values_may_have_files_beside_them() -> None:
    beside = [{"href": "https://h.test/a.idx"}, {"value": "i", "name": "a.txt"}, "https://h.test/c"]

    for shape in ({"href": "https://h.test/a"}, {"value": "a", "mediaType": "text/plain", "name": "a"}):
        made = order("File", {**shape, "secondaryFiles": beside})
        assert ["a.idx", "a.txt", "c"] == [item["basename"] for item in made["secondaryFiles"]]


@pytest.mark.parametrize(
    ("value", "pointer", "said"),
    [
        ({"class": "File"}, "", "a location or contents"),
        ({"class": "File", "location": "https://h.test/a", "contents": "a"}, "", "and not both"),
        ({"class": "File", "contents": 5}, "/contents", "are a string"),
        ({"class": "File", "contents": "a", "format": 5}, "/format", "is a string"),
        ({"class": "File", "location": "file:///etc/passwd"}, "/location", "not a web address"),
        ({"class": "File", "location": "https://[::1"}, "/location", "not a web address"),
        ({"class": "File", "contents": "a", "secondaryFiles": {}}, "/secondaryFiles", "list of files"),
        ({"class": "File", "contents": "a", "secondaryFiles": [5]}, "/secondaryFiles/0", "no file or directory"),
        (
            {"class": "File", "contents": "a", "secondaryFiles": [{"class": "File", "path": "/etc/passwd"}]},
            "/secondaryFiles/0/path",
            "not a web address",
        ),
        (
            {"class": "File", "contents": "a", "secondaryFiles": [{"class": "File", "contents": "b"}]},
            "/secondaryFiles/0",
            "Give it a basename",
        ),
        (
            {"class": "File", "contents": "a", "secondaryFiles": [{"class": "File", "basename": "x", "contents": "b"}]},
            "/secondaryFiles/0",
            "another file or directory of this name",
        ),
    ],
)
def test_a_file_in_cwls_form_that_is_none_is_refused_where_it_stands(value: Any, pointer: str, said: str) -> None:
    found = refusal("File", value)

    assert [f"/inputs/x{pointer}"] == list(found)
    assert said in found[f"/inputs/x{pointer}"]


@pytest.mark.parametrize(
    ("value", "pointer", "said"),
    [
        ({"value": {"a.txt": "hello"}}, "/value", "no STAC object"),
        ({"value": {"type": "Feature"}}, "/value", "no STAC object"),
        ({"value": {"stac_version": "1.0.0"}}, "/value", "no STAC object"),
        ({"value": {"stac_version": 1, "type": "Feature"}}, "/value", "no STAC object"),
        ({"stac_version": "1.0.0", "type": "Nothing"}, "", "no STAC object"),
        ({"class": "Directory"}, "", "a location or listing"),
        ({"class": "Directory", "listing": "a"}, "/listing", "list of files"),
        ({"class": "Directory", "location": "file:///etc"}, "/location", "not a web address"),
        (
            {"class": "Directory", "listing": [{"class": "Directory", "basename": "a", "location": "s3://b/c"}]},
            "/listing/0/location",
            "not a web address",
        ),
    ],
)
def test_what_is_no_directory_is_refused_where_it_stands(value: Any, pointer: str, said: str) -> None:
    found = refusal("Directory", value)

    assert [f"/inputs/x{pointer}"] == list(found)
    assert said in found[f"/inputs/x{pointer}"]


@pytest.mark.parametrize("kind", ["Feature", "FeatureCollection", "Collection", "Catalog"])
def test_a_stac_object_becomes_a_directory_with_it(kind: str) -> None:
    stac = {**STAC, "type": kind}

    made = order("Directory", {"value": stac})

    assert ("Directory", "x") == (made["class"], made["basename"])
    assert stac == orjson.loads(made["listing"][0]["contents"])


def test_a_file_in_a_record_has_the_format_that_its_field_declares() -> None:
    image = "http://edamontology.org/format_3591"
    record = {"type": "record", "fields": {"f": {"type": "File", "format": [image]}, "g": {"type": "File"}}}

    made = order(record, {"f": {"value": "AAEC", "mediaType": "image/tiff"}, "g": {"value": "a"}})

    assert (image, False) == (made["f"]["format"], "format" in made["g"])
