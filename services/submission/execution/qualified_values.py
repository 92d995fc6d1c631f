"""Values with what is said of them: `qualifiedInputValue` of OGC API - Processes 1.0.

The standard asks for `value` and forbids no other member beside it. What is known of the others is looked at here, so
that none is taken for something else; clients that copy a description beside the value are left alone.
"""

from typing import Any

BASE64 = "base64"
BESIDE_A_VALUE = frozenset(
    {
        *("value", "mediaType", "encoding", "schema", "format", "type", "name", "secondaryFiles", "uom"),
        *("id", "title", "description", "keywords", "metadata", "minOccurs", "maxOccurs", "valuePassing"),
        *("additionalParameters", "literalDataDomain", "dataType", "links"),
    }
)
"""What stands beside the value of an input that may be anything, where other members make an object of it."""

_TEXT = frozenset({"utf-8", "utf8"})


class UnusableMember(ValueError):
    """A member beside a value that cannot be followed."""

    def __init__(self, place: tuple[str, ...], problem: str) -> None:
        super().__init__(problem)
        self.place = place
        self.problem = problem


def qualified(given: dict[str, Any]) -> dict[str, Any]:
    """Returns a value with its media type and encoding in one place and spelling. Raises UnusableMember.

    They also stand in `format`, as drafts of the standard had it, and links call a media type `type`.
    """
    form = given.get("format") if isinstance(given.get("format"), dict) else {}
    made = {name: value for name, value in given.items() if name not in ("mediaType", "encoding")}
    media_type = given.get("mediaType")
    place: tuple[str, ...] = ("mediaType",)
    if media_type is None and form:
        media_type, place = form.get("mediaType"), ("format", "mediaType")
    if media_type is None and "/" in str(given.get("type") or ""):
        media_type = given["type"]
    if media_type is not None:
        if not isinstance(media_type, str):
            raise UnusableMember(place, "The media type is a string, such as image/tiff.")
        made["mediaType"] = media_type
    encoding = known_encoding(given.get("encoding"), ("encoding",))
    if encoding is None and form:
        encoding = known_encoding(form.get("encoding"), ("format", "encoding"))
    if encoding == BASE64 and not isinstance(given["value"], (str, list)):
        raise UnusableMember(("value",), "A value in base64 is a string.")
    if encoding is not None:
        made["encoding"] = encoding
    return made


def known_encoding(given: Any, place: tuple[str, ...]) -> str | None:
    """Returns an encoding that can be followed, in its usual spelling; None where there is none.

    Raises UnusableMember.
    """
    if given in (None, ""):
        return None
    name = given.strip().lower() if isinstance(given, str) else ""
    if name == BASE64:
        return BASE64
    if name in _TEXT:
        return "utf-8"
    raise UnusableMember(place, f"The encoding {str(given)[:100]} is not known. Use base64, or utf-8 for text.")
