"""Names in results: every file is found at the URL that its results say, whatever its name, and sizes are true."""

from typing import Any
from urllib.parse import unquote, urljoin
from uuid import UUID

import grpc.aio
import orjson
import pytest

from services.records.artifacts import ArtifactStore
from services.shared.keys import object_key
from tests.integration.status.records import Records
from tests.integration.status.serving import Status
from tests.support.rpc import error_info
from workflow_runner.v1.status_service_pb2 import GetResultsRequest, ReadResultRequest

ROOT = "https://runner.example/workspaces/ada/jobs"
NAMES = [
    *(
        ".zgroup",
        "東京.tif",
        "大阪.tif",
        "T10:00:00Z.tif",
        "a#b",
        "a%23b",
        "100% (final).txt",
        "what?",
        'quo"te',
        "\n\t",
    ),
    *("e\u0301", "\u00e9", "x" * 255, "東" * 85, "a b", "~", "%2E%2E", "back\\slash", "&amp;", "+", ";"),
]


@pytest.fixture
async def artifacts(records: Records) -> ArtifactStore:
    return records.artifacts


async def stored(artifacts: ArtifactStore, job_id: UUID, output: str, path: str, content: bytes) -> dict[str, Any]:
    key = object_key(f"jobs/ada/{job_id}/", output, path)
    await artifacts.put(key, content)
    return {"key": key, "path": path, "size": len(content), "media_type": "text/plain"}


async def document(status: Status, job_id: UUID, **request: str) -> Any:
    call = status.stub.GetResults(
        GetResultsRequest(name=f"workspaces/ada/jobs/{job_id}"),
        metadata=status.over_rest(f"/workspaces/ada/jobs/{job_id}/results", accept="application/json"),
    )
    return orjson.loads(b"".join([body.data async for body in call]))


async def fetched(status: Status, job_id: UUID, url: str) -> tuple[bytes, dict[str, str]]:
    """What is at a URL of results, which the edge decodes once, segment by segment."""
    output, _, path = url.removeprefix(f"{ROOT}/{job_id}/results/").partition("/")
    call = status.stub.ReadResult(
        ReadResultRequest(name=f"workspaces/ada/jobs/{job_id}", output=unquote(output), path=unquote(path)),
        metadata=status.over_rest("/"),
    )
    data = b"".join([body.data async for body in call])
    return data, {key: str(value) for key, value in await call.initial_metadata()}


async def test_every_file_of_a_directory_is_at_its_url(
    status: Status, records: Records, artifacts: ArtifactStore
) -> None:
    await records.process()
    job_id = await records.job(state="running")
    files = [await stored(artifacts, job_id, "größe", f"{name}/{name}", name.encode()) for name in NAMES]
    directory = {"name": "S2A.SAFE", "path": "", "prefix": "", "files": files, "empty": ["GRANULE/東"]}
    await records.results(job_id, {"größe": {"directory": directory}, "other": {"value": 1}})

    url = f"{ROOT}/{job_id}/results/gr%C3%B6%C3%9Fe"

    answer = (await document(status, job_id))["größe"]
    shown = answer["value"]

    assert "application/json" == answer["mediaType"]
    assert ("S2A.SAFE", ["GRANULE/東"]) == (shown["name"], shown["emptyDirectories"])
    assert [f"{name}/{name}" for name in NAMES] == [file["path"] for file in shown["files"]]
    assert len(NAMES) == len({file["href"] for file in shown["files"]})
    for name, file in zip(NAMES, shown["files"], strict=True):
        assert file["href"].isascii()
        data, headers = await fetched(status, job_id, file["href"])
        assert name.encode() == data
        assert name == unquote(headers["content-disposition"].removeprefix("attachment; filename*=UTF-8''"))
    listing = orjson.loads((await fetched(status, job_id, url))[0])
    assert ("S2A.SAFE", ["GRANULE/東"]) == (listing["name"], listing["emptyDirectories"])
    assert [file["href"] for file in shown["files"]] == [file["href"] for file in listing["files"]]
    empty = orjson.loads((await fetched(status, job_id, f"{url}/GRANULE/東"))[0])
    assert ("東", []) == (empty["name"], empty["files"])


STAC = {
    "catalog.json": [
        "./items/S2_2024-01-01T10:00:00Z.json",
        "./items/%E6%9D%B1%E4%BA%AC%20(1).json",
        "items/a%23b.json",
    ],
    "items/S2_2024-01-01T10:00:00Z.json": ["../catalog.json", "./S2_2024-01-01T10:00:00Z.tif", "../data/é ü.tif"],
    "items/東京 (1).json": ["../data/100%25%20(final).tif"],
    "items/a#b.json": [],
    "items/S2_2024-01-01T10:00:00Z.tif": [],
    "data/é ü.tif": [],
    "data/100% (final).tif": [],
}
"""The files of a catalog, and what each links to, written as jobs write it."""


async def test_relative_links_of_a_catalog_hold_where_its_files_are_fetched(
    status: Status, records: Records, artifacts: ArtifactStore
) -> None:
    await records.process()
    job_id = await records.job(state="running")
    files = [
        await stored(artifacts, job_id, "stac", path, orjson.dumps({"me": path, "links": links}))
        for path, links in STAC.items()
    ]
    await records.results(
        job_id, {"stac": {"directory": {"name": "out", "path": "", "prefix": "", "files": files}}, "o": {"value": 1}}
    )
    urls = {file["path"]: file["href"] for file in (await document(status, job_id))["stac"]["value"]["files"]}

    waiting, seen = [urls["catalog.json"]], set()
    while waiting:
        url = waiting.pop()
        found = orjson.loads((await fetched(status, job_id, url))[0])
        if found["me"] not in seen:
            seen.add(found["me"])
            waiting += [urljoin(url, link) for link in found["links"]]

    assert set(STAC) == seen


async def test_each_directory_of_a_list_has_its_own_address(
    status: Status, records: Records, artifacts: ArtifactStore
) -> None:
    await records.process()
    job_id = await records.job(state="running")
    entries = []
    for number in range(2):
        files = [await stored(artifacts, job_id, "all", f"{number}/out/a b", b"%d" % number)]
        entries.append({"directory": {"name": "out", "path": f"{number}/out", "prefix": "", "files": files}})
    entries.append({"directory": {"name": "none", "path": "2/none", "prefix": "", "files": [], "empty": []}})
    await records.results(job_id, {"all": {"list": entries}, "other": {"value": 1}})

    answer = (await document(status, job_id))["all"]
    shown = [entry["value"] for entry in answer]

    assert ["application/json"] * 3 == [entry["mediaType"] for entry in answer]
    assert ["out", "out", "none"] == [entry["name"] for entry in shown]
    assert ["a b", "a b"] == [entry["files"][0]["path"] for entry in shown[:2]]
    for number, entry in enumerate(shown[:2]):
        url = f"{ROOT}/{job_id}/results/all/{number}/out"
        assert [f"{url}/a%20b"] == [file["href"] for file in entry["files"]]
        listing = orjson.loads((await fetched(status, job_id, url))[0])
        assert ["out", f"{number}/out/a b"] == [listing["name"], listing["files"][0]["path"]]
        assert b"%d" % number == (await fetched(status, job_id, listing["files"][0]["href"]))[0]
    none = orjson.loads((await fetched(status, job_id, f"{ROOT}/{job_id}/results/all/2/none"))[0])
    assert ("none", []) == (none["name"], none["files"])


@pytest.mark.parametrize("mode", [None, "value", "reference"])
async def test_a_file_is_told_with_its_format_and_what_belongs_to_it(
    status: Status, records: Records, artifacts: ArtifactStore, mode: str | None
) -> None:
    await records.process()
    wanted = {"f": {"transmissionMode": mode} if mode else {}, "other": {}}
    job_id = await records.job(state="running", request={"inputs": {}, "response": "document", "outputs": wanted})
    index = {"file": {**await stored(artifacts, job_id, "f", "a.txt.idx", b"idx"), "name": "a.txt.idx"}}
    inner = await stored(artifacts, job_id, "f", "a.d/x", b"x")
    beside = [index, {"directory": {"name": "a.d", "path": "a.d", "prefix": "", "files": [inner]}}]
    file = {**await stored(artifacts, job_id, "f", "a.txt", b"main"), "name": "a.txt"}
    form = "http://edamontology.org/format_2330"
    await records.results(job_id, {"f": {"file": {**file, "format": form, "secondary": beside}}, "other": {"value": 1}})

    shown = (await document(status, job_id))["f"]

    assert isinstance(shown, dict)
    assert form == shown["format"]
    first, second = shown["secondaryFiles"]
    assert ("a.txt.idx", "a.d") == (first["href"].rpartition("/")[2], second["value"]["name"])
    assert b"idx" == (await fetched(status, job_id, first["href"]))[0]
    assert b"x" == (await fetched(status, job_id, second["value"]["files"][0]["href"]))[0]
    if mode == "value":
        assert "main" == shown["value"]
    else:
        data, headers = await fetched(status, job_id, shown["href"])
        assert b"main" == data
    data, headers = await fetched(status, job_id, f"{ROOT}/{job_id}/results/f")
    assert (b"main", 2) == (data, headers["link"].count('rel="related"'))
    assert f'<{ROOT}/{job_id}/results/f/a.d>; rel="related"; type="application/json"' in headers["link"]


async def test_the_title_of_a_link_holds_any_output(status: Status, records: Records, artifacts: ArtifactStore) -> None:
    await records.process()
    wanted = {name: {"transmissionMode": "reference"} for name in ('größe"', "plain")}
    job_id = await records.job(state="running", request={"inputs": {}, "response": "raw", "outputs": wanted})
    await records.results(job_id, {name: {"value": 1} for name in wanted})
    path = f"/workspaces/ada/jobs/{job_id}/results"

    call = status.stub.GetResults(GetResultsRequest(name=path[1:-8]), metadata=status.over_rest(path, accept="*/*"))
    [_ async for _ in call]

    link = dict(await call.initial_metadata())["link"]
    assert "title*=UTF-8''gr%C3%B6%C3%9Fe%22" in link
    assert 'title="plain"' in link


@pytest.mark.parametrize("size", [9, 5_000_000])
async def test_a_file_that_is_shorter_than_it_was_ends_with_an_error(
    status: Status, records: Records, artifacts: ArtifactStore, size: int
) -> None:
    await records.process()
    job_id = await records.job(state="running")
    file = {**await stored(artifacts, job_id, "f", "a.txt", b"x" * (size // 2)), "name": "a.txt", "size": size}
    await records.results(job_id, {"f": {"file": file}})

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await fetched(status, job_id, f"{ROOT}/{job_id}/results/f")

    assert "NO_SUCH_FILE" == error_info(refused.value).reason


async def test_results_of_an_earlier_release_are_found(status: Status, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    await records.file(job_id, "d", "item/a b.tif", b"tiff")
    listing = [{"path": "item/a b.tif", "size": 4, "media_type": "image/tiff"}]
    await records.results(
        job_id, {"d": {"directory": {"prefix": f"jobs/ada/{job_id}/outputs/d/", "files": listing}}, "o": {"value": 1}}
    )

    shown = (await document(status, job_id))["d"]["value"]

    assert b"tiff" == (await fetched(status, job_id, shown["files"][0]["href"]))[0]
