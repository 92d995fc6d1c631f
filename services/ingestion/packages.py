"""Reads harvested packages from the object store that the senders of harvest messages write to.

The store is ours to read only; whoever may name a bucket for a workspace may deploy, and so read, what lies in it.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore, from_url
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from services.shared.errors import Unavailable
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_STORE_UNAVAILABLE

LARGEST_PACKAGE = 1024 * 1024
BUCKET = "{bucket_name}"
EVERY_WORKSPACE = "*"


class PackageSettings(BaseModel):
    """Where harvested packages are, and who may harvest which."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(pattern=r"^(file|s3|gs|az|https?)://.+")] = "file:///var/lib/workflow-runner/harvest"
    """`file:///folder` or `s3://bucket/prefix`: an object lies at `{bucket_name}/{key}` below it. With `{bucket_name}`
    in it, as in `s3://{bucket_name}`, it lies at `{key}`."""
    options: dict[str, SecretStr] = {}
    """Options of the store by obstore's names, such as `endpoint`, `region`, `access_key_id`."""
    buckets: dict[str, tuple[str, ...]] = {}
    """The buckets that are harvested, each with the workspaces that may; `*` is every workspace. What is not listed is
    closed, so without this setting nothing is harvested."""


class NoSuchPackage(Exception):
    """The store has no object of that key."""


class PackageUnreadable(Exception):
    """The object is there, and ingestion may not read it."""


class PackageTooLarge(Exception):
    """The object is larger than any package may be."""


@dataclass(frozen=True)
class _Place:
    store: ObjectStore
    prefix: str
    folder: Path | None
    """The folder of the bucket, for a store of files."""


class Packages:
    """Reads packages by bucket and key. Raises STORE_UNAVAILABLE when the store is away."""

    def __init__(self, settings: PackageSettings) -> None:
        self._settings = settings
        self._options: Mapping[str, Any] = {
            key: value.get_secret_value() for key, value in settings.options.items()
        } | ({"mkdir": True} if settings.url.startswith("file://") else {})
        self._stores: dict[str, ObjectStore] = {}
        if BUCKET not in settings.url:
            self._store(settings.url)

    def admits(self, workspace: str, bucket_name: str) -> bool:
        """Whether the workspace may harvest from the bucket."""
        allowed = self._settings.buckets.get(bucket_name, ())
        return workspace in allowed or EVERY_WORKSPACE in allowed

    def refusal(self, workspace: str, bucket_name: str) -> str | None:
        """Why the workspace may not harvest from the bucket; None when it may."""
        if self.admits(workspace, bucket_name):
            return None
        if not self._settings.buckets:
            return "Nothing is harvested here until the operator opens buckets with INGESTION_PACKAGES__BUCKETS."
        return (
            f"The bucket is not one that workspace {workspace} may harvest from; "
            "the operator opens buckets with INGESTION_PACKAGES__BUCKETS."
        )

    async def read(self, bucket_name: str, key: str) -> bytes:
        """Answers a package. Raises NoSuchPackage, PackageUnreadable, PackageTooLarge."""
        place = self._place(bucket_name)
        if place.folder is not None:
            await asyncio.to_thread(_check_inside, place.folder, key)
        try:
            found = await obstore.get_async(place.store, f"{place.prefix}{key}")
            if found.meta["size"] > LARGEST_PACKAGE:
                raise PackageTooLarge(key)
            content = bytes(await found.bytes_async())
        except (NotFoundError, FileNotFoundError) as error:
            raise NoSuchPackage(key) from error
        except (BaseError, OSError) as error:
            raise _unavailable() from error
        if len(content) > LARGEST_PACKAGE:
            raise PackageTooLarge(key)
        return content

    def _place(self, bucket_name: str) -> _Place:
        url = self._settings.url.replace(BUCKET, bucket_name)
        prefix = "" if BUCKET in self._settings.url else f"{bucket_name}/"
        folder = Path(unquote(urlsplit(url).path)) / prefix if url.startswith("file://") else None
        return _Place(self._store(url), prefix, folder)

    def _store(self, url: str) -> ObjectStore:
        if url not in self._stores:
            self._stores[url] = from_url(url, **self._options)
        return self._stores[url]


def _check_inside(folder: Path, key: str) -> None:
    """Keeps links in the folder from leading out of it, and pipes from being waited for."""
    if not folder.parent.is_dir():
        raise _unavailable()
    if not (folder / key).resolve().is_relative_to(folder.resolve()):
        raise NoSuchPackage(key)
    try:
        os.stat(folder / key)
    except PermissionError as error:
        raise PackageUnreadable(key) from error
    except OSError as error:
        raise NoSuchPackage(key) from error
    if not os.path.isfile(folder / key):
        raise NoSuchPackage(key)
    if not os.access(folder / key, os.R_OK):
        raise PackageUnreadable(key)


def _unavailable() -> Unavailable:
    return Unavailable(
        ERROR_REASON_STORE_UNAVAILABLE,
        "The store of harvested packages cannot be reached.",
        retry_in=timedelta(seconds=5),
    )
