"""What of a run's outputs is published, and what is refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from services.records.artifacts import ArtifactSettings, ArtifactStore, output_key
from services.shared.errors import Unavailable
from services.shared.space import storage_full
from services.submission.backends import FailureReason
from services.submission.dispatch.publication import PublicationRefused, Publisher
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_STORE_UNAVAILABLE

FOLDER = "jobs/ada/1/"


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.open(ArtifactSettings(url=f"file://{tmp_path}/artifacts"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("canary")
    outputs = tmp_path / "outputs"
    (outputs / "folder" / "inner").mkdir(parents=True)
    (outputs / "a.tif").write_bytes(b"tiff")
    (outputs / "folder" / "b.json").write_text("{}")
    (outputs / "folder" / "inner" / "c").write_text("c")
    return outputs


def file(path: Path, **more: Any) -> dict[str, Any]:
    return {"class": "File", "location": path.as_uri(), "basename": path.name, **more}


async def test_files_are_stored_and_values_are_kept(artifacts: ArtifactStore, root: Path) -> None:
    results = await Publisher(artifacts).publish(
        FOLDER, {"image": file(root / "a.tif"), "count": 3, "nothing": None, "record": {"a": [1]}}, root
    )

    assert {"value": 3} == results["count"]
    assert results["nothing"] is None
    assert {"value": {"a": [1]}} == results["record"]
    image = results["image"]["file"]
    assert (4, "image/tiff; application=geotiff") == (image["size"], image["media_type"])
    assert b"tiff" == await artifacts.get(image["key"])


async def test_a_directory_is_stored_with_its_listing(artifacts: ArtifactStore, root: Path) -> None:
    folder = {"class": "Directory", "location": (root / "folder").as_uri()}

    results = await Publisher(artifacts).publish(FOLDER, {"out": folder}, root)

    directory = results["out"]["directory"]
    assert ["b.json", "inner/c"] == sorted(entry["path"] for entry in directory["files"])
    assert b"c" == await artifacts.get(directory["prefix"] + "inner/c")


async def test_files_of_the_same_name_in_a_list_stay_apart(artifacts: ArtifactStore, root: Path) -> None:
    same = root / "folder" / "a.tif"
    same.write_bytes(b"other")

    results = await Publisher(artifacts).publish(FOLDER, {"images": [file(root / "a.tif"), file(same)]}, root)

    keys = [entry["file"]["key"] for entry in results["images"]["list"]]
    assert [b"tiff", b"other"] == [await artifacts.get(key) for key in keys]


async def test_publishing_twice_is_publishing_once(artifacts: ArtifactStore, root: Path) -> None:
    outputs = {"image": file(root / "a.tif")}

    first = await Publisher(artifacts).publish(FOLDER, outputs, root)
    second = await Publisher(artifacts).publish(FOLDER, outputs, root)

    assert first == second
    assert 1 == len(await artifacts.list(FOLDER))


@pytest.mark.parametrize("how", ["outside", "dots", "link", "linked folder", "missing", "no location"])
async def test_what_lies_outside_of_the_outputs_is_refused(
    artifacts: ArtifactStore, root: Path, tmp_path: Path, how: str
) -> None:
    match how:
        case "outside":
            output = file(tmp_path / "secret")
        case "dots":
            output = {"class": "File", "location": f"{root.as_uri()}/../secret"}
        case "link":
            os.symlink(tmp_path / "secret", root / "link")
            output = file(root / "link")
        case "linked folder":
            os.symlink(tmp_path, root / "up")
            output = file(root / "up" / "secret")
        case "missing":
            output = file(root / "nothing")
        case _:
            output = {"class": "File", "basename": "x"}

    with pytest.raises(PublicationRefused) as refused:
        await Publisher(artifacts).publish(FOLDER, {"out": output}, root)

    assert FailureReason.OUTPUT_REFUSED is refused.value.failure.reason
    assert [] == await artifacts.list(FOLDER)


async def test_a_link_inside_of_a_directory_is_refused(artifacts: ArtifactStore, root: Path, tmp_path: Path) -> None:
    os.symlink(tmp_path / "secret", root / "folder" / "link")

    with pytest.raises(PublicationRefused):
        await Publisher(artifacts).publish(
            FOLDER, {"out": {"class": "Directory", "location": (root / "folder").as_uri()}}, root
        )


def directory(path: Path, **more: Any) -> dict[str, Any]:
    return {"class": "Directory", "location": path.as_uri(), "basename": path.name, **more}


async def refusal(artifacts: ArtifactStore, outputs: dict[str, Any], root: Path) -> str:
    """Why the outputs are refused. Nothing of them is stored."""
    with pytest.raises(PublicationRefused) as refused:
        await Publisher(artifacts).publish(FOLDER, outputs, root)
    assert FailureReason.OUTPUT_REFUSED is refused.value.failure.reason
    assert [] == await artifacts.list(FOLDER)
    return refused.value.failure.message


ODD = [
    ".zgroup",
    "東京.tif",
    "大阪.tif",
    "T10:00:00Z.tif",
    "a#1",
    "100% (final).txt",
    "e\u0301",
    "\u00e9",
    "a\nb\t",
    "é" * 127,
]


async def test_names_are_kept_whatever_they_are(artifacts: ArtifactStore, root: Path) -> None:
    folder = root / "S2A_T30UXC.SAFE"
    for number, name in enumerate(ODD):
        (folder / name).mkdir(parents=True)
        (folder / name / name).write_text(str(number))

    results = await Publisher(artifacts).publish(FOLDER, {"eo:out": directory(folder)}, root)

    entry = results["eo:out"]["directory"]
    assert "S2A_T30UXC.SAFE" == entry["name"]
    assert sorted(f"{name}/{name}" for name in ODD) == sorted(file["path"] for file in entry["files"])
    stored = {
        file["path"]: await artifacts.get(file.get("key") or output_key(FOLDER, "eo:out", file["path"]))
        for file in entry["files"]
    }
    assert {f"{name}/{name}": str(number).encode() for number, name in enumerate(ODD)} == stored


async def test_empty_directories_are_told(artifacts: ArtifactStore, root: Path) -> None:
    (root / "folder" / "GRANULE" / "L2A").mkdir(parents=True)
    (root / "none").mkdir()

    results = await Publisher(artifacts).publish(
        FOLDER, {"all": [directory(root / "folder"), directory(root / "none")]}, root
    )

    first, second = (entry["directory"] for entry in results["all"]["list"])
    assert ("0/folder", ["0/folder/GRANULE/L2A"]) == (first["path"], first["empty"])
    assert ("1/none", "none", [], []) == (second["path"], second["name"], second["files"], second["empty"])


async def test_the_size_is_that_of_what_is_stored(artifacts: ArtifactStore, root: Path) -> None:
    results = await Publisher(artifacts).publish(
        FOLDER, {"a": file(root / "a.tif", size=999), "d": directory(root / "folder")}, root
    )

    entries = [results["a"]["file"], *results["d"]["directory"]["files"]]
    keys = [entry.get("key") or output_key(FOLDER, "d", entry["path"]) for entry in entries]
    assert [entry["size"] for entry in entries] == [(await artifacts.head(key)).size for key in keys]


async def test_members_of_a_record_keep_their_names(artifacts: ArtifactStore, root: Path) -> None:
    names = ["eo:band", "a/b", "a%2Fb", "..", "", "x y", "東"]

    results = await Publisher(artifacts).publish(FOLDER, {"r": {name: file(root / "a.tif") for name in names}}, root)

    record = results["r"]["record"]
    assert names == list(record)
    assert len(names) == len({record[name]["file"]["path"] for name in names})
    assert all(part not in ("", ".", "..") for name in names for part in record[name]["file"]["path"].split("/"))


async def test_two_files_of_one_name_are_both_named_in_the_refusal(artifacts: ArtifactStore, root: Path) -> None:
    other = root / "folder" / "b.json"
    beside = file(root / "a.tif", secondaryFiles=[file(other, basename="a.tif")])

    message = await refusal(artifacts, {"out": beside}, root)

    assert "Output out holds both a.tif and folder/b.json, and there is room for one of them at a.tif." == message


async def test_a_file_and_a_directory_of_one_name_are_both_named_in_the_refusal(
    artifacts: ArtifactStore, root: Path
) -> None:
    beside = file(root / "a.tif", secondaryFiles=[directory(root / "folder", basename="a.tif")])

    message = await refusal(artifacts, {"out": beside}, root)

    assert "holds both a.tif and folder/b.json" in message


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a/b", "the name a/b of a.tif holds a slash"),
        ("..", "the name .. of a.tif means a directory"),
        ("a\0", "holds a NUL"),
        ("\ud800", "the name ? of a.tif is no UTF-8"),
        ("x" * 300, "is longer than 255 bytes"),
    ],
)
async def test_a_name_that_is_none_of_a_file_is_refused(
    artifacts: ArtifactStore, root: Path, name: str, said: str
) -> None:
    assert said in await refusal(artifacts, {"out": file(root / "a.tif", basename=name)}, root)


@pytest.mark.parametrize("inside", ["caf\udce9.tif", "caf\udce9/x.tif"])
async def test_a_name_that_is_no_utf8_is_refused_and_told(artifacts: ArtifactStore, root: Path, inside: str) -> None:
    path = root / "folder" / inside
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")

    message = await refusal(artifacts, {"out": directory(root / "folder")}, root)

    name = inside.split("/")[0].replace("\udce9", "\\xe9")
    assert f"Output out cannot be kept: the name of folder/{name} is no UTF-8." == message


async def test_a_store_that_is_away_is_told_as_such(root: Path) -> None:
    class Away(ArtifactStore):
        async def put_file(self, key: str, path: Path) -> None:
            raise Unavailable(ERROR_REASON_STORE_UNAVAILABLE, "The object store cannot be reached.")

    away = Away(ArtifactStore.open(ArtifactSettings(url=f"file://{root.parent}/away"))._store)

    with pytest.raises(Unavailable):
        await Publisher(away).publish(FOLDER, {"d": directory(root / "folder")}, root)


async def test_of_outputs_that_do_not_fit_nothing_stays(
    artifacts: ArtifactStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[str] = []
    store_file = ArtifactStore.put_file

    async def fill_up(self: ArtifactStore, key: str, path: Path) -> None:
        if stored:
            raise storage_full("The object store has no room left.")
        stored.append(key)
        await store_file(self, key, path)

    monkeypatch.setattr(ArtifactStore, "put_file", fill_up)
    folder = {"class": "Directory", "location": (root / "folder").as_uri()}

    with pytest.raises(PublicationRefused) as refusal:
        await Publisher(artifacts).publish(FOLDER, {"out": folder}, root)

    assert (FailureReason.STORAGE_FULL, 1) == (refusal.value.failure.reason, len(stored))
    assert [] == await artifacts.list(FOLDER)


@pytest.mark.parametrize(
    ("form", "media_type"),
    [
        ("http://edamontology.org/format_3752", "text/csv"),
        ("https://www.iana.org/assignments/media-types/application/geo+json", "application/geo+json"),
        ("image/png", "image/png"),
        ("http://example.org/own#format", "image/tiff; application=geotiff"),
    ],
)
async def test_a_format_is_kept_and_tells_the_media_type(
    artifacts: ArtifactStore, root: Path, form: str, media_type: str
) -> None:
    results = await Publisher(artifacts).publish(FOLDER, {"a": file(root / "a.tif", format=form)}, root)

    assert (form, media_type) == (results["a"]["file"]["format"], results["a"]["file"]["media_type"])


async def test_what_belongs_to_a_file_is_kept_with_it(artifacts: ArtifactStore, root: Path) -> None:
    (root / "a.tif.idx").write_text("idx")
    beside = [file(root / "a.tif.idx"), directory(root / "folder")]

    results = await Publisher(artifacts).publish(FOLDER, {"a": file(root / "a.tif", secondaryFiles=beside)}, root)

    index, folder = results["a"]["file"]["secondary"]
    assert b"idx" == await artifacts.get(index["file"]["key"])
    assert ["folder/b.json", "folder/inner/c"] == [entry["path"] for entry in folder["directory"]["files"]]
