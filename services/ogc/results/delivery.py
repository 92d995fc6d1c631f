"""Delivers results as the execute request asked for them: raw or as a document, by value or by reference.

The table is that of OGC API - Processes 1.0: requirements process-execute-sync-raw-value-one, -raw-value-multi,
-raw-ref, -raw-mixed-multi and -document, and job-results-async-… of the same names.
"""

import base64
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from services.ogc.negotiation import JSON, quality
from services.ogc.requests import RestRequest
from services.ogc.results.contents import (
    LONGEST_LINKS,
    Content,
    bytes_content,
    content_of,
    json_content,
    media_type_of,
    output_url,
    secondary_links,
)
from services.ogc.results.documents import beside, document, qualified, represent, selected
from services.records.artifacts import ArtifactStore, NoSuchArtifact
from services.records.jobs import Job

MULTIPART = "multipart/related"
PLAIN = re.compile(r"[ !#-\[\]-~]*")
"""What stands between quotation marks in a header as it is; anything else is encoded (RFC 8187)."""
LARGEST_INLINE = 4 * 1024 * 1024
"""How many bytes of files a document holds; what does not fit is there by reference."""


async def deliver(job: Job, rest: RestRequest | None, artifacts: ArtifactStore, *, accept: str = "") -> Content:
    """The results of a job that was successful.

    Raw is the default of the standard, which speaks of HTTP; without REST, and for clients of the EO DataHub, the
    document is. A caller who takes JSON and not what raw would be gets the document too, and so does one who takes
    nothing but JSON where raw would be a JSON file that nobody asked for as such: what a tool wrote cannot be told
    from a document. Whether the answer is acceptable is left to the caller.
    """
    if (job.request.get("response") or ("raw" if rest and not rest.alias else "document")) == "raw":
        raw = _raw(job, rest, artifacts, accept)
        wanted = quality(accept, JSON)
        if raw.status == 204 or not wanted:
            return raw
        taken = quality(accept, raw.media_type)
        if _is_json_file(job, raw, accept):
            return json_content(await _document(job, rest, artifacts))
        if taken and (taken >= wanted or not raw.media_type.startswith(MULTIPART)):
            return raw
    return json_content(await _document(job, rest, artifacts))


def _is_json_file(job: Job, raw: Content, accept: str) -> bool:
    """Whether raw results that were not asked for as raw are a JSON file, to somebody who takes JSON alone."""
    is_asked = job.request.get("response") is not None
    is_file = raw.media_type == JSON and "content-disposition" in raw.headers
    return is_file and not is_asked and quality(accept, JSON) > quality(accept, "application/octet-stream")


def _raw(job: Job, rest: RestRequest | None, artifacts: ArtifactStore, accept: str) -> Content:
    made = {output: entry for output, entry in selected(job).items() if _is_made(entry)}
    wanted = len(job.request.get("outputs") or made)
    if all(_mode(job, output) == "reference" for output in made):
        links = ", ".join(link for output, entry in made.items() for link in _links(job, output, entry, rest))
        if len(links) <= LONGEST_LINKS:
            return Content(
                media_type="", pieces=_nothing(), size=0, status=204, headers={"link": links} if links else {}
            )
    elif wanted == 1:
        output, entry = next(iter(made.items()))
        return content_of(job, output, entry, rest, artifacts, accept=_format(job, output) or accept)
    return _multipart([_part(job, output, entry, rest, artifacts) for output, entry in made.items()])


@dataclass(frozen=True)
class _Part:
    headers: Mapping[str, str]
    content: Content


def _part(job: Job, output: str, entry: Any, rest: RestRequest | None, artifacts: ArtifactStore) -> _Part:
    headers = {"Content-ID": output if output.isprintable() else quote(output, safe="")}
    if _mode(job, output) == "reference":
        headers["Content-Location"] = _reference(job, output, entry, rest)
        return _Part(headers, bytes_content(media_type_of(entry), b""))
    content = content_of(job, output, entry, rest, artifacts, accept=_format(job, output))
    if disposition := content.headers.get("content-disposition"):
        headers["Content-Disposition"] = disposition
    return _Part(headers, content)


def _multipart(parts: list[_Part]) -> Content:
    # No job can know the boundary, so none can write one into its outputs.
    boundary = secrets.token_hex(16)
    heads = []
    for part in parts:
        lines = [f"--{boundary}", f"Content-Type: {part.content.media_type}"]
        lines += [f"{name}: {value}" for name, value in part.headers.items()]
        if part.content.size is not None:
            lines.append(f"Content-Length: {part.content.size}")
        heads.append("\r\n".join((*lines, "", "")).encode())
    end = f"--{boundary}--\r\n".encode()

    async def pieces() -> AsyncIterator[bytes]:
        for head, part in zip(heads, parts, strict=True):
            yield head
            async for piece in part.content.pieces:
                yield piece
            yield b"\r\n"
        yield end

    sizes = [part.content.size for part in parts if part.content.size is not None]
    known = len(sizes) == len(parts)
    first = parts[0].content.media_type.replace('"', "")
    return Content(
        media_type=f'{MULTIPART}; boundary={boundary}; type="{first}"',
        pieces=pieces(),
        size=sum(map(len, heads)) + sum(sizes) + 2 * len(parts) + len(end) if known else None,
        headers={"x-content-type-options": "nosniff"},
    )


async def _document(job: Job, rest: RestRequest | None, artifacts: ArtifactStore) -> dict[str, Any]:
    results = document(job, rest)
    left = LARGEST_INLINE
    for output, entry in selected(job).items():
        if output not in results:
            continue
        match _mode(job, output):
            case "reference":
                link = {"href": _reference(job, output, entry, rest), "type": media_type_of(entry)}
                more = beside(entry["file"], output_url(job, output, rest)) if "file" in entry else {}
                results[output] = link | more
            case "value" if "value" not in entry and "directory" not in entry:
                shown, left = await _inlined(entry, output_url(job, output, rest), artifacts, left)
                results[output] = qualified(shown, entry)
    return results


async def _inlined(entry: Any, url: str, artifacts: ArtifactStore, left: int) -> tuple[Any, int]:
    """An entry with its files as values, as far as there is room for them; and what room is left."""
    match entry:
        case {"file": file} if file["size"] <= left:
            try:
                data = await artifacts.get(file["key"])
            except NoSuchArtifact:
                return represent(entry, url), left
            return _content(data, file["media_type"]) | beside(file, url), left - len(data)
        case {"list": entries}:
            items = []
            for item in entries:
                shown, left = await _inlined(item, url, artifacts, left)
                items.append(shown)
            return items, left
        case {"record": members}:
            fields = {}
            for name, item in members.items():
                fields[name], left = await _inlined(item, url, artifacts, left)
            return fields, left
    return represent(entry, url), left


def _content(data: bytes, media_type: str) -> dict[str, Any]:
    """The content of a file as a `qualifiedInputValue`: JSON as it is, text as text, anything else as base64."""
    plain = media_type.partition(";")[0].strip().lower()
    try:
        if plain == JSON or plain.endswith("+json"):
            return {"value": orjson.loads(data), "mediaType": media_type}
        if plain.startswith("text/"):
            return {"value": data.decode(), "mediaType": media_type}
    except ValueError:
        # It is not what its name says.
        pass
    return {"value": base64.b64encode(data).decode(), "mediaType": media_type, "encoding": "base64"}


def _mode(job: Job, output: str) -> str | None:
    """How the request asked for an output to be transmitted; None when it did not say."""
    mode: str | None = _wanted(job, output).get("transmissionMode")
    return mode


def _format(job: Job, output: str) -> str:
    form = _wanted(job, output).get("format")
    return str(form.get("mediaType") or "") if isinstance(form, dict) else ""


def _wanted(job: Job, output: str) -> dict[str, Any]:
    return (job.request.get("outputs") or {}).get(output) or {}


def _reference(job: Job, output: str, entry: Any, rest: RestRequest | None) -> str:
    url = output_url(job, output, rest)
    match entry:
        case {"file": file}:
            return f"{url}/{quote(file.get('path') or file['name'])}"
    return url


def _links(job: Job, output: str, entry: Any, rest: RestRequest | None) -> Iterator[str]:
    """The links of a `Link` header to an output, and to the files that belong to it."""
    title = f'title="{output}"' if PLAIN.fullmatch(output) else f"title*=UTF-8''{quote(output, safe='')}"
    yield f'<{_reference(job, output, entry, rest)}>; rel="item"; {title}; type="{_quoted(entry)}"'
    if "file" in entry:
        yield from secondary_links(entry, output_url(job, output, rest)).values()


def _quoted(entry: Any) -> str:
    return media_type_of(entry).replace('"', "")


def _is_made(entry: Any) -> bool:
    """Whether an optional output is there."""
    return entry is not None and entry != {"value": None}


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
