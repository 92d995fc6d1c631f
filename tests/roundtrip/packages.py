"""Packages that give back what they are given."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tests.roundtrip.values import Parameter

# Makes what its arguments say, in two places: a path and a text for a file, a path that ends in a slash for a folder.
_MAKE = """set -e
for place in tree listed; do mkdir $place; done
while [ $# -gt 0 ]; do
  for place in tree listed; do
    case $1 in */) mkdir "$place/$1" ;; *) printf %s "$2" > "$place/$1" ;; esac
  done
  shift 2
done
"""
_COPY = """set -e
mkdir copied
for thing do cp -R "$thing" copied/; done
"""
# Things of equal names lie beside each other, each in a folder with its number.
_COPY_EACH = """set -e
mkdir copied
for thing do number=$((number + 1)); mkdir "copied/$number"; cp -R "$thing" "copied/$number/"; done
"""
_THINGS = {"type": "array", "items": ["File", "Directory"]}

TREES: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "$graph": [
        {
            "class": "Workflow",
            "id": "trees",
            "inputs": {"entries": "string[]"},
            "outputs": {
                "tree": {"type": "Directory", "outputSource": "make/tree"},
                "listed": {"type": _THINGS, "outputSource": "make/listed"},
                "copied": {"type": "Directory", "outputSource": "copy/copied"},
            },
            "steps": {
                "make": {"run": "#make", "in": {"entries": "entries"}, "out": ["tree", "listed"]},
                "copy": {"run": "#copy", "in": {"things": "make/listed"}, "out": ["copied"]},
            },
        },
        {
            "class": "CommandLineTool",
            "id": "make",
            "baseCommand": ["sh", "-c", _MAKE, "make"],
            "inputs": {"entries": {"type": "string[]", "inputBinding": {"position": 1}}},
            "outputs": {
                "tree": {"type": "Directory", "outputBinding": {"glob": "tree"}},
                "listed": {
                    "type": _THINGS,
                    "outputBinding": {
                        "glob": "listed",
                        "loadListing": "shallow_listing",
                        "outputEval": "$(self[0].listing)",
                    },
                },
            },
        },
        {
            "class": "CommandLineTool",
            "id": "copy",
            "baseCommand": ["sh", "-c", _COPY, "copy"],
            "inputs": {"things": {"type": _THINGS, "inputBinding": {"position": 1}}},
            "outputs": {"copied": {"type": "Directory", "outputBinding": {"glob": "copied"}}},
        },
    ],
}
"""Makes a tree from pairs of a path and a text, hands it out whole and by entries, and copies it in another step."""

FILES: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "id": "files",
    "baseCommand": ["sh", "-c", _COPY_EACH, "copy"],
    "inputs": {"things": {"type": _THINGS, "inputBinding": {"position": 1}}},
    "outputs": {"copied": {"type": "Directory", "outputBinding": {"glob": "copied"}}},
}
"""Copies the files and directories that the request brings, each into a folder of its own."""

_PRINT = "for word do printf '%s\\0' \"$word\"; done > arguments"


def echo(process_id: str, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """A tool with an output of the same type for every input, and a file with the arguments that it got."""
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {"arguments": {"type": "File", "outputBinding": {"glob": "arguments"}}}
    for position, (name, parameter) in enumerate(parameters.items()):
        inputs[name] = {"type": parameter.kind.written, "label": parameter.label, "doc": parameter.doc}
        if parameter.default:
            inputs[name]["default"] = parameter.default[0]
        if is_bound(parameter):
            inputs[name]["inputBinding"] = {"position": position, "prefix": f"--{position}"}
        outputs[output_of(name)] = {
            "type": parameter.kind.written,
            "outputBinding": {"outputEval": f"$(inputs[{json.dumps(name, ensure_ascii=False)}])"},
        }
    return {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "id": process_id,
        "baseCommand": ["sh", "-c", _PRINT, "print"],
        "inputs": inputs,
        "outputs": outputs,
    }


def output_of(name: str) -> str:
    """The output that gives an input of `echo` back."""
    return f"out:{name}" if ":" in name else f"out_{name}"


def is_bound(parameter: Parameter) -> bool:
    """Whether a parameter becomes arguments: if its values can be, and are lists at most one level deep."""
    return _is_scalar(parameter.kind.written) and "\0" not in json.dumps(parameter.expected, ensure_ascii=False)


def _is_scalar(written: Any) -> bool:
    match written:
        case list():
            return all(_is_scalar(member) for member in written)
        case {"type": "enum"} | "null" | "boolean" | "int" | "long" | "float" | "double" | "string":
            return True
    return False


def fits_arguments(parameters: Mapping[str, Parameter], arguments: list[str]) -> bool:
    """Whether the arguments of a tool of `echo` say the values: numbers in decimal, text as it is."""
    left = iter(arguments)
    for position, parameter in enumerate(parameters.values()):
        value = parameter.expected
        if not is_bound(parameter) or value is None or value is False:
            continue
        if next(left, None) != f"--{position}":
            return False
        if value is not True and not _says(next(left, ""), value):
            return False
    return next(left, None) is None


def _says(argument: str, value: Any) -> bool:
    if isinstance(value, str):
        return argument == value
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", argument):
        return False
    # An integer beyond 64 bits is a double, which is written in as few digits as tell it from others.
    is_integer = isinstance(value, int) and -(2**63) <= value < 2**63
    return Decimal(argument) == value if is_integer else float(argument) == value
