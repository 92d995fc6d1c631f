"""Every output in a results document has the shape of the standard, and fits the schema that its process describes."""

from typing import Any
from uuid import UUID

import orjson
import pytest

from services.submission.packages.description import output_schema
from tests.integration.status.records import Records
from tests.integration.status.serving import Status
from tests.support.schemas import accepts
from workflow_runner.v1.status_service_pb2 import GetResultsRequest

ROOT = "https://runner.example/workspaces/ada/jobs"
RECORD = {
    "type": "record",
    "fields": {"d": {"type": "Directory"}, "f": {"type": "File"}, "value": {"type": ["null", "File", "int"]}},
}
KINDS: dict[str, Any] = {
    "folder": "Directory",
    "maybe": ["null", "Directory", "int"],
    "folders": {"type": "array", "items": "Directory"},
    "things": {"type": "array", "items": ["File", "Directory", "string"]},
    "record": RECORD,
    "alone": {"type": "record", "fields": {"value": {"type": "Directory"}}},
    "records": {"type": "array", "items": {"type": "record", "fields": {"inner": {"type": RECORD}}}},
    "beside": "File",
}
"""Outputs, in the form of `cwl_types`."""


async def finished(records: Records, mode: str | None) -> UUID:
    """A job with each of the outputs."""
    await records.process()
    outputs = {name: {"transmissionMode": mode} if mode else {} for name in KINDS}
    job_id = await records.job(state="running", request={"inputs": {}, "response": "document", "outputs": outputs})

    async def file(output: str, path: str) -> dict[str, Any]:
        key = await records.file(job_id, output, path, b"content")
        return {"key": key, "path": path, "name": path.rpartition("/")[2], "size": 7, "media_type": "text/plain"}

    async def folder(output: str, path: str) -> dict[str, Any]:
        below = f"{path}/" if path else ""
        inner = [await file(output, f"{below}a b/c"), await file(output, f"{below}catalog.json")]
        return {"directory": {"name": "d", "path": path, "prefix": "", "files": inner, "empty": [f"{below}none"]}}

    async def record(output: str, path: str) -> dict[str, Any]:
        members = {
            "d": await folder(output, f"{path}d/d"),
            "f": {"file": await file(output, f"{path}f/x")},
            "value": None,
        }
        return {"record": members}

    await records.results(
        job_id,
        {
            "folder": await folder("folder", ""),
            "maybe": await folder("maybe", ""),
            "folders": {"list": [await folder("folders", "0/d"), await folder("folders", "1/d")]},
            "things": {
                "list": [{"file": await file("things", "0/x")}, await folder("things", "1/d"), {"value": "text"}]
            },
            "record": await record("record", ""),
            "alone": {"record": {"value": await folder("alone", "value/d")}},
            "records": {"list": [{"record": {"inner": await record("records", "0/inner/")}}]},
            "beside": {"file": {**await file("beside", "x"), "secondary": [await folder("beside", "x.d")]}},
        },
    )
    return job_id


def directories_in(shown: Any) -> list[dict[str, Any]]:
    """Everything that shows a directory, as a value or by itself."""
    if isinstance(shown, list):
        return [directory for item in shown for directory in directories_in(item)]
    if not isinstance(shown, dict):
        return []
    if "files" in shown:
        return [shown]
    if isinstance(shown.get("value"), dict) and "files" in shown["value"]:
        return [shown]
    return [directory for member in shown.values() for directory in directories_in(member)]


@pytest.mark.requirement("core/job-results-async-document")
@pytest.mark.parametrize("mode", [None, "value"])
async def test_directories_are_qualified_values_wherever_they_stand(
    status: Status, records: Records, mode: str | None
) -> None:
    job_id = await finished(records, mode)
    path = f"/workspaces/ada/jobs/{job_id}/results"

    call = status.stub.GetResults(
        GetResultsRequest(name=f"workspaces/ada/jobs/{job_id}"), metadata=status.over_rest(path, accept="*/*")
    )
    document = orjson.loads(b"".join([body.data async for body in call]))

    url = f"{ROOT}/{job_id}/results"
    assert {
        "value": {
            "name": "d",
            "files": [
                {"href": f"{url}/folder/a%20b/c", "type": "text/plain", "path": "a b/c"},
                {"href": f"{url}/folder/catalog.json", "type": "text/plain", "path": "catalog.json"},
            ],
            "emptyDirectories": ["none"],
        },
        "mediaType": "application/json",
    } == document["folder"]
    shown = directories_in(document)
    assert 9 == len(shown)
    for directory in shown:
        assert ({"value", "mediaType"}, "application/json") == (set(directory), directory["mediaType"])
        assert ["a b/c", "catalog.json"] == [file["path"] for file in directory["value"]["files"]]
    for output, value in document.items():
        # An object of the document is either a link or a value that is qualified (`inlineOrRefData.yaml`).
        if isinstance(value, dict):
            assert ("href" in value) != ("value" in value and "mediaType" in value)
            value = value.get("value", value)
        assert accepts(output_schema(KINDS[output], []), value), (output, value)


async def test_a_directory_that_was_asked_for_by_reference_is_a_link(status: Status, records: Records) -> None:
    job_id = await finished(records, "reference")
    path = f"/workspaces/ada/jobs/{job_id}/results"

    call = status.stub.GetResults(
        GetResultsRequest(name=f"workspaces/ada/jobs/{job_id}"), metadata=status.over_rest(path, accept="*/*")
    )
    document = orjson.loads(b"".join([body.data async for body in call]))

    assert {"href": f"{ROOT}/{job_id}/results/folder", "type": "application/json"} == document["folder"]
