"""What of a run's outputs is published, and what is refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from services.shared.artifacts import ArtifactSettings, ArtifactStore
from services.submission.backends import FailureReason
from services.submission.publication import PublicationRefused, Publisher

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
