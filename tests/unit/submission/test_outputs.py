"""What an execute request may say of outputs."""

from typing import Any

import pytest

from services.shared.errors import InvalidArgument
from services.submission.execution.outputs import check_outputs
from services.submission.packages.description import output_schema


def described(kind: Any, formats: list[str]) -> dict[str, Any]:
    return {"out": {"schema": output_schema(kind, formats)}}


@pytest.mark.parametrize(
    ("kind", "formats", "media_type"),
    [
        ("string", [], "text/plain"),
        ("string", [], "application/json"),
        ("int", [], "application/json"),
        ("File", ["image/tiff"], "image/tiff; application=geotiff"),
        ("File", [], "image/png"),
        ("Any", [], "image/png"),
        ("Directory", [], "application/json"),
        ({"type": "array", "items": "int"}, [], "application/json"),
    ],
)
def test_an_output_is_had_in_what_it_is(kind: Any, formats: list[str], media_type: str) -> None:
    check_outputs({"out": {"format": {"mediaType": media_type}}}, described(kind, formats))


@pytest.mark.parametrize(
    ("kind", "formats", "media_type", "said"),
    [
        ("string", [], "image/png", "application/json, text/plain"),
        ("int", [], "text/plain", "application/json"),
        ("File", ["image/tiff"], "image/png", "image/tiff"),
        (["null", "boolean"], [], "text/html", "application/json"),
    ],
)
def test_an_output_is_not_converted(kind: Any, formats: list[str], media_type: str, said: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_outputs({"out": {"format": {"mediaType": media_type}}}, described(kind, formats))

    assert ["/outputs/out/format/mediaType"] == [violation.pointer for violation in refused.value.violations]
    assert refused.value.message.endswith(f" as {said}.")


@pytest.mark.parametrize("asked", [None, "value", [], {"transmissionMode": "mail"}, {"format": "x"}, {"format": [1]}])
def test_an_output_asked_for_in_another_way_is_refused(asked: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_outputs({"out": asked}, described("string", []))

    assert "INVALID_EXECUTE_REQUEST" == refused.value.reason_name
