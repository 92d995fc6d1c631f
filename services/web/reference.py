"""The API definition (OpenAPI 3.0) as a reference to read and to try."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, kw_only=True)
class ParameterView:
    """A parameter of an operation."""

    name: str
    place: str
    """`path`, `query` or `header`."""
    required: bool
    description: str
    choices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class OperationView:
    """An operation."""

    operation_id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[ParameterView, ...]
    body_types: tuple[str, ...]
    body_example: str
    answers: tuple[tuple[str, str], ...]
    """Status and what it says."""


def operations(definition: Mapping[str, Any]) -> dict[str, list[OperationView]]:
    """The operations of a definition by their first tag."""
    groups: dict[str, list[OperationView]] = {}
    for path, methods in definition["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                tag = (operation.get("tags") or ["others"])[0]
                groups.setdefault(tag, []).append(_operation(method, path, operation))
    return groups


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> OperationView:
    body = tuple(operation.get("requestBody", {}).get("content", {}))
    return OperationView(
        operation_id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        description=operation.get("description", ""),
        parameters=tuple(_parameter(about) for about in operation.get("parameters", ()) if "name" in about),
        body_types=body,
        body_example='{"inputs": {}}' if path.endswith("/execution") else "",
        answers=tuple((status, answer.get("description", "")) for status, answer in operation["responses"].items()),
    )


def _parameter(about: Mapping[str, Any]) -> ParameterView:
    schema = about.get("schema", {})
    choices = schema.get("enum") or (("true", "false") if schema.get("type") == "boolean" else ())
    return ParameterView(
        name=about["name"],
        place=about["in"],
        required=about.get("required", False),
        description=about.get("description", ""),
        choices=tuple(map(str, choices)),
    )
