"""Validation with the CWL library: one document in memory, and nothing else within reach."""

import logging
import re

from cwltool.context import LoadingContext
from cwltool.load_tool import fetch_document, make_tool, resolve_and_validate_document
from cwltool.workflow import default_make_tool
from schema_salad.exceptions import ValidationException
from schema_salad.fetcher import Fetcher
from schema_salad.utils import CacheType

from services.submission.packages.document import Document
from services.submission.packages.refusal import Offence, Refusal, invalid

# The library wants an address for every document. Nothing is ever read from it.
_ADDRESS = "file:///package.cwl"
_PLACE = re.compile(r"package\.cwl:(\d+):(\d+):\s*")
_NOISE = re.compile(r"file:///package\.cwl#?")

logging.getLogger("cwltool").setLevel(logging.CRITICAL)
logging.getLogger("salad").setLevel(logging.CRITICAL)
logging.getLogger("rdflib.term").setLevel(logging.CRITICAL)


class _OneDocument(Fetcher):
    """Gives the one document that is being read, and refuses everything else."""

    def __init__(self, text: str) -> None:
        self._text = text

    def fetch_text(self, url: str, content_types: list[str] | None = None) -> str:
        if url == _ADDRESS:
            return self._text
        raise ValidationException(f"{url} lies outside of the package and is not fetched")

    def check_exists(self, url: str) -> bool:
        return url == _ADDRESS

    def urljoin(self, base_url: str, url: str) -> str:
        if url.startswith("_:"):
            return url
        if url.startswith("#"):
            return base_url.partition("#")[0] + url
        from urllib.parse import urljoin

        return urljoin(base_url, url)


def validate(document: Document, workflow_id: str) -> None:
    """Refuses what the CWL library refuses, with its reason and the place in the text."""

    def fetcher(cache: CacheType, session: object) -> Fetcher:
        return _OneDocument(document.text)

    context = LoadingContext()
    context.fetcher_constructor = fetcher
    context.construct_tool_object = default_make_tool
    context.resolver = None
    context.doc_cache = False
    context.skip_schemas = True
    context.do_validate = True
    context.disable_js_validation = True
    try:
        context, loaded, _ = fetch_document(_ADDRESS, context)
        address = f"{_ADDRESS}#{workflow_id}" if workflow_id else _ADDRESS
        context, uri = resolve_and_validate_document(context, loaded, address)
        make_tool(uri, context)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises what its parts raise; all of it speaks of the document
        raise _refusal(document, str(error)) from None


def _refusal(document: Document, text: str) -> Refusal:
    lines = [line for line in text.splitlines() if line.strip()]
    offences = []
    for index, line in enumerate(lines):
        place = _PLACE.search(line)
        following = _PLACE.search(lines[index + 1]) if index + 1 < len(lines) else None
        # Outer lines only lead to inner ones; an offence is where the library stops going deeper.
        if place and not (following and _depth(lines[index + 1]) > _depth(line)):
            where = int(place[1]), int(place[2])
            said = _clean(line[place.end() :])
            offences.append(Offence(document.pointer_at(*where), f"{said} (line {where[0]}, column {where[1]})"))
    summary = offences[0].message if offences else " ".join(_clean(line) for line in lines[:4])[:600]
    return invalid("The package is not valid CWL: {problem}", offences, problem=summary or "it cannot be loaded")


def _depth(line: str) -> int:
    place = _PLACE.search(line)
    rest = line[place.end() :] if place else line
    return len(line) - len(rest.lstrip(" *"))


def _clean(text: str) -> str:
    return _NOISE.sub("#", _PLACE.sub("", text)).strip(" *\n")[:500]
