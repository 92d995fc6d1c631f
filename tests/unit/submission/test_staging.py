"""Stage-in: literals, data URLs and web addresses become files of a run, and nothing of this machine does."""

from hashlib import sha1
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
import pytest

from services.shared.errors import InvalidArgument
from services.submission.backends import FailureReason, LaunchRefused
from services.submission.staging.fetcher import Fetcher
from services.submission.staging.files import StageIn
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_FETCH_FAILED


class OneSite(Fetcher):
    """Stands for the web: one address has a file, all others are away."""

    def __init__(self, content: bytes = b"scene") -> None:
        super().__init__()
        self._content = content

    async def download(self, url: str, to: Path, *, max_bytes: int) -> int:
        if url != "https://data.example.org/scene.tif" or max_bytes < len(self._content):
            raise InvalidArgument(ERROR_REASON_FETCH_FAILED, "{url} could not be fetched.", url=url)
        to.write_bytes(self._content)
        return len(self._content)


SCENE = {"class": "File", "location": "https://data.example.org/scene.tif", "basename": "scene.tif"}


def literal(name: str, contents: str = "text", **fields: Any) -> dict[str, Any]:
    return {"class": "File", "basename": name, "contents": contents, **fields}


def path_of(item: dict[str, Any]) -> Path:
    address = urlsplit(item["location"])
    assert "file" == address.scheme
    return Path(unquote(address.path))


async def refusal(inputs: dict[str, Any], directory: Path, content: bytes = b"scene", **limits: int) -> str:
    with pytest.raises(LaunchRefused) as caught:
        await StageIn(OneSite(content), **limits)(inputs, directory / "in")
    assert FailureReason.INPUT_UNAVAILABLE == caught.value.failure.reason
    return caught.value.failure.message


async def test_files_of_every_kind_are_written_below_the_directory(tmp_path):
    inputs = {
        "text": literal("a.txt", "héllo", format="text/plain"),
        "bytes": {"class": "File", "basename": "b.tif", "location": "data:image/tiff;base64,AAEC"},
        "web": SCENE,
        "plain": [1, "a", None, {"k": True}],
    }

    order = await StageIn(OneSite())(inputs, tmp_path / "in")

    assert ("héllo", b"\0\1\2", b"scene") == (
        path_of(order["text"]).read_text(),
        path_of(order["bytes"]).read_bytes(),
        path_of(order["web"]).read_bytes(),
    )
    assert all(path_of(order[name]).is_relative_to(tmp_path / "in") for name in ("text", "bytes", "web"))
    assert {"class", "basename", "format", "location"} == set(order["text"])
    assert [1, "a", None, {"k": True}] == order["plain"]
    assert "contents" in inputs["text"]


async def test_equal_names_of_different_inputs_do_not_meet(tmp_path):
    order = await StageIn(OneSite())(
        {"files": [literal("a", "1"), literal("a", "2")], "r": {"f": literal("a", "3")}}, tmp_path
    )

    staged = [*order["files"], order["r"]["f"]]

    assert ["1", "2", "3"] == [path_of(item).read_text() for item in staged]
    assert {"a"} == {item["basename"] for item in staged}


async def test_secondary_files_lie_beside_their_file(tmp_path):
    order = await StageIn(OneSite())(
        {"f": literal("a.shp", secondaryFiles=[literal("a.dbf"), literal("a.shx")])}, tmp_path
    )

    paths = [path_of(order["f"]), *map(path_of, order["f"]["secondaryFiles"])]

    assert ["a.shp", "a.dbf", "a.shx"] == [path.name for path in paths]
    assert 1 == len({path.parent for path in paths})


async def test_a_directory_literal_is_written_with_all_in_it(tmp_path):
    inner = {"class": "Directory", "basename": "inner", "listing": [literal("b"), SCENE]}
    directory = {"class": "Directory", "basename": "d", "listing": [literal("a"), inner]}

    order = await StageIn(OneSite())({"d": directory}, tmp_path)

    root = path_of(order["d"])
    assert ["a", "inner", "inner/b", "inner/scene.tif"] == sorted(
        str(path.relative_to(root)) for path in root.rglob("*")
    )
    first, second = order["d"]["listing"]
    assert [root / "a", root / "inner"] == [path_of(first), path_of(second)]
    assert ["b", "scene.tif"] == [entry["basename"] for entry in second["listing"]]
    assert "contents" not in first


async def test_names_with_spaces_become_proper_addresses(tmp_path):
    order = await StageIn(OneSite())({"f": literal("a b#c?.txt")}, tmp_path)

    assert "a%20b%23c%3F.txt" in order["f"]["location"]
    assert "text" == path_of(order["f"]).read_text()


async def test_staging_again_after_an_interruption_gives_the_same(tmp_path):
    stage_in = StageIn(OneSite())
    (tmp_path / "in" / "1").mkdir(parents=True)
    (tmp_path / "in" / "1" / "scene.tif").write_bytes(b"half")

    first = await stage_in({"f": SCENE}, tmp_path / "in")
    second = await stage_in({"f": SCENE}, tmp_path / "in")

    assert first == second
    assert b"scene" == path_of(second["f"]).read_bytes()


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "/etc/passwd", "../x", "ftp://h/x", "s3://b/k", "", "data:text/plain,x", "data:;base64,?"],
)
async def test_a_file_of_this_machine_or_of_no_place_is_refused(tmp_path, location):
    assert "The input f" in await refusal({"f": {"class": "File", "location": location}}, tmp_path)
    assert "The input f" in await refusal({"f": {"class": "File", "path": location}}, tmp_path)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../x", "/etc/x", "a\0b", "caf\udce9", "a" * 256])
async def test_a_name_that_would_leave_the_directory_is_refused(tmp_path, name):
    assert "cannot be used" in await refusal({"f": literal(name)}, tmp_path)
    assert "cannot be used" in await refusal({"d": {"class": "Directory", "listing": [literal(name)]}}, tmp_path)


async def test_two_files_of_one_name_in_one_directory_are_refused(tmp_path):
    directory = {"class": "Directory", "basename": "d", "listing": [literal("a"), literal("a")]}

    assert "two files called a" in await refusal({"d": directory}, tmp_path)
    assert "two files called a" in await refusal({"f": literal("a", secondaryFiles=[literal("a")])}, tmp_path)


async def test_what_cannot_be_fetched_says_which_input_and_why(tmp_path):
    missing = {"class": "File", "location": "https://data.example.org/other.tif", "basename": "o"}

    message = await refusal({"scene": missing}, tmp_path)

    assert "The input scene cannot be had: https://data.example.org/other.tif could not be fetched." == message


STAC = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "links": [{"rel": "item", "href": "./a b.json"}]}


@pytest.mark.parametrize(
    ("stac", "name"),
    [
        (STAC, "catalog.json"),
        ({**STAC, "type": "Feature"}, "item.json"),
        ({**STAC, "type": "Collection"}, "collection.json"),
    ],
)
async def test_a_directory_by_the_address_of_a_stac_object_has_it(tmp_path, stac, name):
    directory = {"class": "Directory", "location": "https://data.example.org/scene.tif", "basename": "d é"}

    order = await StageIn(OneSite(orjson.dumps(stac)))({"d": directory}, tmp_path / "in")

    assert ("d é", [name]) == (path_of(order["d"]).name, [path.name for path in path_of(order["d"]).iterdir()])
    assert stac == orjson.loads((path_of(order["d"]) / name).read_bytes())


@pytest.mark.parametrize("content", [b"scene", b"[]", b'{"type": "Feature"}', b'{"stac_version": "1.0.0"}'])
async def test_any_other_directory_by_address_is_refused_with_a_hint(tmp_path, content):
    directory = {"class": "Directory", "location": "https://data.example.org/scene.tif", "basename": "item"}

    assert "directories are not fetched here" in await refusal({"d": directory}, tmp_path, content=content)


NAMES = [
    "T=30 (1),a+b@c.nc",
    "données.csv",
    "東" * 85,
    "a\nb\t",
    "-rf",
    ".hidden",
    "a#1",
    "100%",
    "e\u0301",
    "\u00e9",
    "~",
]


async def test_names_are_kept(tmp_path):
    listing = [literal(name, name) for name in NAMES]
    inputs = {"d": {"class": "Directory", "basename": "S2A.SAFE", "listing": listing}, "l": listing}

    order = await StageIn(OneSite())(inputs, tmp_path / "in")

    assert "S2A.SAFE" == path_of(order["d"]).name
    assert {name: name for name in NAMES} == {path.name: path.read_text() for path in path_of(order["d"]).iterdir()}
    assert NAMES == [path_of(item).name for item in order["l"]] == [item["basename"] for item in order["l"]]


async def test_a_checksum_that_is_none_is_handed_on(tmp_path):
    order = await StageIn(OneSite())({"f": literal("a", checksum="sha1$hash")}, tmp_path / "in")

    assert "sha1$hash" == order["f"]["checksum"]


async def test_a_file_is_compared_with_its_checksum(tmp_path):
    digest = sha1(b"text").hexdigest()

    order = await StageIn(OneSite())({"f": literal("a", checksum=f"sha1${digest}")}, tmp_path / "in")

    assert f"sha1${digest}" == order["f"]["checksum"]
    assert "does not have the checksum" in await refusal({"f": literal("a", checksum="sha1$" + 40 * "0")}, tmp_path)


async def test_all_inputs_share_one_allowance(tmp_path):
    assert "too large together; the input b" in await refusal(
        {"a": literal("a"), "b": literal("b")}, tmp_path, max_bytes=7
    )
    assert "The input b" in await refusal({"a": literal("a"), "b": SCENE}, tmp_path, max_bytes=8)
    assert "too many files; the input b" in await refusal({"a": literal("a"), "b": literal("b")}, tmp_path, max_files=1)
