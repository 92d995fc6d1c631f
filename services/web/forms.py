"""From the inputs of a process description to the fields of a form.

A field says how a value is asked for; `form.js` makes the execute request of what was filled in. What a form cannot ask
for nicely it asks for as JSON, so every process can be executed. The service judges the values: a form that knew the
rules too would know them a little differently.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
SCALARS = ("text", "number", "integer", "boolean", "choice", "link")
LONG_TEXT_CHARS = 200


@dataclass(frozen=True, kw_only=True)
class Field:
    """One input, as a form asks for it."""

    name: str
    title: str
    description: str
    required: bool
    kind: str
    """One of SCALARS, `longtext`, `bbox`, `file`, `list` or `json`."""
    note: str
    """What values there are, in a few words."""
    default: str = ""
    """The text that stands in the field at first."""
    checked: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    item: str = "text"
    """The kind of the items of a list; one of SCALARS."""
    defaults: tuple[str, ...] = ()
    """The items that a list has at first."""
    media_types: tuple[str, ...] = ()
    """What a file may be."""
    by_link: bool = False
    """Whether a file may be given by its address."""
    by_value: bool = False
    """Whether a file may be sent along."""
    crs: str = CRS84


def fields(description: Mapping[str, Any]) -> list[Field]:
    """The fields of a process, in the order of its description."""
    return [_field(name, about) for name, about in (description.get("inputs") or {}).items()]


def note_of(schema: Mapping[str, Any]) -> str:
    """What values a schema takes, in a few words."""
    return str(_facts(schema)["note"])


def _field(name: str, about: Mapping[str, Any]) -> Field:
    schema = about.get("schema") or {}
    facts = _facts(schema)
    occurs = about.get("maxOccurs", 1)
    if (occurs == "unbounded" or (isinstance(occurs, int) and occurs > 1)) and facts["kind"] != "list":
        facts = _list_of(facts, {"maxItems": occurs} if isinstance(occurs, int) else {})
    default = facts.pop("schema_default", schema.get("default"))
    return Field(
        name=name,
        title=str(about.get("title") or name),
        description=_text(about.get("description")),
        required=about.get("minOccurs", 1) != 0 and default is None,
        **facts,
        **_default(facts["kind"], default),
    )


def _facts(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The kind of the values of a schema and what goes with it."""
    options = [option for option in _options(schema) if option.get("type") != "null"]
    if schema.get("format") == "ogc-bbox" or any(option.get("format") == "ogc-bbox" for option in options):
        crs = schema.get("properties", {}).get("crs", {}).get("default", CRS84)
        return {"kind": "bbox", "note": "bounding box: west, south, east, north", "crs": str(crs)}
    if (file := _file(options)) is not None:
        return file
    if len(options) != 1:
        return {"kind": "json", "note": "JSON"}
    (option,) = options
    if option.get("enum"):
        if all(isinstance(value, str) for value in option["enum"]):
            return {"kind": "choice", "note": "one of the list", "choices": tuple(option["enum"])}
        return {"kind": "json", "note": "JSON: one of " + json.dumps(option["enum"])[:200]}
    match _type(option):
        case "string":
            return _string(option)
        case "integer" | "number" as kind:
            return _number(option, kind)
        case "boolean":
            return {"kind": "boolean", "note": "yes or no"}
        case "array":
            return _list_of(_facts(option.get("items") or {}), option)
        case "object":
            return {"kind": "json", "note": "JSON object" + _members(option)}
    return {"kind": "json", "note": "JSON"}


def _options(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The alternatives of a schema, those within alternatives among them."""
    nested = schema.get("anyOf") or schema.get("oneOf")
    if not nested:
        yield schema
    for option in nested or ():
        yield from _options(option)


def _file(options: list[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The field of something with a media type, which can be a file or stand behind an address."""
    by_link = any(option.get("format") in ("uri", "uri-reference") for option in options)
    by_value = any(option.get("contentEncoding") == "base64" for option in options)
    media_types = tuple(
        dict.fromkeys(
            str(option["contentMediaType"])
            for option in options
            if option.get("contentMediaType") and option.get("type") == "string"
        )
    )
    is_link = any("href" in option.get("properties", {}) for option in options)
    if not (by_value or media_types or is_link):
        return None
    what = ", ".join(media_types) or ("any file" if by_value else "a catalog, collection or folder")
    return {
        "kind": "file",
        "note": what,
        "media_types": media_types,
        "by_link": by_link or is_link,
        "by_value": by_value or (bool(media_types) and not by_link),
    }


def _string(option: Mapping[str, Any]) -> dict[str, Any]:
    match option.get("format"):
        case "uri" | "uri-reference":
            return {"kind": "link", "note": "address (URL)"}
        case "date":
            return {"kind": "text", "note": "date, as 2026-11-23"}
        case "date-time":
            return {"kind": "text", "note": "moment, as 2026-11-23T07:29:14Z"}
    note = "text"
    if option.get("pattern"):
        note += f" that matches {str(option['pattern'])[:80]}"
    return {"kind": "longtext" if option.get("maxLength", 0) > LONG_TEXT_CHARS else "text", "note": note}


def _number(option: Mapping[str, Any], kind: str) -> dict[str, Any]:
    low, high = _bound(option, "inimum"), _bound(option, "aximum")
    note = "whole number" if kind == "integer" else "number"
    if low is not None and high is not None:
        note += f", {low:g} to {high:g}"
    elif low is not None:
        note += f", {low:g} or more"
    elif high is not None:
        note += f", {high:g} or less"
    return {"kind": kind, "note": note, "minimum": low, "maximum": high}


def _bound(option: Mapping[str, Any], suffix: str) -> float | None:
    # The 3.0 dialect of OpenAPI has a boolean where JSON Schema has a number.
    for name in (f"m{suffix}", f"exclusiveM{suffix}"):
        value = option.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    return None


def _list_of(item: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    if item["kind"] == "file" and item["by_link"]:
        item = {"kind": "link", "note": f"addresses (URL) of {item['note']}"}
    if item["kind"] not in SCALARS or item["kind"] == "boolean":
        return {"kind": "json", "note": f"JSON list; each item: {item['note']}"}
    note = f"list; each item: {item['note']}"
    if "maxItems" in about:
        note = f"up to {about['maxItems']}; each: {item['note']}"
    kept = {key: item[key] for key in ("choices", "minimum", "maximum") if key in item}
    return {"kind": "list", "item": item["kind"], "note": note, **kept}


def _default(kind: str, default: Any) -> dict[str, Any]:
    if default is None:
        return {}
    match kind:
        case "boolean":
            return {"checked": default is True, "default": "true" if default is True else "false"}
        case "list" if isinstance(default, list):
            return {"defaults": tuple(_text(item) for item in default)}
        case "text" | "longtext" | "link" | "choice":
            return {"default": _text(default)}
        case "file" | "bbox":
            return {}
    return {"default": json.dumps(default, ensure_ascii=False)}


def _members(option: Mapping[str, Any]) -> str:
    names = list(option.get("properties") or ())[:8]
    return f" with {', '.join(map(str, names))}" if names else ""


def _type(option: Mapping[str, Any]) -> str | None:
    kind = option.get("type")
    if isinstance(kind, list):
        kinds = [one for one in kind if one != "null"]
        return str(kinds[0]) if len(kinds) == 1 else None
    return kind


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(_text(item) for item in value)
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
