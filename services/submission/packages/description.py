"""From a CWL process to the process description of OGC API - Processes, without links."""

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from services.submission.packages.cwl_types import is_optional, members, text_of, without_null
from services.submission.packages.metadata import keywords, metadata_value, people

MEDIA_TYPES = {
    "http://edamontology.org/format_3464": "application/json",
    "http://edamontology.org/format_3752": "text/csv",
    "http://edamontology.org/format_3591": "image/tiff",
    "http://edamontology.org/format_3603": "image/png",
    "http://edamontology.org/format_3579": "image/jpeg",
    "http://edamontology.org/format_2330": "text/plain",
    "http://edamontology.org/format_3475": "text/tab-separated-values",
    "http://edamontology.org/format_2332": "application/xml",
    "http://edamontology.org/format_3750": "application/yaml",
    "http://edamontology.org/format_3650": "application/netcdf",
    "http://edamontology.org/format_3590": "application/x-hdf5",
    "http://edamontology.org/format_3987": "application/zip",
    "http://edamontology.org/format_3989": "application/gzip",
}
"""File formats of the EDAM ontology which packages of Earth observation name, as media types."""

_IANA = re.compile(r"https?://(?:www\.)?iana\.org/assignments/media-types/([a-z0-9.+-]+/[A-Za-z0-9.+-]+)")
_MEDIA_TYPE = re.compile(r"[a-z]+/[A-Za-z0-9.+-]+")
_OVERRIDES = ("title", "description", "version", "keywords", "metadata")

_Schema: TypeAlias = Callable[[Any, list[str]], dict[str, Any]]

LINK: dict[str, Any] = {
    "type": "object",
    "required": ["href"],
    "properties": {
        "href": {"type": "string", "format": "uri-reference"},
        "rel": {"type": "string"},
        "type": {"type": "string"},
        "title": {"type": "string"},
    },
}
FOLDER: dict[str, Any] = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "name": {"type": "string"},
        "files": {
            "type": "array",
            "items": {
                **LINK,
                "required": ["href", "path"],
                "properties": {**LINK["properties"], "path": {"type": "string"}},
            },
        },
        "emptyDirectories": {"type": "array", "items": {"type": "string"}},
    },
}
"""A directory as results show it: its files, and where they are."""
_STAC_TYPES = ["Feature", "FeatureCollection", "Collection", "Catalog"]


def describe(
    document: dict[str, Any],
    process: dict[str, Any],
    process_id: str,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    overrides: dict[str, Any] | None,
) -> tuple[dict[str, Any], list[str]]:
    """Gives the description of a process, and warnings on what had to be assumed."""
    warnings = []
    version = metadata_value(document, process, "softwareVersion")
    if version is None:
        version = "0.0.0"
        warnings.append(
            "The package has no s:softwareVersion; version 0.0.0 is assumed. Add one so that users see what they run."
        )
    description: dict[str, Any] = {
        "id": process_id,
        "title": str(process.get("label") or process_id),
        "description": text_of(process.get("doc")),
        "version": version,
        "keywords": keywords(document, process),
        "metadata": people(document, process),
        "mutable": True,
        "jobControlOptions": ["async-execute", "dismiss"],
        "outputTransmission": ["value", "reference"],
    }
    for field in _OVERRIDES:
        wanted = (overrides or {}).get(field)
        if wanted and isinstance(wanted, type(description[field])):
            description[field] = wanted
    if overrides and overrides.get("version") and version == "0.0.0":
        warnings.clear()
    if "sync-execute" in _listed(overrides, "jobControlOptions"):
        # Only who deploys the package knows that its jobs are short enough to be waited for.
        description["jobControlOptions"].insert(0, "sync-execute")
    for optional in ("description", "keywords", "metadata"):
        if not description[optional]:
            del description[optional]
    prefixes = document.get("$namespaces")
    description["inputs"] = {name: _input(name, parameter, prefixes) for name, parameter in inputs.items()}
    description["outputs"] = {name: _output(name, parameter, prefixes) for name, parameter in outputs.items()}
    return description, warnings


def _input(name: str, parameter: dict[str, Any], prefixes: Any) -> dict[str, Any]:
    schema = input_schema(without_null(parameter["type"]), media_types(parameter.get("format"), prefixes))
    if "default" in parameter and not _holds_files(parameter["default"]):
        schema["default"] = parameter["default"]
        if parameter["default"] is None:
            schema["nullable"] = True
    return {
        **_titled(name, parameter),
        "minOccurs": 0 if is_optional(parameter) else 1,
        "maxOccurs": 1,
        "valuePassing": ["byValue", "byReference"],
        "schema": schema,
    }


def _output(name: str, parameter: dict[str, Any], prefixes: Any) -> dict[str, Any]:
    return {
        **_titled(name, parameter),
        "schema": output_schema(without_null(parameter["type"]), media_types(parameter.get("format"), prefixes)),
    }


def _titled(name: str, parameter: dict[str, Any]) -> dict[str, Any]:
    titled = {"title": parameter.get("label") or name}
    if parameter.get("doc"):
        titled["description"] = parameter["doc"]
    return titled


def input_schema(kind: Any, formats: list[str]) -> dict[str, Any]:
    """Gives the schema of the values an input takes, in the dialect of OpenAPI 3.0 with the content keywords of OGC."""
    if isinstance(kind, list):
        return _any_of(kind, lambda member: input_schema(member, formats))
    if kind == "File":
        value: dict[str, Any] = {"type": "string", "contentEncoding": "base64"}
        reference: dict[str, Any] = {"type": "string", "format": "uri"}
        if len(formats) == 1:
            value["contentMediaType"] = reference["contentMediaType"] = formats[0]
        elif formats:
            value = {"oneOf": [{**value, "contentMediaType": media_type} for media_type in formats]}
        return {"anyOf": [reference, value, LINK]}
    if kind == "Directory":
        return {"anyOf": [{"type": "string", "format": "uri"}, _stac(), LINK]}
    return _plain_schema(kind, formats, input_schema, _input_field)


def _input_field(kind: Any, formats: list[str]) -> dict[str, Any]:
    """Gives the schema of a member of a record, which is left out rather than null."""
    return input_schema(without_null(kind), formats)


def output_schema(kind: Any, formats: list[str]) -> dict[str, Any]:
    """Gives the schema of the values an output gives: of `value`, where the results document qualifies one."""
    if isinstance(kind, list):
        return _any_of(kind, lambda member: output_schema(member, formats))
    if kind == "File":
        value = {"type": "string", "contentMediaType": formats[0] if len(formats) == 1 else "application/octet-stream"}
        return {"anyOf": [value, LINK]}
    if kind == "Directory":
        return {"anyOf": [_stac(), FOLDER, LINK]}
    return _plain_schema(kind, formats, _member_schema, _member_schema)


def _member_schema(kind: Any, formats: list[str]) -> dict[str, Any]:
    """Gives the schema of a member of a list or record, where files and directories may be qualified."""
    if isinstance(kind, list):
        return _any_of(kind, lambda member: _member_schema(member, formats))
    schema = output_schema(kind, formats)
    if kind in ("File", "Directory"):
        value: dict[str, Any] = FOLDER if kind == "Directory" else {}
        properties = {"value": value, "mediaType": {"type": "string"}}
        schema["anyOf"].append({"type": "object", "required": ["value", "mediaType"], "properties": properties})
    return schema


def _any_of(kinds: list[Any], schema: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """A union. The dialect of OpenAPI 3.0 has no type for null: a schema is nullable."""
    options = [schema(kind) for kind in kinds if kind != "null"]
    union = options[0] if len(options) == 1 else {"anyOf": options}
    return {**union, "nullable": True} if "null" in kinds else union


def _plain_schema(kind: Any, formats: list[str], item: _Schema, field: _Schema) -> dict[str, Any]:
    match kind:
        case "string":
            return {"type": "string"}
        case "boolean":
            return {"type": "boolean"}
        case "int":
            return {"type": "integer", "format": "int32"}
        case "long":
            return {"type": "integer", "format": "int64"}
        case "float" | "double":
            return {"type": "number", "format": kind}
        case "null":
            # The dialect has no type for it.
            return {"nullable": True, "enum": [None]}
        case {"type": "enum", "symbols": symbols}:
            return {"type": "string", "enum": symbols}
        case {"type": "array", "items": items}:
            return {"type": "array", "items": item(items, formats)}
        case {"type": "record", "fields": fields}:
            return _record(fields, field)
        case _:
            return {}


def _record(fields: dict[str, Any], schema_of: _Schema) -> dict[str, Any]:
    properties = {}
    for name, field in fields.items():
        properties[name] = schema_of(field["type"], media_types(field.get("format"), None))
        for key, source in (("title", "label"), ("description", "doc")):
            if source in field:
                properties[name][key] = field[source]
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    required = [name for name, field in fields.items() if "null" not in members(field["type"])]
    if required:
        schema["required"] = required
    if "bbox" in fields and set(fields) <= {"bbox", "crs"}:
        schema["format"] = "ogc-bbox"
    return schema


def _stac() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", "stac_version"],
        "properties": {"type": {"type": "string", "enum": _STAC_TYPES}, "stac_version": {"type": "string"}},
        "contentMediaType": "application/geo+json",
    }


def _holds_files(value: Any) -> bool:
    """Whether a default holds CWL file objects, which are no OGC values.

    Such an input only shows that it may be left out.
    """
    if isinstance(value, list):
        return any(_holds_files(item) for item in value)
    if isinstance(value, dict):
        return value.get("class") in ("File", "Directory") or any(_holds_files(item) for item in value.values())
    return False


def _listed(overrides: dict[str, Any] | None, field: str) -> list[Any]:
    value = (overrides or {}).get(field)
    return value if isinstance(value, list) else []


def media_types(formats: Any, namespaces: Any) -> list[str]:
    """Gives the media types behind CWL formats: EDAM terms, IANA addresses, or media types written as they are."""
    found = []
    for address in expanded_formats(formats, namespaces):
        iana = _IANA.fullmatch(address)
        media_type = iana[1] if iana else MEDIA_TYPES.get(address, address if _MEDIA_TYPE.fullmatch(address) else None)
        if media_type and media_type not in found:
            found.append(media_type)
    return found


def expanded_formats(formats: Any, namespaces: Any) -> list[str]:
    """Gives formats with their prefixes replaced. Expressions are known only at run time and left out."""
    found = formats if isinstance(formats, list) else [formats] if formats else []
    return [expanded(written, namespaces) for written in found if "$(" not in written and "${" not in written]


def expanded(name: str, namespaces: Any) -> str:
    """Returns a name with its prefix replaced by what stands for it in `$namespaces`; another name as it is."""
    prefix, colon, rest = name.partition(":")
    bound = namespaces.get(prefix) if colon and isinstance(namespaces, dict) else None
    return bound + rest if isinstance(bound, str) else name
