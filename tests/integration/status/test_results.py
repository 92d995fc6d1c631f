"""Results: the document, single outputs, files and parts of them, and why there are none."""

from typing import Any
from uuid import UUID

import grpc.aio
import orjson
import pytest
from google.api.httpbody_pb2 import HttpBody

from services.records.artifacts import CHUNK_BYTES
from tests.integration.status.records import Records
from tests.integration.status.serving import Status
from tests.support.rpc import error_info, trailing
from workflow_runner.v1.status_service_pb2 import GetResultsRequest, ReadResultRequest

CONTENT = bytes(range(256)) * 10


@pytest.fixture
async def job_id(records: Records) -> UUID:
    """A job that left one of everything."""
    await records.process()
    job_id = await records.job(state="running")
    listing = []
    for path, content in (("catalog.json", b'{"type":"Catalog"}'), ("item/a b.tif", b"tiff"), ("item/b.tif", b"")):
        await records.file(job_id, "stac", path, content)
        listing.append({"path": path, "size": len(content), "media_type": "image/tiff"})
    await records.results(
        job_id,
        {
            "count": {"value": 9007199254740993},
            "text": {"value": "grüße <b>"},
            "object": {"value": {"b": 1, "a": 1.0}},
            "bbox": {"value": {"bbox": [1, 2, 3, 4]}},
            "media": {"value": {"value": "AAEC", "mediaType": "image/tiff", "encoding": "base64"}},
            "absent": None,
            "raster": {
                "file": {
                    "key": await records.file(job_id, "raster", "mean ndvi.tif", CONTENT),
                    "path": "mean ndvi.tif",
                    "name": "mean ndvi.tif",
                    "size": len(CONTENT),
                    "media_type": "image/tiff; application=geotiff",
                }
            },
            "empty": {
                "file": {
                    "key": await records.file(job_id, "empty", "empty.txt", b""),
                    "path": "empty.txt",
                    "name": "empty.txt",
                    "size": 0,
                    "media_type": "text/html\r\nx-evil: 1",
                }
            },
            "stac": {"directory": {"prefix": f"jobs/ada/{job_id}/outputs/stac/", "files": listing}},
            "tiles": {
                "list": [
                    {
                        "file": {
                            "key": await records.file(job_id, "tiles", f"{number}/tile.txt", b"tile %d" % number),
                            "path": f"{number}/tile.txt",
                            "name": "tile.txt",
                            "size": 6,
                            "media_type": "text/plain",
                        }
                    }
                    for number in range(2)
                ]
            },
        },
    )
    return job_id


async def document(status: Status, job_id: UUID, *, accept: str = "application/json", **headers: str) -> Any:
    call = status.stub.GetResults(
        GetResultsRequest(name=f"workspaces/ada/jobs/{job_id}"),
        metadata=status.over_rest(f"/workspaces/ada/jobs/{job_id}/results", accept=accept, **headers),
    )
    bodies = [body async for body in call]
    return HttpBody(content_type=bodies[0].content_type, data=b"".join(body.data for body in bodies)), await headers_of(
        call
    )


async def one(
    status: Status, job_id: UUID, output: str, path: str = "", **headers: str
) -> tuple[bytes, str, dict[str, str]]:
    call = status.stub.ReadResult(
        ReadResultRequest(name=f"workspaces/ada/jobs/{job_id}", output=output, path=path),
        metadata=status.over_rest("/", **headers),
    )
    bodies = [body async for body in call]
    return b"".join(body.data for body in bodies), bodies[0].content_type, await headers_of(call)


async def refusal(status: Status, job_id: UUID, output: str, path: str = "", **headers: str) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await one(status, job_id, output, path, **headers)
    return refused.value


async def headers_of(call: Any) -> dict[str, str]:
    return {key: value for key, value in await call.initial_metadata() if isinstance(value, str)}


async def test_the_document_has_values_inline_and_files_by_reference(status: Status, job_id: UUID) -> None:
    body, headers = await document(status, job_id)
    base = f"https://runner.example/workspaces/ada/jobs/{job_id}/results"

    found = orjson.loads(body.data)

    assert ("200", "application/json") == (headers["x-http-status"], body.content_type)
    assert 9007199254740993 == found["count"]
    assert b'"value":{"b":1,"a":1.0}' in body.data
    assert "application/json" == found["object"]["mediaType"]
    assert {"bbox": [1, 2, 3, 4]} == found["bbox"]
    assert {"value": "AAEC", "mediaType": "image/tiff", "encoding": "base64"} == found["media"]
    assert "absent" not in found
    assert {"href": f"{base}/raster/mean%20ndvi.tif", "type": "image/tiff; application=geotiff"} == found["raster"]
    assert ({"value", "mediaType"}, "application/json") == (set(found["stac"]), found["stac"]["mediaType"])
    assert f"{base}/stac/item/a%20b.tif" == found["stac"]["value"]["files"][1]["href"]
    assert [f"{base}/tiles/{number}/tile.txt" for number in range(2)] == [tile["href"] for tile in found["tiles"]]


async def test_only_the_outputs_that_were_asked_for_are_in_the_document(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running", request={"inputs": {}, "outputs": {"b": {}, "c": {}}})
    await records.results(job_id, {"a": {"value": 1}, "b": {"value": 2}})

    body, _ = await document(status, job_id)

    assert {"b": 2} == orjson.loads(body.data)


async def test_a_request_for_raw_results_with_one_output_is_answered_with_it(status: Status, records: Records) -> None:
    await records.process()
    request = {"inputs": {}, "response": "raw", "outputs": {"file": {}}}
    job_id = await records.job(state="running", request=request)
    key = await records.file(job_id, "file", "a.csv", b"1,2\n")
    entry = {"key": key, "path": "a.csv", "name": "a.csv", "size": 4, "media_type": "text/csv"}
    await records.results(job_id, {"file": {"file": entry}, "other": {"value": 1}})

    # A range belongs to the file, not to the results.
    body, headers = await document(status, job_id, accept="*/*", range="bytes=0-1")

    assert (b"1,2\n", "text/csv") == (body.data, body.content_type)
    assert "attachment; filename*=UTF-8''a.csv" == headers["content-disposition"]


async def test_values_are_answered_as_they_are(status: Status, job_id: UUID) -> None:
    assert (b"9007199254740993", "application/json") == (await one(status, job_id, "count"))[:2]
    assert ("grüße <b>".encode(), "text/plain; charset=utf-8") == (await one(status, job_id, "text"))[:2]
    assert ('"grüße <b>"'.encode(), "application/json") == (
        await one(status, job_id, "text", accept="application/json, */*;q=0.1")
    )[:2]
    assert (b'{"b":1,"a":1.0}', "application/json") == (await one(status, job_id, "object"))[:2]
    assert (b"\x00\x01\x02", "image/tiff") == (await one(status, job_id, "media"))[:2]
    assert "attachment" == (await one(status, job_id, "media"))[2]["content-disposition"]
    assert (b"null", "application/json") == (await one(status, job_id, "absent"))[:2]


async def test_a_file_is_a_download(status: Status, job_id: UUID) -> None:
    data, media_type, headers = await one(status, job_id, "raster")

    assert (CONTENT, "image/tiff; application=geotiff") == (data, media_type)
    assert "attachment; filename*=UTF-8''mean%20ndvi.tif" == headers["content-disposition"]
    assert "nosniff" == headers["x-content-type-options"]
    assert "bytes" == headers["accept-ranges"]
    assert (data, media_type, headers) == await one(status, job_id, "raster", "mean ndvi.tif")
    assert (data, media_type, headers) == await one(status, job_id, "raster", "mean%20ndvi.tif")


async def test_an_empty_file_with_a_hostile_media_type_is_bytes(status: Status, job_id: UUID) -> None:
    assert (b"", "application/octet-stream") == (await one(status, job_id, "empty"))[:2]


@pytest.mark.parametrize(
    ("range_", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=100-199", (100, 200)),
        ("bytes=2550-9999", (2550, 2560)),
        ("bytes=-10", (2550, 2560)),
        ("bytes=2000-", (2000, 2560)),
        ("BYTES=5-7", (5, 8)),
        ("bytes=-99999", (0, 2560)),
    ],
)
async def test_a_range_is_answered_with_that_part(
    status: Status, job_id: UUID, range_: str, part: tuple[int, int]
) -> None:
    data, _, headers = await one(status, job_id, "raster", range=range_)

    assert CONTENT[part[0] : part[1]] == data
    assert ("206", f"bytes {part[0]}-{part[1] - 1}/2560") == (headers["x-http-status"], headers["content-range"])


@pytest.mark.parametrize("range_", ["bytes=0-1,5-6", "bytes=x-1", "lines=1-2", "bytes=5-2", "bytes=-", "bytes"])
async def test_a_range_that_is_not_understood_is_ignored(status: Status, job_id: UUID, range_: str) -> None:
    data, _, headers = await one(status, job_id, "raster", range=range_)

    assert CONTENT == data
    assert "200" == headers["x-http-status"]


@pytest.mark.parametrize("range_", ["bytes=2560-", "bytes=9999999999999999-", "bytes=-0"])
async def test_a_range_outside_of_the_file_is_refused(status: Status, job_id: UUID, range_: str) -> None:
    refused = await refusal(status, job_id, "raster", range=range_)

    assert "RANGE_NOT_SATISFIABLE" == error_info(refused).reason
    assert ("416", "bytes */2560") == (trailing(refused)["x-http-status"], trailing(refused)["content-range"])


async def test_a_range_holds_only_for_the_file_it_was_begun_with(status: Status, job_id: UUID) -> None:
    etag = (await one(status, job_id, "raster"))[2]["etag"]

    same = await one(status, job_id, "raster", range="bytes=0-9", if_range=etag)
    other = await one(status, job_id, "raster", range="bytes=0-9", if_range='"another"')

    assert (10, "206") == (len(same[0]), same[2]["x-http-status"])
    assert (2560, "200") == (len(other[0]), other[2]["x-http-status"])


@pytest.mark.parametrize("known", ["{}", "W/{}", '"x", {}', "*"])
async def test_what_the_caller_has_is_not_sent_again(status: Status, job_id: UUID, known: str) -> None:
    for output, path in (("raster", ""), ("tiles", ""), ("tiles", "0/tile.txt")):
        etag = (await one(status, job_id, output, path))[2]["etag"]
        # Whether the range is there is asked after whether anything is sent.
        data, _, headers = await one(
            status, job_id, output, path, range="bytes=9999999-", if_none_match=known.format(etag)
        )

        assert (b"", "304", etag) == (data, headers["x-http-status"], headers["etag"])


async def test_what_the_caller_has_not_is_sent(status: Status, job_id: UUID) -> None:
    data, _, headers = await one(status, job_id, "raster", if_none_match='"x"', if_match="*")

    assert (CONTENT, "200") == (data, headers["x-http-status"])


async def test_what_has_to_be_there_and_is_not_is_refused(status: Status, job_id: UUID) -> None:
    for output in ("raster", "tiles"):
        etag = (await one(status, job_id, output))[2]["etag"]
        refused = await refusal(status, job_id, output, if_match='"x"', if_none_match=etag)

        assert ("412", "PRECONDITION_FAILED") == (
            trailing(refused)["x-http-status"],
            error_info(refused).reason,
        )


async def test_the_document_has_a_tag_too(status: Status, job_id: UUID) -> None:
    _, headers = await document(status, job_id)

    body, again = await document(status, job_id, if_none_match=headers["etag"])

    assert (b"", "304") == (body.data, again["x-http-status"])


async def test_head_of_a_large_file_reads_its_first_piece_only(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    key = await records.file(job_id, "large", "large.bin", b"x" * (3 * CHUNK_BYTES))
    file = {
        "key": key,
        "path": "large.bin",
        "name": "large.bin",
        "size": 3 * CHUNK_BYTES,
        "media_type": "application/octet-stream",
    }
    await records.results(job_id, {"large": {"file": file}})

    data, media_type, headers = await one(status, job_id, "large", x_workflow_runner_head="1")

    assert (b"", "application/octet-stream") == (data, media_type)
    assert str(3 * CHUNK_BYTES) == headers["x-content-length"]


async def test_a_large_file_comes_in_pieces(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    content = b"0123456789" * 300_000
    key = await records.file(job_id, "file", "large.bin", content)
    entry = {"key": key, "path": "large.bin", "name": "large.bin", "size": len(content), "media_type": "x/y"}
    await records.results(job_id, {"file": {"file": entry}})
    request = ReadResultRequest(name=f"workspaces/ada/jobs/{job_id}", output="file")

    pieces = [body.data async for body in status.stub.ReadResult(request, metadata=status.as_user())]

    assert content == b"".join(pieces)
    assert max(map(len, pieces)) <= 1024 * 1024


async def test_a_directory_is_listed_and_its_files_are_downloads(status: Status, job_id: UUID) -> None:
    base = f"https://runner.example/workspaces/ada/jobs/{job_id}/results"
    listing = orjson.loads((await one(status, job_id, "stac"))[0])
    folder = orjson.loads((await one(status, job_id, "stac", "item/"))[0])

    assert ["catalog.json", "item/a b.tif", "item/b.tif"] == [file["path"] for file in listing["files"]]
    assert f"{base}/stac/item/a%20b.tif" == listing["files"][1]["href"]
    assert [{"href": base, "rel": "up", "type": "application/json", "title": "Results of the job"}] == listing["links"]
    assert ["item/a b.tif", "item/b.tif"] == [file["path"] for file in folder["files"]]
    assert b"tiff" == (await one(status, job_id, "stac", "item/a%20b.tif"))[0]
    assert b"" == (await one(status, job_id, "stac", "item/b.tif"))[0]


async def test_a_list_of_files_is_a_list_of_references(status: Status, job_id: UUID) -> None:
    listing = orjson.loads((await one(status, job_id, "tiles"))[0])

    assert 2 == len(listing)
    assert b"tile 1" == (await one(status, job_id, "tiles", "1/tile.txt"))[0]


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "..",
        "../raster/mean ndvi.tif",
        "item/../catalog.json",
        "item%2Fb.tif",
        "item%2fb.tif",
        "/catalog.json",
        "item//b.tif",
        "catalog.json/x",
        "catalog.json\x00",
        "%2e%2e/stac/catalog.json",
        "./catalog.json",
    ],
)
async def test_a_path_that_was_not_recorded_is_no_file(status: Status, job_id: UUID, path: str) -> None:
    assert "NO_SUCH_FILE" == error_info(await refusal(status, job_id, "stac", path)).reason


@pytest.mark.parametrize("output", ["nothing", "..", "stac/catalog.json", "outputs/stac"])
async def test_an_output_that_the_job_has_not_is_refused(status: Status, job_id: UUID, output: str) -> None:
    refused = await refusal(status, job_id, output)

    assert ("NO_SUCH_OUTPUT", "404") == (error_info(refused).reason, trailing(refused)["x-http-status"])


async def test_a_file_that_was_removed_meanwhile_is_no_fault_of_ours(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    entry = {"key": "jobs/ada/x/outputs/file/a", "path": "a", "name": "a", "size": 4, "media_type": "text/csv"}
    await records.results(job_id, {"file": {"file": entry}})

    assert "NO_SUCH_FILE" == error_info(await refusal(status, job_id, "file")).reason


@pytest.mark.parametrize("state", ["accepted", "running"])
async def test_a_job_that_goes_on_has_no_results_yet(status: Status, records: Records, state: str) -> None:
    await records.process()
    job_id = await records.job(state=state)

    refused = await refusal(status, job_id, "anything")
    with pytest.raises(grpc.aio.AioRpcError) as refused_whole:
        await document(status, job_id)

    for error in (refused, refused_whole.value):
        assert "RESULT_NOT_READY" == error_info(error).reason
        problem = orjson.loads(trailing(error)["x-problem"])
        assert (404, "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/result-not-ready") == (
            problem["status"],
            problem["type"],
        )


@pytest.mark.parametrize(("reason", "status_code"), [("STEP_FAILED", "422"), ("BACKEND_LOST_JOB", "500")])
async def test_a_failed_job_says_why_instead_of_its_results(
    status: Status, records: Records, reason: str, status_code: str
) -> None:
    await records.process()
    failure = {
        "reason": reason,
        "message": "Step tile {ended} with exit code 3.",
        "step": "tile",
        "exit_code": 3,
        "log_tail": ["reading", "no band {B04}"],
    }
    job_id = await records.job(state="failed", failure=failure)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await document(status, job_id)

    info = error_info(refused.value)
    assert ("JOB_FAILED", reason, "tile", "3") == (
        info.reason,
        info.metadata["failure"],
        info.metadata["step"],
        info.metadata["exit_code"],
    )
    assert status_code == trailing(refused.value)["x-http-status"]
    assert "Step tile {ended} with exit code 3." in refused.value.details()
    assert refused.value.details().endswith("no band {B04}")


async def test_a_dismissed_job_has_no_results(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="dismissed")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await document(status, job_id)

    assert ("RESULT_NOT_AVAILABLE", "404") == (
        error_info(refused.value).reason,
        trailing(refused.value)["x-http-status"],
    )
