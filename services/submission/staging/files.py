"""Brings the files of a job order to where its run can read them.

Literals are written, data URLs decoded, web addresses fetched through the guarded fetcher. Every file gets a directory
of its own, so equal names of different inputs never meet; secondary files lie beside their primary file, as CWL wants
it. A job order that names files of this machine is refused: only what stands in the request, or what the fetcher takes,
can become an input.
"""

import asyncio
import base64
import binascii
import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import orjson

from services.shared.errors import ServiceError
from services.shared.keys import name_problem, shown
from services.submission.backends import Failure, FailureReason, LaunchRefused
from services.submission.execution.job_files import STAC_TYPES, stac_name
from services.submission.staging.fetcher import Fetcher

FETCHED = "fetched"
CHECKSUM = re.compile(r"sha1\$([0-9A-Fa-f]{40})")
LARGEST_STAC = 64 << 20
"""Of a STAC object that is fetched for a directory, in bytes."""


class StageIn:
    """Stages the inputs of one job after the other; holds nothing between them."""

    def __init__(self, fetcher: Fetcher, *, max_bytes: int = 10 << 30, max_files: int = 10_000) -> None:
        """`max_bytes` and `max_files` are what all inputs of a job may have together."""
        self._fetcher = fetcher
        self._max_bytes = max_bytes
        self._max_files = max_files

    async def __call__(self, inputs: dict[str, Any], directory: Path) -> dict[str, Any]:
        """Writes all files below `directory` and gives the job order with `file://` locations.

        What an earlier, interrupted staging left there is removed first. Raises LaunchRefused when an input cannot be
        had.
        """
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        await asyncio.to_thread(directory.mkdir, parents=True)
        stage = _Stage(self._fetcher, directory, self._max_bytes, self._max_files)
        return {name: await stage.value(value, name) for name, value in inputs.items()}


class _Stage:
    """One staging, and what is left of its allowance."""

    def __init__(self, fetcher: Fetcher, directory: Path, bytes_left: int, files_left: int) -> None:
        self._fetcher = fetcher
        self._directory = directory
        self._bytes_left = bytes_left
        self._files_left = files_left
        self._directories = 0

    async def value(self, value: Any, name: str) -> Any:
        if isinstance(value, list):
            return [await self.value(item, name) for item in value]
        if not isinstance(value, dict):
            return value
        if value.get("class") in ("File", "Directory"):
            self._directories += 1
            place = self._directory / str(self._directories)
            place.mkdir()
            return await self._staged(value, place, name)
        return {key: await self.value(item, name) for key, item in value.items()}

    async def _staged(self, item: dict[str, Any], place: Path, name: str) -> dict[str, Any]:
        target = place / self._basename(item, name)
        if target.exists():
            raise _refused(f"The input {name} has two files called {shown(target.name)} in one directory.")
        self._files_left -= 1
        if self._files_left < 0:
            raise _refused(f"The inputs have too many files; the input {name} is one too many.")
        kept = {key: value for key, value in item.items() if key not in ("contents", "listing", "path")}
        staged = {**kept, "location": target.as_uri(), "basename": target.name}
        if item["class"] == "Directory":
            staged["listing"] = await self._fill(item, target, name)
        else:
            await self._write(item, target, name)
            await self._verify(item, target, name)
        if "secondaryFiles" in item:
            staged["secondaryFiles"] = [await self._staged(beside, place, name) for beside in item["secondaryFiles"]]
        return staged

    async def _fill(self, item: dict[str, Any], target: Path, name: str) -> list[dict[str, Any]]:
        """Makes a directory and gives its listing, with all that is said of each entry."""
        await asyncio.to_thread(target.mkdir)
        if "listing" in item:
            return [await self._staged(inner, target, name) for inner in item["listing"]]
        # What lies at an address is known as well as what is given.
        file = await self._fetch_stac(item, target, name)
        return [{"class": "File", "location": file.as_uri(), "basename": file.name}]

    async def _fetch_stac(self, item: dict[str, Any], target: Path, name: str) -> Path:
        """Fetches a directory that is given by the address of a STAC object, which becomes the one file in it."""
        location = str(item.get("location") or item.get("path") or "")
        if not location.startswith(("https://", "http://")):
            raise _refused(f"The input {name} is not a web address and has no listing.")
        fetched = target / FETCHED
        await self._download(location, fetched, name)
        stac = await asyncio.to_thread(_read_stac, fetched)
        if stac is None:
            raise _refused(
                f"The input {name} is a directory, and what is at its address is no STAC object. Other directories are "
                'not fetched here: give {"class": "Directory", "listing": […]} with the address of each file.'
            )
        return await asyncio.to_thread(fetched.rename, target / stac_name(stac))

    @staticmethod
    async def _verify(item: dict[str, Any], target: Path, name: str) -> None:
        """Compares a file with the checksum that came with it, if that has CWL's form: `sha1$` and 40 hexadecimal
        digits."""
        wanted = CHECKSUM.fullmatch(str(item.get("checksum") or ""))
        if wanted is None:
            return

        def digest() -> str:
            with target.open("rb") as content:
                return hashlib.file_digest(content, "sha1").hexdigest()

        if await asyncio.to_thread(digest) != wanted[1].lower():
            raise _refused(f"The file {shown(target.name)} of the input {name} does not have the checksum it should.")

    async def _write(self, item: dict[str, Any], target: Path, name: str) -> None:
        location = str(item.get("location") or item.get("path") or "")
        if "contents" in item:
            content = str(item["contents"]).encode()
        elif location.startswith("data:"):
            content = self._decoded(location, name)
        elif location.startswith(("https://", "http://")):
            await self._download(location, target, name)
            return
        else:
            raise _refused(f"The input {name} is not a web address and has no content.")
        self._take(len(content), name)
        await asyncio.to_thread(target.write_bytes, content)

    async def _download(self, url: str, target: Path, name: str) -> None:
        try:
            size = await self._fetcher.download(url, target, max_bytes=max(self._bytes_left, 0))
        except ServiceError as error:
            raise _refused(f"The input {name} cannot be had: {error.message}") from None
        self._take(size, name)

    def _take(self, size: int, name: str) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise _refused(f"The inputs are too large together; the input {name} does not fit.")

    @staticmethod
    def _decoded(location: str, name: str) -> bytes:
        header, _, content = location.partition(",")
        try:
            if not header.endswith(";base64"):
                raise ValueError("not base64")
            return base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            raise _refused(f"The input {name} has content that is not base64.") from None

    @staticmethod
    def _basename(item: dict[str, Any], name: str) -> str:
        basename = str(item.get("basename") or name)
        if (problem := name_problem(basename)) is not None:
            raise _refused(f"The input {name} has a file name that cannot be used, since it {problem}.")
        return basename


def _read_stac(path: Path) -> dict[str, Any] | None:
    """The STAC object in a file; None when there is something else."""
    if path.stat().st_size > LARGEST_STAC:
        return None
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or found.get("type") not in STAC_TYPES:
        return None
    return found if isinstance(found.get("stac_version"), str) else None


def _refused(message: str) -> LaunchRefused:
    return LaunchRefused(Failure(reason=FailureReason.INPUT_UNAVAILABLE, message=message))
