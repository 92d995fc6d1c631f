"""Where harvested packages are, and who may harvest which."""

from pathlib import Path

import pytest

from services.ingestion.packages import NoSuchPackage, Packages, PackageSettings
from services.shared.errors import Unavailable


def test_buckets_are_closed_unless_they_are_listed(tmp_path: Path) -> None:
    unlisted = Packages(PackageSettings(url=tmp_path.as_uri()))
    listed = Packages(PackageSettings(url=tmp_path.as_uri(), buckets={"shared": ("*",), "own": ("ada",)}))

    assert not unlisted.admits("bob", "own")
    assert "Nothing is harvested here" in str(unlisted.refusal("bob", "own"))
    assert "INGESTION_PACKAGES__BUCKETS" in str(listed.refusal("bob", "own"))
    assert listed.refusal("ada", "own") is None
    assert [True, True, True, False, False] == [
        listed.admits("ada", "shared"),
        listed.admits("bob", "shared"),
        listed.admits("ada", "own"),
        listed.admits("bob", "own"),
        listed.admits("ada", "other"),
    ]


async def test_an_object_lies_below_its_bucket(tmp_path: Path) -> None:
    (tmp_path / "with space" / "harvest" / "a").mkdir(parents=True)
    (tmp_path / "with space" / "harvest" / "a" / "ö %20.cwl").write_bytes(b"here")
    packages = Packages(PackageSettings(url=(tmp_path / "with space").as_uri()))

    assert await packages.read("harvest", "a/ö %20.cwl") == b"here"


async def test_a_url_may_have_the_bucket_in_it(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.cwl").write_bytes(b"one")
    packages = Packages(PackageSettings(url=f"{tmp_path.as_uri()}/{{bucket_name}}", buckets={"one": ("*",)}))

    assert await packages.read("one", "a.cwl") == b"one"


@pytest.mark.parametrize("key", ["missing.cwl", "folder", "folder/", "x" * 300 + ".cwl", "folder/../../secret.cwl"])
async def test_what_is_no_object_is_not_there(tmp_path: Path, key: str) -> None:
    (tmp_path / "store" / "harvest" / "folder").mkdir(parents=True)
    (tmp_path / "secret.cwl").write_bytes(b"secret")
    packages = Packages(PackageSettings(url=(tmp_path / "store").as_uri()))

    with pytest.raises(NoSuchPackage):
        await packages.read("harvest", key)


async def test_a_store_that_is_away_is_not_an_empty_one(tmp_path: Path) -> None:
    packages = Packages(PackageSettings(url=(tmp_path / "store").as_uri()))
    (tmp_path / "store").rmdir()

    with pytest.raises(Unavailable):
        await packages.read("harvest", "a.cwl")


async def test_a_store_over_http_that_is_away_is_unavailable() -> None:
    packages = Packages(PackageSettings(url="http://127.0.0.1:1/store"))

    with pytest.raises(Unavailable):
        await packages.read("harvest", "a.cwl")
