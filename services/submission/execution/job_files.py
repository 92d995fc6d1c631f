"""Brings files and directories of an execute request into the shape of a CWL job order, with their names.

They come as links, as values with a media type, as STAC objects, and in CWL's own form, `{"class": "File", …}`; each
may have `secondaryFiles`. A name that the caller gives is kept bit for bit, and refused when no file can have it.
Without one, a link gives the last segment of its path, percent-decoded; where that is no file name, and for values, the
file is called after the input.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes, urlsplit

import orjson

from services.shared.keys import name_problem
from services.submission.execution.formats import fitting, shown
from services.submission.execution.input_types import InputType, Place
from services.submission.media_types import ending_of
from services.submission.packages.description import expanded, media_types
from services.submission.packages.document import join

LONGEST_ADDRESS = 8192
LONGEST_STEM = 200
"""In bytes, of a name that is made of the name of an input, so that an ending fits after it."""
STAC_TYPES = ("Feature", "FeatureCollection", "Collection", "Catalog")
_STAC_NAMES = {"Catalog": "catalog.json", "Feature": "item.json"}
_TEXT = re.compile(r"text/.*|application/(?:json|xml|yaml|x-yaml|cwl)|.*\+(?:json|xml|yaml)")
_MADE = ("dirname", "nameext", "nameroot", "path", "size")
"""What the engine tells of a file by itself."""

Refuse = Callable[[str, str], Exception]


class JobFiles:
    """Shapes the files and directories of one input."""

    def __init__(self, refuse: Refuse, prefixes: Mapping[str, str]) -> None:
        """`refuse` records a violation at a pointer, and gives what to raise; `prefixes` are those of the package."""
        self._refuse = refuse
        self._prefixes = prefixes

    def shape(
        self, kind: InputType, form: str, given: dict[str, Any], place: Place, pointer: str
    ) -> dict[str, Any] | None:
        """A File or Directory (`form`) of an object that is one in any of its shapes; None when it is none."""
        if given.get("class") in ("File", "Directory"):
            return self._described(kind, given, called_after(place), pointer)
        if isinstance(given.get("href"), str):
            link = self.link(kind, form, given["href"], place, join(pointer, "href"))
            return self._completed(kind, form, link, given, pointer)
        if "value" in given:
            return self._valued(kind, form, given, place, pointer)
        if form == "Directory" and given.get("stac_version"):
            return self._stac(given, called_after(place), pointer)
        return None

    def link(self, kind: InputType, form: str, href: str, place: Place, pointer: str) -> dict[str, Any]:
        """A File or Directory that a web address leads to."""
        segment = unquote_to_bytes(self._address(href, pointer).rpartition("/")[2])
        name = segment.decode("utf-8", "surrogateescape")
        found = {
            "class": form,
            "location": href,
            "basename": name if name_problem(name) is None else called_after(place),
        }
        if form == "File":
            self._add_format(kind, found, None, pointer)
        return found

    def _valued(
        self, kind: InputType, form: str, given: dict[str, Any], place: Place, pointer: str
    ) -> dict[str, Any] | None:
        value, inside, name = given["value"], join(pointer, "value"), called_after(place)
        if isinstance(value, dict) and value.get("class") == form:
            return self._described(kind, value, name, inside)
        if form == "Directory":
            found = self._stac(value, name, inside) if isinstance(value, dict) else None
        elif isinstance(value, (str, list, dict)):
            found = self._content(given, name, inside)
        else:
            found = None
        return None if found is None else self._completed(kind, form, found, given, pointer)

    def _content(self, given: dict[str, Any], name: str, pointer: str) -> dict[str, Any]:
        """A File of the value of an object."""
        value = given["value"]
        plain = str(given.get("mediaType") or "").partition(";")[0].strip().lower()
        found: dict[str, Any] = {"class": "File", "basename": name + ending_of(plain)}
        if not isinstance(value, str):
            found["contents"] = orjson.dumps(value).decode()
        elif given.get("encoding") == "base64" or (not given.get("encoding") and plain and not _TEXT.fullmatch(plain)):
            try:
                content = base64.b64decode("".join(value.split()), validate=True)
            except (binascii.Error, ValueError):
                self._fail(pointer, "This is not base64. Encode the file's bytes as base64.")
            # A CWL literal holds text only; staging writes the bytes of a data URL.
            found["location"] = (
                f"data:{plain or 'application/octet-stream'};base64,{base64.b64encode(content).decode()}"
            )
        else:
            found["contents"] = value
        return found

    def _completed(
        self, kind: InputType, form: str, found: dict[str, Any], given: dict[str, Any], pointer: str
    ) -> dict[str, Any]:
        """A File or Directory with what stands beside its link or value: its name, and the files that belong to it."""
        if "name" in given:
            found["basename"] = self._name(given["name"], join(pointer, "name"))
        if form == "File":
            member = "type" if "href" in given else "mediaType"
            self._add_format(kind, found, given.get(member), join(pointer, member))
            self._add_named_format(kind, found, given, pointer)
            self._add_beside(found, given, pointer)
        return found

    def _described(self, kind: InputType, given: dict[str, Any], name: str | None, pointer: str) -> dict[str, Any]:
        """A File or Directory in CWL's own form; `name` is what it is called where nothing says it."""
        form = given["class"]
        location = given.get("location", given.get("path"))
        field = "location" if "location" in given else "path"
        found = {key: value for key, value in given.items() if key not in (*_MADE, "secondaryFiles", "listing")}
        if location is not None:
            address = self._address(location, join(pointer, field))
            segment = unquote_to_bytes(address.rpartition("/")[2]).decode("utf-8", "surrogateescape")
            name = segment if name_problem(segment) is None else name
            found["location"] = location
        if "basename" in given:
            name = self._name(given["basename"], join(pointer, "basename"))
        if name is None:
            self._fail(pointer, "This has no name. Give it a basename.")
        found["basename"] = name
        inside = "listing" if form == "Directory" else "contents"
        if (location is None) == (given.get(inside) is None):
            self._fail(pointer, f"A {form} has a location or {inside}, and not both.")
        if form == "File":
            if location is None and not isinstance(given["contents"], str):
                self._fail(join(pointer, "contents"), "The contents of a file are a string.")
            if "format" in given and not isinstance(given["format"], str):
                self._fail(join(pointer, "format"), "The format of a file is a string.")
            self._add_format(kind, found, given.get("format"), join(pointer, "format"))
            self._add_beside(found, given, pointer)
        elif location is None:
            found["listing"] = self._all(given["listing"], join(pointer, "listing"), {})
        return found

    def _add_format(self, kind: InputType, found: dict[str, Any], given: Any, pointer: str) -> None:
        """Gives a file the format that the package declares for it: without one the engine refuses it.

        `given` is a media type, or the name of a format: its address, or a prefix of the package and the rest.
        """
        if given is None:
            if kind.formats:
                found["format"] = kind.formats[0]
            return
        named = expanded(str(given), self._prefixes)
        if "format" in found or named in kind.formats:
            found["format"] = named
        if not kind.formats or named in kind.formats:
            return
        is_address = ":" in named and "/" not in named.partition(":")[0]
        names = media_types(named, None) if is_address else [named]
        declared = fitting(kind.formats, names[0], is_address=is_address) if names else None
        if declared is None:
            problem = f"This file must be of the format {shown(kind.formats)[:300]}."
            if is_address and named == given and "://" not in named:
                problem += f" The prefix {named.partition(':')[0][:50]} is none of the package's $namespaces."
            self._fail(pointer, problem)
        found["format"] = declared

    def _add_named_format(self, kind: InputType, found: dict[str, Any], given: dict[str, Any], pointer: str) -> None:
        """Gives a file the format that `format` names, which is also an object of the standard with a media type."""
        form = given.get("format")
        if form is None or isinstance(form, dict):
            return
        if not isinstance(form, str):
            self._fail(join(pointer, "format"), "The format of a file is a string.")
        found["format"] = form
        self._add_format(kind, found, form, join(pointer, "format"))

    def _add_beside(self, found: dict[str, Any], given: dict[str, Any], pointer: str) -> None:
        if given.get("secondaryFiles") is not None:
            pointer = join(pointer, "secondaryFiles")
            found["secondaryFiles"] = self._all(given["secondaryFiles"], pointer, {found["basename"]: None})

    def _all(self, given: Any, pointer: str, taken: dict[str, None]) -> list[dict[str, Any]]:
        """Files and directories that lie in one directory."""
        if not isinstance(given, list):
            self._fail(pointer, "This is a list of files and directories.")
        found = []
        for index, item in enumerate(given):
            here = join(pointer, index)
            shaped = None
            if isinstance(item, dict) and item.get("class") in ("File", "Directory"):
                shaped = self._described(_NO_FORMAT, item, None, here)
            elif isinstance(item, dict):
                if "value" in item and "name" not in item:
                    self._fail(here, "This has no name. Give it one beside its value.")
                shaped = self.shape(_NO_FORMAT, "File", item, ("file",), here)
            elif isinstance(item, str):
                shaped = self.link(_NO_FORMAT, "File", item, ("file",), here)
            if shaped is None:
                self._fail(here, "This is no file or directory.")
            if shaped["basename"] in taken:
                self._fail(here, "There is another file or directory of this name beside it.")
            taken[shaped["basename"]] = None
            found.append(shaped)
        return found

    def _stac(self, stac: dict[str, Any], name: str, pointer: str) -> dict[str, Any]:
        if stac.get("type") not in STAC_TYPES or not isinstance(stac.get("stac_version"), str):
            self._fail(
                pointer,
                f"This is no STAC object, which has stac_version and the type {', '.join(STAC_TYPES[:-1])} or "
                f'{STAC_TYPES[-1]}. Give one, or {{"class": "Directory", "listing": […]}}.',
            )
        content = orjson.dumps(stac).decode()
        file = {"class": "File", "basename": stac_name(stac), "contents": content}
        return {"class": "Directory", "basename": name, "listing": [file]}

    def _address(self, href: Any, pointer: str) -> str:
        """The path of a web address, as it is written."""
        is_fit = isinstance(href, str) and href.isprintable() and len(href) <= LONGEST_ADDRESS
        try:
            address = urlsplit(href if is_fit else "")
            is_web = address.scheme in ("https", "http") and bool(address.hostname)
        except ValueError:
            is_web = False
        if not is_web:
            self._fail(
                pointer,
                "This is not a web address. Give an https href, the content as value with its mediaType, "
                "or the contents of a File or the listing of a Directory.",
            )
        return str(address.path)

    def _name(self, given: Any, pointer: str) -> str:
        problem = name_problem(given) if isinstance(given, str) else "is no string"
        if problem is not None:
            self._fail(pointer, f"This cannot be the name of a file: it {problem}.")
        return str(given)

    def _fail(self, pointer: str, message: str) -> NoReturn:
        raise self._refuse(pointer, message)


_NO_FORMAT = InputType("File")


def called_after(place: Place) -> str:
    """What a file is called that has no name of its own: after its input, and after its place in that."""
    words = (str(part + 1) if isinstance(part, int) else part for part in place)
    name = re.sub(r"[/\0]", "_", "_".join(words))
    name = name.encode("utf-8", "replace")[:LONGEST_STEM].decode("utf-8", "ignore")
    return name if name_problem(name) is None else "file"


def stac_name(stac: dict[str, Any]) -> str:
    """What the file of a STAC object is called in its directory."""
    return _STAC_NAMES.get(str(stac.get("type")), "collection.json")
