"""From messages of the contract, and from the JSON Schemas of processes, to schemas of OpenAPI 3.0."""

from collections.abc import Mapping
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from services.ogc.openapi.contract import HTTP_BODY, comments, is_required, message_of

Schema = dict[str, Any]

# What OpenAPI 3.0 knows; a validator refuses any other member.
KEYWORDS = (
    "title", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength",
    "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxProperties", "minProperties", "required",
    "enum", "type", "not", "allOf", "oneOf", "anyOf", "items", "properties", "additionalProperties",
    "description", "format", "default", "nullable", "example", "deprecated", "readOnly", "writeOnly",
)  # fmt: skip
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
}


class Messages:
    """Collects the schemas of messages as components, each by its name."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def refer(self, message: Descriptor, *, answered: bool) -> Schema:
        """Points to the schema of a message; in an answer every field that cannot be absent is there."""
        if message.name not in self.components:
            self.components[message.name] = {}
            fields = [field for field in message.fields if not _is_bytes(field)]
            required = [
                field.json_name for field in fields if is_required(field) or (answered and not field.has_presence)
            ]
            self.components[message.name] = {
                "type": "object",
                "description": comments()[message.full_name],
                "properties": {field.json_name: self.field(field, answered=answered) for field in fields},
                **({"required": required} if required else {}),
            }
        return {"$ref": f"#/components/schemas/{message.name}"}

    def field(self, field: FieldDescriptor, *, answered: bool = False) -> Schema:
        """The schema of the values of a field."""
        about = comments()[field.full_name]
        rules: Any = field.GetOptions().Extensions[validate_pb2.field]  # type: ignore[index]
        if field.is_repeated:
            items = self._value(field, rules.repeated.items, answered=answered)
            limit = {"maxItems": rules.repeated.max_items} if rules.repeated.HasField("max_items") else {}
            return {"type": "array", "items": items, **limit, "description": about}
        schema = self._value(field, rules, answered=answered)
        # A reference takes no members beside it.
        return {"allOf": [schema], "description": about} if "$ref" in schema else {**schema, "description": about}

    def _value(self, field: FieldDescriptor, rules: Any, *, answered: bool) -> Schema:
        match field.type:
            case FieldDescriptor.TYPE_MESSAGE:
                message = message_of(field)
                known = _WELL_KNOWN.get(message.full_name)
                return dict(known) if known else self.refer(message, answered=answered)
            case FieldDescriptor.TYPE_ENUM:
                assert field.enum_type is not None
                return {"type": "string", "enum": enum_names(field.enum_type)}
            case FieldDescriptor.TYPE_BOOL:
                return {"type": "boolean"}
            case FieldDescriptor.TYPE_DOUBLE:
                return {"type": "number", "format": "double"}
            case FieldDescriptor.TYPE_INT32:
                return {"type": "integer", "format": "int32", **_bounds(rules.int32)}
            case FieldDescriptor.TYPE_STRING:
                return {"type": "string", **_lengths(rules.string)}
        raise ValueError(f"{field.full_name} is of a type that the definition has no schema for yet.")


def enum_names(enum: EnumDescriptor) -> list[str]:
    """The names of an enum that are sent."""
    return [value.name for value in enum.values if value.number]


def openapi(schema: Any) -> Any:
    """A JSON Schema (2020-12) of a process in the dialect of OpenAPI 3.0, as far as that can say it."""
    if not isinstance(schema, Mapping):
        return {}
    told = {key: value for key, value in schema.items() if key in KEYWORDS}
    if schema.get("contentEncoding") == "base64":
        told["format"] = "byte"
    if media_type := schema.get("contentMediaType"):
        told["x-contentMediaType"] = media_type
    if "const" in schema:
        told["enum"] = [schema["const"]]
    for bound in ("inimum", "aximum"):
        limit = told.get(f"exclusiveM{bound}")
        if isinstance(limit, int | float) and not isinstance(limit, bool):
            told |= {f"m{bound}": limit, f"exclusiveM{bound}": True}
    for key in ("allOf", "anyOf", "oneOf"):
        if isinstance(told.get(key), list):
            options = [option for option in told[key] if option != {"type": "null"}]
            if len(options) < len(told[key]):
                told["nullable"] = True
            told[key] = [openapi(option) for option in options]
    if isinstance(told.get("type"), list):
        kinds = [kind for kind in told.pop("type") if kind != "null"]
        if len(kinds) < len(schema["type"]):
            told["nullable"] = True
        if len(kinds) == 1:
            told["type"] = kinds[0]
    elif told.get("type") == "null":
        del told["type"]
        told |= {"nullable": True, "enum": [None]}
    if "items" in told:
        told["items"] = openapi(told["items"])
    elif told.get("type") == "array":
        told["items"] = {}
    if "not" in told:
        told["not"] = openapi(told["not"])
    if isinstance(told.get("properties"), Mapping):
        told["properties"] = {name: openapi(inner) for name, inner in told["properties"].items()}
    if isinstance(told.get("additionalProperties"), Mapping):
        told["additionalProperties"] = openapi(told["additionalProperties"])
    return told


def _is_bytes(field: FieldDescriptor) -> bool:
    """Whether it is an answer of its own, which no JSON holds."""
    return field.type == FieldDescriptor.TYPE_MESSAGE and message_of(field).full_name == HTTP_BODY


def _bounds(rules: Any) -> Schema:
    return {key: getattr(rules, rule) for key, rule in (("minimum", "gte"), ("maximum", "lte")) if rules.HasField(rule)}


def _lengths(rules: Any) -> Schema:
    return {
        key: getattr(rules, rule)
        for key, rule in (("minLength", "min_len"), ("maxLength", "max_len"), ("pattern", "pattern"))
        if rules.HasField(rule)
    }
