"""Results as a page shows them: values to read, files to look at and to fetch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from services.ogc.results.contents import files_of, folders_of
from services.ogc.results.documents import selected
from services.records.artifacts import ArtifactStore, NoSuchArtifact
from services.records.jobs import Job
from services.web.words import log_text

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
TEXTS = ("application/json", "application/geo+json", "application/yaml", "application/xml", "text/")
LARGEST_IMAGE = 16_000_000
LARGEST_TEXT = 8_000
LONGEST_LINE = 80
MOST_TEXTS = 12
"""How many files are read for one page, so that it stays quick."""
MOST_FILES = 200


@dataclass(frozen=True, kw_only=True)
class FileView:
    """A file of an output."""

    name: str
    url: str
    media_type: str
    size_bytes: int
    key: str
    text: str = ""
    """How it begins, where that can be read."""
    is_cut: bool = False

    @property
    def is_image(self) -> bool:
        """Whether a browser can show it."""
        return self.media_type.partition(";")[0] in IMAGES and self.size_bytes <= LARGEST_IMAGE

    @property
    def is_text(self) -> bool:
        """Whether people can read it."""
        return self.media_type.startswith(TEXTS)


@dataclass(frozen=True, kw_only=True)
class OutputView:
    """An output."""

    name: str
    url: str
    kind: str
    """`file`, `files`, `empty` (directories), `text`, `link`, `number`, `json`, `data` or `nothing`."""
    text: str = ""
    media_type: str = ""
    is_cut: bool = False
    files: tuple[FileView, ...] = ()
    more_files: int = 0
    members: tuple[str, ...] = field(default=())


async def outputs_of(job: Job, artifacts: ArtifactStore, url: str) -> list[OutputView]:
    """What a successful job left, as far as its execute request asked for it; `url` is where results are read."""
    shown = []
    texts = 0
    for name, entry in selected(job).items():
        output = f"{url}/{quote(name, safe='')}"
        files = list(_files(job, name, entry, output))
        if not files:
            folders = folders_of(entry)
            empty = OutputView(name=name, url=output, kind="empty", members=tuple(folders.values()))
            shown.append(empty if folders else _value(name, output, entry))
            continue
        kept = []
        for file in files[:MOST_FILES]:
            if file.is_text and texts < MOST_TEXTS:
                texts += 1
                kept.append(await _with_text(file, artifacts))
            else:
                kept.append(file)
        kind = "file" if len(files) == 1 and "file" in entry else "files"
        shown.append(OutputView(name=name, url=output, kind=kind, files=tuple(kept), more_files=len(files) - len(kept)))
    return shown


def _files(job: Job, output: str, entry: Mapping[str, Any] | None, url: str) -> Iterator[FileView]:
    is_alone = "file" in (entry or {}) and "path" not in (entry or {})["file"]
    for path, file in files_of(job, output, entry).items():
        yield FileView(
            name=path,
            url=url if is_alone else f"{url}/{quote(path)}",
            media_type=file.media_type,
            size_bytes=file.size,
            key=file.key,
        )


async def _with_text(file: FileView, artifacts: ArtifactStore) -> FileView:
    try:
        content = b"".join([piece async for piece in artifacts.read(file.key, 0, LARGEST_TEXT)])
    except NoSuchArtifact:
        return file
    shown = log_text(_pretty(content) if "json" in file.media_type else content)
    return FileView(
        name=file.name,
        url=file.url,
        media_type=file.media_type,
        size_bytes=file.size_bytes,
        key=file.key,
        text=shown,
        is_cut=file.size_bytes > len(content),
    )


def _pretty(content: bytes) -> bytes:
    try:
        return orjson.dumps(orjson.loads(content), option=orjson.OPT_INDENT_2)
    except orjson.JSONDecodeError:
        return content


def _value(name: str, url: str, entry: Any) -> OutputView:
    media_type = ""
    match entry:
        case {"value": value}:
            pass
        case {"list": entries}:
            value = [item.get("value") if isinstance(item, dict) else item for item in entries]
        case {"record": members}:
            value = {key: item.get("value") if isinstance(item, dict) else item for key, item in members.items()}
        case _:
            value = None
    match value:
        case {"value": inner, "mediaType": str(media_type)}:
            if value.get("encoding") == "base64":
                return OutputView(name=name, url=url, kind="data", media_type=media_type)
            value = inner
    match value:
        case None:
            return OutputView(name=name, url=url, kind="nothing")
        case str():
            kind = "link" if value.startswith(("https://", "http://")) and not value.split()[1:] else "text"
            text = log_text(value.encode("utf-8", "replace"))
        case bool() | int() | float():
            kind, text = "number", orjson.dumps(value).decode()
        case _:
            kind, text = "json", orjson.dumps(value).decode()
            if len(text) > LONGEST_LINE:
                text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return OutputView(
        name=name, url=url, kind=kind, media_type=media_type, text=text[:LARGEST_TEXT], is_cut=len(text) > LARGEST_TEXT
    )
