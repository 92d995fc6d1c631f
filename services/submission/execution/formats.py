"""Whether a file of a media type is one of a format that a package declares."""

from collections.abc import Sequence

from services.submission.packages.description import media_types

_ALIASES = {
    "application/geotiff": "image/tiff",
    "image/geotiff": "image/tiff",
    "text/json": "application/json",
    "text/xml": "application/xml",
    "text/yaml": "application/yaml",
    "application/zip-compressed": "application/zip",
    "image/jpg": "image/jpeg",
    "application/x-hdf": "application/hdf5",
    "application/vnd.geo+json": "application/geo+json",
}
_ANYTHING = frozenset({"", "application/octet-stream"})
_FAMILIES = {"application/json": "+json", "application/xml": "+xml", "application/yaml": "+yaml"}


def fitting(formats: Sequence[str], media_type: str, *, is_address: bool = False) -> str | None:
    """Returns which of the declared formats a file of a media type has; None when it has none of them.

    A format that is not known as a media type cannot be judged, and is taken to fit a media type, but not one that is
    named by another address (`is_address`).
    """
    known = [(declared, media_types(declared, None)) for declared in formats]
    for declared, names in known:
        if any(_is_a(plain(media_type), plain(name)) for name in names):
            return declared
    return None if is_address else next((declared for declared, names in known if not names), None)


def shown(formats: Sequence[str]) -> str:
    """Returns formats for people: as media types where they are known as such."""
    return ", ".join(dict.fromkeys(name for declared in formats for name in media_types(declared, None) or [declared]))


def plain(media_type: str) -> str:
    """Returns a media type without parameters, in the spelling that its other ones stand for."""
    name = media_type.partition(";")[0].strip().lower()
    name = _ALIASES.get(name, name)
    kind, _, subtype = name.partition("/")
    if subtype:
        name = f"{kind}/{subtype.removeprefix('x-')}"
    return _ALIASES.get(name, name)


def _is_a(given: str, declared: str) -> bool:
    if given in _ANYTHING or declared in _ANYTHING or given == declared:
        return True
    if declared == "text/plain":
        return given.startswith("text/") or any(given == name or given.endswith(end) for name, end in _FAMILIES.items())
    return any(
        (given == name and declared.endswith(end)) or (declared == name and given.endswith(end))
        for name, end in _FAMILIES.items()
    )
