"""Bodies of deploy requests: media types, packages by value and by reference, and what is wrong with them."""

from typing import Any

import orjson
import pytest

from services.shared.errors import InvalidArgument
from services.submission.packages import parse_deploy_body

CWL = {"cwlVersion": "v1.2", "class": "Workflow", "id": "app"}


def refusal(body: bytes, content_type: str) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        parse_deploy_body(body, content_type)
    return caught.value


def package(**members: Any) -> bytes:
    return orjson.dumps(members)


@pytest.mark.parametrize(
    ("content_type", "media_type"),
    [
        ("application/cwl+yaml", "application/cwl+yaml"),
        ("Application/CWL+JSON; charset=utf-8", "application/cwl+json"),
        ("application/cwl", "application/cwl"),
        ("application/x-yaml", "application/cwl+yaml"),
        ("text/yaml", "application/cwl+yaml"),
    ],
)
def test_cwl_is_taken_as_it_stands(content_type, media_type):
    deployment = parse_deploy_body(b"cwlVersion: v1.2", content_type)

    assert (b"cwlVersion: v1.2", None, media_type) == (deployment.document, deployment.href, deployment.media_type)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "", "multipart/form-data", "application/cwl+xml"]
)
def test_other_media_types_are_refused_with_415(content_type):
    found = refusal(b"cwlVersion: v1.2", content_type)

    assert ("UNSUPPORTED_MEDIA_TYPE", 415) == (found.reason_name, found.http_status)
    assert "application/cwl+yaml" in found.metadata["supported"]


@pytest.mark.parametrize("content_type", ["application/ogcapppkg+json", "application/json"])
@pytest.mark.parametrize(
    "unit",
    [
        {"value": CWL, "mediaType": "application/cwl+json"},
        [{"value": CWL, "mediaType": "application/cwl+json"}],
        {"unit": CWL, "type": "application/cwl"},
        CWL,
    ],
)
def test_a_package_by_value_gives_the_document(content_type, unit):
    deployment = parse_deploy_body(package(executionUnit=unit), content_type)

    assert orjson.dumps(CWL) == deployment.document
    assert "application/cwl+json" == deployment.media_type


def test_a_package_by_value_may_be_yaml_in_a_string():
    unit = {"value": "cwlVersion: v1.2\n", "mediaType": "application/cwl+yaml"}

    deployment = parse_deploy_body(package(executionUnit=unit), "application/ogcapppkg+json")

    assert (b"cwlVersion: v1.2\n", "application/cwl+yaml") == (deployment.document, deployment.media_type)


def test_a_package_by_reference_gives_the_address_and_the_description():
    process = {"id": "app", "title": "App", "version": "1.0"}
    body = package(
        executionUnit={"href": "https://example.org/app.cwl", "type": "application/cwl"},
        processDescription={"process": process},
    )

    deployment = parse_deploy_body(body, "application/ogcapppkg+json")

    assert (None, "https://example.org/app.cwl") == (deployment.document, deployment.href)
    assert process == deployment.process_description


def test_plain_json_may_be_cwl():
    assert "application/cwl+json" == parse_deploy_body(orjson.dumps(CWL), "application/json").media_type


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "not an application package"),
        (b"{}", "has no executionUnit"),
        (package(executionUnit=[]), "Exactly one"),
        (package(executionUnit=[CWL, CWL]), "Exactly one"),
        (package(executionUnit=3), "names no package"),
        (package(executionUnit={"href": 3}), "names no package"),
        (package(executionUnit={"type": "docker", "image": "x"}), "Docker execution units are not run"),
        (package(executionUnit=CWL, processDescription=[]), "must be an object"),
        (package(executionUnit=CWL, processDescription={"process": {"id": 3}}), "must be a string"),
        (package(executionUnit=CWL, processDescription={"process": {"keywords": [3]}}), "must be a list of strings"),
    ],
)
def test_a_broken_application_package_says_what_is_wrong(body, said):
    found = refusal(body, "application/ogcapppkg+json")

    assert "INVALID_PACKAGE" == found.reason_name
    assert said in found.message


def test_a_body_of_more_than_a_mebibyte_is_refused():
    for content_type in ("application/cwl", "application/json"):
        assert 413 == refusal(b" " * (2 << 20), content_type).http_status
