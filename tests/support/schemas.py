"""Schemas of process descriptions, held against values."""

from collections.abc import Mapping
from typing import Any

import jsonschema_rs


def accepts(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a schema in the dialect of OpenAPI 3.0 accepts a value."""
    return bool(jsonschema_rs.Draft202012Validator(plain(schema)).is_valid(value))


def plain(schema: Any) -> Any:
    """A schema of OpenAPI 3.0 as JSON Schema: what is nullable takes null as well."""
    if isinstance(schema, list):
        return [plain(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: value if name in ("enum", "default") else plain(value) for name, value in schema.items()}
    return {"anyOf": [inner, {"type": "null"}]} if inner.pop("nullable", False) is True else inner
