"""The files that pages need: style and scripts. They tell nothing of anybody, so the edge serves them to everybody.

Their path holds a checksum of all of them, so that a browser may keep them for as long as it likes.
"""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
}
ROOT = "/static"
LATEST = "latest"
"""Stands for the checksum where it is not known."""


@dataclass(frozen=True)
class Asset:
    """One file."""

    name: str
    media_type: str
    content: str


@cache
def assets() -> tuple[Asset, ...]:
    """All of them, by name."""
    found = sorted(files("services.web").joinpath("static").iterdir(), key=lambda entry: entry.name)
    return tuple(
        Asset(entry.name, MEDIA_TYPES["." + entry.name.rpartition(".")[2]], entry.read_text("utf-8")) for entry in found
    )


@cache
def checksum() -> str:
    """Changes when any of them does."""
    digest = sha256()
    for asset in assets():
        digest.update(f"{asset.name}\0{asset.content}\0".encode())
    return digest.hexdigest()[:16]
