"""Schemas of what passes as bytes: documents that OGC API - Processes 1.0 fixes, in the dialect of OpenAPI 3.0.

Everything else has its schema from the contract.
"""

from collections.abc import Mapping
from typing import Any

from services.ogc.openapi.schemas import Schema, openapi

TEXT: Schema = {"type": "string"}
URI: Schema = {"type": "string", "format": "uri-reference"}
QUALIFIERS: dict[str, Schema] = {"mediaType": {}, "encoding": {}, "schema": {}}
"""What may stand beside a value. Only a media type that makes a difference is looked at."""


def refer(name: str) -> Schema:
    """Points to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


DOCUMENTS: dict[str, Schema] = {
    "exception": {
        "type": "object",
        "description": "Why a request was refused (RFC 9457; `exception.yaml`).",
        "required": ["type", "title", "status", "detail", "instance"],
        "properties": {
            "type": {
                "type": "string",
                "description": "A URI; `about:blank` for what HTTP explains.",
            },
            "title": {"type": "string", "description": "The status in words."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "What is wrong, and what would be right."},
            "instance": {"type": "string", "description": "The path of the request."},
            "reason": {"type": "string", "description": "The same as `type`, as a word for programs."},
            "traceId": {"type": "string", "description": "Where operators find more of it."},
            "errors": {
                "type": "array",
                "description": "Everything that is wrong, and where.",
                "items": {
                    "type": "object",
                    "required": ["pointer", "detail"],
                    "properties": {"pointer": TEXT, "detail": TEXT},
                },
            },
            "moreErrors": {"type": "integer", "description": "How many are left out."},
        },
    },
    "processDescription": {
        "type": "object",
        "description": "The description of a process (`process.yaml`).",
        "required": ["id", "version", "jobControlOptions", "outputTransmission", "mutable", "inputs", "outputs"],
        "properties": {
            "id": TEXT,
            "version": TEXT,
            "title": TEXT,
            "description": TEXT,
            "keywords": {"type": "array", "items": TEXT},
            "metadata": {"type": "array", "items": refer("Metadata")},
            "jobControlOptions": {
                "type": "array",
                "items": {"type": "string", "enum": ["sync-execute", "async-execute", "dismiss"]},
            },
            "outputTransmission": {"type": "array", "items": {"type": "string", "enum": ["value", "reference"]}},
            "mutable": {"type": "boolean"},
            "revision": {"type": "integer"},
            "digest": TEXT,
            "visibility": TEXT,
            "links": {"type": "array", "items": refer("Link")},
            "inputs": {"type": "object", "additionalProperties": refer("inputDescription")},
            "outputs": {"type": "object", "additionalProperties": refer("outputDescription")},
            "needs": {
                "type": "array",
                "description": "What the package needs of the installation, as it was when the package was deployed.",
                "items": {
                    "type": "object",
                    "required": ["kind", "required", "met"],
                    "properties": {
                        "kind": {"type": "string", "enum": ["image", "network", "memory", "cores", "gpu"]},
                        "image": TEXT,
                        "mib": {"type": "number"},
                        "count": {"type": "number"},
                        "required": {"type": "boolean", "description": "False for what is only hinted at."},
                        "met": {"type": "boolean", "description": "Whether jobs have it here."},
                        "missing": {"type": "string", "description": "What jobs do not have, and who can change it."},
                    },
                },
            },
            "warnings": {"type": "array", "items": TEXT},
        },
    },
    "inputDescription": {
        "type": "object",
        "required": ["schema"],
        "properties": {
            "title": TEXT,
            "description": TEXT,
            "minOccurs": {"type": "integer", "minimum": 0},
            "maxOccurs": {"oneOf": [{"type": "integer"}, {"type": "string", "enum": ["unbounded"]}]},
            "valuePassing": {"type": "array", "items": {"type": "string", "enum": ["byValue", "byReference"]}},
            "schema": {"type": "object", "description": "A schema of its values."},
        },
    },
    "outputDescription": {
        "type": "object",
        "required": ["schema"],
        "properties": {
            "title": TEXT,
            "description": TEXT,
            "schema": {"type": "object", "description": "A schema of its values."},
        },
    },
    "execute": {
        "type": "object",
        "description": "An execute request (`execute.yaml`).",
        "properties": {
            "inputs": {"type": "object", "description": "The inputs by name.", "additionalProperties": {}},
            "outputs": {
                "type": "object",
                "description": "The outputs that are wanted; all of them where this is absent.",
                "additionalProperties": refer("output"),
            },
            "response": refer("response"),
            "subscriber": refer("subscriber"),
        },
    },
    "output": {
        "type": "object",
        "properties": {
            "transmissionMode": {"type": "string", "enum": ["value", "reference"], "default": "value"},
            "format": {"type": "object", "properties": QUALIFIERS},
        },
    },
    "response": {
        "type": "string",
        "description": "Whether the results are answered as they are, or in one document.",
        "enum": ["raw", "document"],
        "default": "raw",
    },
    "subscriber": {
        "type": "object",
        "description": "Who is told of the job (`subscriber.yaml`); any of the three.",
        "properties": {
            member: {"type": "string", "format": "uri"} for member in ("successUri", "inProgressUri", "failedUri")
        },
    },
    "applicationPackage": {
        "type": "object",
        "description": "An application package (OGC API - Processes Part 2, `ogcapppkg.yaml`).",
        "required": ["executionUnit"],
        "properties": {
            "processDescription": {"type": "object"},
            "executionUnit": {
                "oneOf": [
                    refer("executionUnit"),
                    {"type": "array", "items": refer("executionUnit"), "minItems": 1, "maxItems": 1},
                ]
            },
        },
    },
    "executionUnit": {
        "type": "object",
        "description": "The CWL, where it is (`href`, `type`) or as it is (`value`, `mediaType`).",
        "properties": {
            "href": URI,
            "type": TEXT,
            "value": {"oneOf": [{"type": "object"}, TEXT]},
            "mediaType": TEXT,
        },
    },
    "cwl": {"type": "object", "description": "A CWL document.", "properties": {"cwlVersion": TEXT}},
    "harvest": {
        "type": "object",
        "description": "The catalog change message of the EO DataHub.",
        "required": ["bucket_name", "source", "target"],
        "properties": {
            "id": TEXT,
            "workspace": TEXT,
            "bucket_name": TEXT,
            "source": TEXT,
            "target": TEXT,
            "added_keys": {"type": "array", "items": TEXT},
            "updated_keys": {"type": "array", "items": TEXT},
            "deleted_keys": {"type": "array", "items": TEXT},
        },
    },
    "definition": {
        "type": "object",
        "description": "This document.",
        "required": ["openapi", "info", "paths"],
        "properties": {"openapi": TEXT, "info": {"type": "object"}, "paths": {"type": "object"}},
    },
    "reference": {
        "type": "object",
        "description": "A value that is somewhere else.",
        "required": ["href"],
        # The other members are for people, and not looked at.
        "properties": {"href": URI, "rel": {}, "type": {}, "hreflang": {}, "title": {}},
    },
}


def execute_request(description: Mapping[str, Any]) -> Schema:
    """The schema of the execute requests of one process."""
    inputs = description.get("inputs") or {}
    outputs = description.get("outputs") or {}
    required = [name for name, about in inputs.items() if about.get("minOccurs", 1)]
    return {
        "type": "object",
        **({"required": ["inputs"]} if required else {}),
        "properties": {
            "inputs": {
                "type": "object",
                "properties": {name: _input(about) for name, about in inputs.items()},
                "additionalProperties": False,
                **({"required": required} if required else {}),
            },
            "outputs": {
                "type": "object",
                "properties": {name: _output(about) for name, about in outputs.items()},
                "additionalProperties": False,
            },
            "response": refer("response"),
            "subscriber": refer("subscriber"),
        },
    }


def _input(about: Mapping[str, Any]) -> Schema:
    """What may stand for an input (`inlineOrRefData.yaml`): its value, the value qualified, or where it is."""
    schema = openapi(about.get("schema") or {})
    default = schema.pop("default", None)
    qualified = {"type": "object", "required": ["value"], "properties": {"value": schema, **QUALIFIERS}}
    # An object has to be qualified, so that it is told from a value that is.
    forms = (
        [qualified]
        if schema.get("type") == "object" and "bbox" not in schema.get("properties", {})
        else [
            schema,
            qualified,
        ]
    )
    if "byReference" in about.get("valuePassing", ()):
        forms.append(refer("reference"))
    most = about.get("maxOccurs", 1)
    if most == "unbounded" or (isinstance(most, int) and most > 1):
        limit = {} if most == "unbounded" else {"maxItems": most}
        forms.append({"type": "array", "items": {"anyOf": list(forms)}, **limit})
    described = _described(about)
    if default is not None:
        described["default"] = default
    return {**described, **(forms[0] if len(forms) == 1 else {"anyOf": forms})}


def _output(about: Mapping[str, Any]) -> Schema:
    return {**_described(about), "allOf": [refer("output")]}


def _described(about: Mapping[str, Any]) -> Schema:
    return {key: str(about[key]) for key in ("title", "description") if about.get(key)}
