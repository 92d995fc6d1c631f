"""Results as the execute request asked for them: the table of OGC API - Processes 1.0, row by row."""

import base64
from email import message_from_bytes
from email.message import Message
from typing import Any
from uuid import UUID

import grpc.aio
import orjson
import pytest

from services.ogc.results import delivery
from tests.integration.status.records import Records
from tests.integration.status.serving import Status
from tests.support.rpc import error_info, trailing
from workflow_runner.v1.status_service_pb2 import GetResultsRequest

RASTER = bytes(range(256)) * 5000
"""More than one piece."""
ROOT = "https://runner.example/workspaces/ada/jobs"


async def finished(records: Records, **request: Any) -> UUID:
    """A job that left a text, a number, a raster, a table, a folder, and not its optional output."""
    await records.process()
    job_id = await records.job(state="running", request={"inputs": {}, **request})

    async def file(output: str, name: str, content: bytes, media_type: str) -> dict[str, Any]:
        key = await records.file(job_id, output, name, content)
        return {"file": {"key": key, "path": name, "name": name, "size": len(content), "media_type": media_type}}

    await records.file(job_id, "folder", "catalog.json", b"{}")
    catalog = {"path": "catalog.json", "size": 2, "media_type": "application/json"}
    await records.results(
        job_id,
        {
            "text": {"value": "grüße"},
            "number": {"value": 7},
            "raster": await file("raster", "a b.tif", RASTER, "image/tiff; application=geotiff"),
            "table": await file("table", "t.csv", b"a,b\n", "text/csv"),
            "report": await file("report", "r.json", b'{"mean": 1.0}', "application/json"),
            "folder": {"directory": {"prefix": f"jobs/ada/{job_id}/outputs/folder/", "files": [catalog]}},
            "tiles": {"list": [await file("tiles", "0.txt", b"tile", "text/plain")]},
            "absent": None,
        },
    )
    return job_id


async def results(
    status: Status, job_id: UUID, accept: str = "*/*", *, rest: bool = True
) -> tuple[int, str, bytes, dict[str, str]]:
    """Status, media type, body and headers."""
    path = f"/workspaces/ada/jobs/{job_id}/results"
    call = status.stub.GetResults(
        GetResultsRequest(name=path.removeprefix("/").removesuffix("/results")),
        metadata=status.over_rest(path, accept=accept) if rest else status.as_user(),
    )
    bodies = [body async for body in call]
    headers = {key: value for key, value in await call.initial_metadata() if isinstance(value, str)}
    body = b"".join(body.data for body in bodies)
    if rest:
        assert str(len(body)) == headers["x-content-length"]
    return int(headers.get("x-http-status", 0)), bodies[0].content_type, body, headers


def parts_of(content_type: str, body: bytes) -> dict[str, Message]:
    """The parts of a multipart body by their Content-ID."""
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    assert message.is_multipart()
    assert not message.defects
    found = {}
    for part in message.get_payload():
        assert isinstance(part, Message)
        assert not part.defects
        found[part["Content-ID"]] = part
    return found


@pytest.mark.requirement("core/job-results-async-raw-value-one")
@pytest.mark.parametrize(
    ("output", "asked", "media_type", "body"),
    [
        ("text", {}, "text/plain; charset=utf-8", "grüße".encode()),
        ("text", {"format": {"mediaType": "application/json"}}, "application/json", '"grüße"'.encode()),
        ("number", {}, "application/json", b"7"),
        ("raster", {"transmissionMode": "value"}, "image/tiff; application=geotiff", RASTER),
        ("table", {}, "text/csv", b"a,b\n"),
    ],
)
@pytest.mark.parametrize("response", [{}, {"response": "raw"}])
async def test_one_raw_value_is_the_body_in_its_media_type(
    status: Status,
    records: Records,
    output: str,
    asked: dict[str, Any],
    media_type: str,
    body: bytes,
    response: dict[str, Any],
) -> None:
    job_id = await finished(records, outputs={output: asked}, **response)

    assert (200, media_type, body) == (await results(status, job_id))[:3]


@pytest.mark.requirement("core/job-results-async-raw-value-multi", "core/process-execute-default-outputs")
@pytest.mark.parametrize("outputs", [None, {}, {"text": {}, "raster": {}}])
async def test_several_raw_values_are_parts_named_by_their_outputs(
    status: Status, records: Records, outputs: dict[str, Any] | None
) -> None:
    job_id = await finished(records, outputs=outputs)

    code, content_type, body, _ = await results(status, job_id)
    parts = parts_of(content_type, body)

    assert 200 == code
    assert content_type.startswith("multipart/related; boundary=")
    expected = ["text", "raster"] if outputs else ["text", "number", "raster", "table", "report", "folder", "tiles"]
    assert expected == list(parts)
    assert ("text/plain", "grüße".encode()) == (
        parts["text"].get_content_type(),
        parts["text"].get_payload(decode=True),
    )
    assert ("image/tiff", RASTER) == (parts["raster"].get_content_type(), body_of(body, content_type, "raster"))
    assert "attachment; filename*=UTF-8''a%20b.tif" == parts["raster"]["Content-Disposition"]


@pytest.mark.requirement("core/job-results-async-raw-value-multi")
async def test_two_outputs_of_which_one_was_made_are_still_parts(status: Status, records: Records) -> None:
    job_id = await finished(records, outputs={"text": {}, "absent": {}})

    _, content_type, body, _ = await results(status, job_id)

    assert ["text"] == list(parts_of(content_type, body))


@pytest.mark.requirement("core/job-results-async-raw-ref")
@pytest.mark.parametrize("names", [["raster"], ["raster", "text", "folder"]])
async def test_raw_references_are_links_without_a_body(status: Status, records: Records, names: list[str]) -> None:
    outputs = {name: {"transmissionMode": "reference"} for name in names}
    job_id = await finished(records, outputs=outputs)

    code, _, body, headers = await results(status, job_id)

    targets = {"raster": "raster/a%20b.tif", "text": "text", "folder": "folder"}
    assert (204, b"") == (code, body)
    assert [f"<{ROOT}/{job_id}/results/{targets[name]}>" for name in names] == [
        link.partition(";")[0] for link in headers["link"].split(", ")
    ]
    assert 'rel="item"; title="raster"; type="image/tiff; application=geotiff"' in headers["link"]


@pytest.mark.requirement("core/job-results-async-raw-ref")
async def test_more_links_than_a_header_holds_are_parts(
    status: Status, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LONGEST_LINKS", 10)
    job_id = await finished(records, outputs={"raster": {"transmissionMode": "reference"}})

    code, content_type, body, _ = await results(status, job_id)

    part = parts_of(content_type, body)["raster"]
    assert (200, f"{ROOT}/{job_id}/results/raster/a%20b.tif") == (code, part["Content-Location"])


async def test_an_output_that_was_not_made_is_no_content(status: Status, records: Records) -> None:
    job_id = await finished(records, outputs={"absent": {}})

    code, _, body, headers = await results(status, job_id)

    assert (204, b"", False) == (code, body, "link" in headers)


@pytest.mark.requirement("core/job-results-async-raw-mixed-multi")
async def test_references_among_raw_values_are_parts_without_a_body(status: Status, records: Records) -> None:
    job_id = await finished(records, outputs={"raster": {"transmissionMode": "reference"}, "text": {}})

    _, content_type, body, _ = await results(status, job_id)
    parts = parts_of(content_type, body)

    assert f"{ROOT}/{job_id}/results/raster/a%20b.tif" == parts["raster"]["Content-Location"]
    assert ("image/tiff", b"") == (parts["raster"].get_content_type(), parts["raster"].get_payload(decode=True))
    assert (None, "grüße".encode()) == (parts["text"]["Content-Location"], parts["text"].get_payload(decode=True))


@pytest.mark.requirement("core/job-results-async-document")
async def test_a_document_has_values_inline_and_files_by_reference(status: Status, records: Records) -> None:
    job_id = await finished(records, response="document")

    code, media_type, body, _ = await results(status, job_id)
    found = orjson.loads(body)

    assert (200, "application/json") == (code, media_type)
    assert ("grüße", 7) == (found["text"], found["number"])
    assert {
        "href": f"{ROOT}/{job_id}/results/raster/a%20b.tif",
        "type": "image/tiff; application=geotiff",
    } == found["raster"]
    assert "absent" not in found


@pytest.mark.requirement("core/job-results-async-document")
async def test_a_document_has_by_value_or_by_reference_what_was_asked_for_so(status: Status, records: Records) -> None:
    by_value: dict[str, Any] = {"raster": {}, "table": {}, "report": {}, "folder": {}, "tiles": {}, "number": {}}
    outputs = {name: {"transmissionMode": "value"} for name in by_value} | {"text": {"transmissionMode": "reference"}}
    job_id = await finished(records, response="document", outputs=outputs)

    found = orjson.loads((await results(status, job_id))[2])

    assert RASTER == base64.b64decode(found["raster"].pop("value"))
    assert {"mediaType": "image/tiff; application=geotiff", "encoding": "base64"} == found["raster"]
    assert {"value": "a,b\n", "mediaType": "text/csv"} == found["table"]
    assert {"value": {"mean": 1.0}, "mediaType": "application/json"} == found["report"]
    assert [{"value": "tile", "mediaType": "text/plain"}] == found["tiles"]
    assert 7 == found["number"]
    catalog = f"{ROOT}/{job_id}/results/folder/catalog.json"
    assert [catalog] == [file["href"] for file in found["folder"]["value"]["files"]]
    assert "application/json" == found["folder"]["mediaType"]
    assert {"href": f"{ROOT}/{job_id}/results/text", "type": "text/plain"} == found["text"]


@pytest.mark.requirement("core/job-results-async-document")
async def test_a_file_too_large_to_stand_in_a_document_is_there_by_reference(
    status: Status, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LARGEST_INLINE", 1000)
    outputs = {name: {"transmissionMode": "value"} for name in ("raster", "table")}
    job_id = await finished(records, response="document", outputs=outputs)

    found = orjson.loads((await results(status, job_id))[2])

    assert f"{ROOT}/{job_id}/results/raster/a%20b.tif" == found["raster"]["href"]
    assert "a,b\n" == found["table"]["value"]


@pytest.mark.parametrize(
    ("accept", "outputs", "media_type"),
    [
        ("application/json", ["raster", "text"], "application/json"),
        ("application/json, */*;q=0.5", ["raster", "text"], "application/json"),
        ("application/json, */*", ["raster", "text"], "multipart/related"),
        ("multipart/*, application/json;q=0.5", ["raster", "text"], "multipart/related"),
        ("application/json", ["raster"], "application/json"),
        ("application/json, image/*;q=0.1", ["raster"], "image/tiff"),
        ("application/json", ["text"], "application/json"),
        ("text/plain", ["text"], "text/plain"),
    ],
)
async def test_who_takes_json_and_not_what_raw_would_be_gets_the_document(
    status: Status, records: Records, accept: str, outputs: list[str], media_type: str
) -> None:
    job_id = await finished(records, outputs={name: {} for name in outputs})

    _, content_type, _, _ = await results(status, job_id, accept)

    assert media_type == content_type.partition(";")[0]


@pytest.mark.parametrize(
    ("accept", "response", "body"),
    [
        ("application/json", {}, None),
        ("application/json", {"response": "raw"}, b'{"mean": 1.0}'),
        ("*/*", {}, b'{"mean": 1.0}'),
        ("application/json, */*", {}, b'{"mean": 1.0}'),
    ],
)
async def test_a_json_file_is_not_taken_for_the_document(
    status: Status, records: Records, accept: str, response: dict[str, Any], body: bytes | None
) -> None:
    job_id = await finished(records, outputs={"report": {}}, **response)

    _, _, found, _ = await results(status, job_id, accept)

    if body is None:
        assert f"{ROOT}/{job_id}/results/report/r.json" == orjson.loads(found)["report"]["href"]
    else:
        assert body == found


@pytest.mark.parametrize(
    ("accept", "request_"),
    [
        ("image/png", {"outputs": {"raster": {}}}),
        ("image/tiff", {}),
        ("multipart/related", {"response": "document"}),
        ("text/csv", {"outputs": {"text": {}}}),
    ],
)
async def test_results_that_are_not_acceptable_are_refused(
    status: Status, records: Records, accept: str, request_: dict[str, Any]
) -> None:
    job_id = await finished(records, **request_)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await results(status, job_id, accept)

    assert ("NOT_ACCEPTABLE", "406") == (error_info(refused.value).reason, trailing(refused.value)["x-http-status"])


async def test_over_grpc_the_document_is_the_default(status: Status, records: Records) -> None:
    job_id = await finished(records)

    body = (await results(status, job_id, rest=False))[2]

    assert f"workspaces/ada/jobs/{job_id}/results/raster/a%20b.tif" == orjson.loads(body)["raster"]["href"]


def body_of(body: bytes, content_type: str, output: str) -> bytes:
    """The bytes of a part, which the parser of mail would take for lines of text."""
    boundary = content_type.partition("boundary=")[2].partition(";")[0].encode()
    for part in body.split(b"--" + boundary):
        head, _, content = part.partition(b"\r\n\r\n")
        if f"Content-ID: {output}".encode() in head:
            assert f"Content-Length: {len(content) - 2}".encode() in head
            return content.removesuffix(b"\r\n")
    raise AssertionError(output)
