"""Reads one package from its bytes to its description. Runs in the child; see `nursery.py`."""

import hashlib
from typing import Any

from services.submission.packages.choice import check_process_id, choose_process, own_id
from services.submission.packages.cwl_types import defined_types, read_parameters
from services.submission.packages.defaults import check_defaults
from services.submission.packages.description import describe, expanded_formats
from services.submission.packages.document import Document, read_document
from services.submission.packages.lint import check_features
from services.submission.packages.naming import check_names
from services.submission.packages.needs import read_needs
from services.submission.packages.policy import check_policy, check_version, ignored_hints
from services.submission.packages.refusal import MAX_OFFENCES
from services.submission.packages.structure import short
from services.submission.packages.validation import validate


def inspect_package(
    content: bytes,
    media_type: str,
    *,
    workflow: str | None,
    process_id: str | None,
    process_description: dict[str, Any] | None,
) -> dict[str, Any]:
    """Gives what a `Package` holds beside the document itself, or raises `Refusal`. The order is from cheap to dear."""
    document = read_document(content, media_type)
    cwl_version = check_version(document)
    check_policy(document)
    check_names(document)
    workflow_id, pointer, process, warnings = choose_process(document, workflow)
    named = short(workflow) if workflow and not workflow_id else ""
    overridden = (process_description or {}).get("id")
    identifier = check_process_id(
        process_id or (overridden if isinstance(overridden, str) else "") or workflow_id or named or own_id(process),
        process,
    )
    check_features(document, process, pointer)
    validate(document, workflow_id)
    types = defined_types(document.value)
    check_defaults(document, types)
    inputs = read_parameters(process, "inputs", pointer, types)
    outputs = read_parameters(process, "outputs", pointer, types)
    for parameter in (*inputs.values(), *outputs.values()):
        parameter["type"] = _with_formats(parameter["type"], document.value.get("$namespaces"))
    description, assumed = describe(document.value, process, identifier, inputs, outputs, process_description)
    digest = hashlib.sha256(content + b"\n#" + workflow_id.encode())
    return {
        "digest": f"sha256:{digest.hexdigest()}",
        "workflow_id": workflow_id,
        "process_id": identifier,
        "cwl_version": cwl_version,
        "description": description,
        "needs": read_needs(document.value, process, pointer),
        "cwl_inputs": _checkable(inputs, document.value.get("$namespaces")),
        "warnings": [*warnings, *assumed, *(_ignored(document))],
    }


def _ignored(document: Document) -> list[str]:
    return [
        f"The hint {name[:100]} is an extension of cwltool, and is not followed here ({document.place(pointer)})."
        for pointer, name in list(ignored_hints(document).items())[:MAX_OFFENCES]
    ]


def _checkable(inputs: dict[str, Any], namespaces: Any) -> dict[str, Any]:
    """Keeps what the check of inputs needs, with formats as full addresses, the way the engine compares them.

    The first input that may be a file has beside it the prefixes that a request may write formats with: once for all
    inputs, since both may be many.
    """
    checkable: dict[str, Any] = {}
    for name, parameter in inputs.items():
        checkable[name] = {key: parameter[key] for key in ("type", "default") if key in parameter}
        if "format" in parameter:
            checkable[name]["format"] = expanded_formats(parameter["format"], namespaces)
    first = next((name for name, parameter in inputs.items() if _may_be_file(parameter["type"])), None)
    if first is not None and isinstance(namespaces, dict):
        checkable[first]["prefixes"] = {prefix: uri for prefix, uri in namespaces.items() if isinstance(uri, str)}
    return checkable


def _may_be_file(kind: Any) -> bool:
    match kind:
        case list():
            return any(_may_be_file(member) for member in kind)
        case {"type": "array", "items": items}:
            return _may_be_file(items)
        case {"type": "record", "fields": fields}:
            return any(_may_be_file(field["type"]) for field in fields.values())
    return kind in ("File", "Directory", "Any")


def _with_formats(kind: Any, namespaces: Any) -> Any:
    """The same type, with the formats of the fields of records as full addresses."""
    match kind:
        case list():
            return [_with_formats(member, namespaces) for member in kind]
        case {"type": "array", "items": items}:
            return {"type": "array", "items": _with_formats(items, namespaces)}
        case {"type": "record", "fields": fields}:
            return {
                "type": "record",
                "fields": {
                    name: {
                        **field,
                        "type": _with_formats(field["type"], namespaces),
                        **({"format": expanded_formats(field["format"], namespaces)} if "format" in field else {}),
                    }
                    for name, field in fields.items()
                },
            }
    return kind
