"""Validation with the CWL library: one document in memory, and nothing else within reach."""

import logging
import re
from urllib.parse import urljoin

from cwltool.context import LoadingContext
from cwltool.load_tool import fetch_document, make_tool, resolve_and_validate_document
from cwltool.process import Process
from cwltool.workflow import default_make_tool
from ruamel.yaml.comments import CommentedMap
from schema_salad.exceptions import ValidationException
from schema_salad.fetcher import Fetcher
from schema_salad.utils import CacheType

import services.submission.cwl.library  # noqa: F401 - corrects the library
from services.submission.cwl.names import decoded, encoded, protect, unseal
from services.submission.packages.document import Document
from services.submission.packages.refusal import Offence, Refusal, invalid

# The library wants an address for every document. Nothing is ever read from it.
_ADDRESS = "file:///package.cwl"
_PLACE = re.compile(r"(?:\.\./)*package\.cwl:(?P<line>\d+):(?P<column>\d+):")
_ADDRESSES = re.compile(r"(?:file:///(?:package\.cwl)?|(?:\.\./)*package\.cwl)")

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
        return urljoin(base_url, url)


def validate(document: Document, workflow_id: str) -> Process:
    """Gives the loaded process, or refuses what the CWL library refuses, with its reason and the place in the text."""

    def fetcher(cache: CacheType, session: object) -> Fetcher:
        return _OneDocument(document.text.text)

    context = LoadingContext()
    context.fetcher_constructor = fetcher
    context.construct_tool_object = _make_tool
    context.resolver = None
    context.doc_cache = False
    context.skip_schemas = True
    context.do_validate = True
    context.disable_js_validation = True
    try:
        context, loaded, _ = fetch_document(_ADDRESS, context)
        protect(loaded)
        address = f"{_ADDRESS}#{encoded(workflow_id)}" if workflow_id else _ADDRESS
        context, uri = resolve_and_validate_document(context, loaded, address)
        return make_tool(uri, context)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises what its parts raise; all of it speaks of the document
        raise _refusal(document, str(error)) from None


def _make_tool(toolpath_object: CommentedMap, loadingContext: LoadingContext) -> Process:  # noqa: N803 - its own name
    unseal(toolpath_object)
    return default_make_tool(toolpath_object, loadingContext)


def _refusal(document: Document, text: str) -> Refusal:
    """Makes offences of the library's tree of sentences, one for each place where it stops going deeper."""
    said: list[tuple[int, int, int, str]] = []
    for line in text.splitlines():
        if place := _PLACE.match(line):
            rest = line[place.end() :]
            depth = len(line) - len(rest.lstrip(" "))
            said.append((depth, *document.text.sent(int(place["line"]), int(place["column"])), rest))
        elif said:
            # Lines without a place go on with the sentence above.
            said[-1] = (*said[-1][:3], said[-1][3] + " " + line)
    offences = []
    for index, (depth, line_number, column, sentence) in enumerate(said):
        following = said[index + 1] if index + 1 < len(said) else None
        if following and "with sink" in following[3]:
            continue
        if index and "with sink" in sentence:
            sentence = f"{said[index - 1][3]} {sentence}"
        if following is None or following[0] <= depth:
            pointer = document.pointer_at(line_number, column)
            offences.append(Offence(pointer, f"{_clean(sentence)} (line {line_number}, column {column})"))
    problem = offences[0].message if offences else _clean(text) or "it cannot be loaded"
    return invalid("The package is not valid CWL: {problem}", offences, problem=problem)


def _clean(text: str) -> str:
    return re.sub(r"[\s*]+", " ", decoded(_ADDRESSES.sub("", text))).strip()[:500]
