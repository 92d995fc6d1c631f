"""The CWL library, corrected: names are what the document says, numbers reach command lines in decimal, lists may
be optional whatever they hold, and a listing is loaded as deep as asked.

Importing this module corrects the library in this process. It is imported by whatever lets the library read a package.
"""

import math
from decimal import Decimal
from typing import Any

import cwl_utils.expression
import cwl_utils.file_formats
import cwltool.builder
import cwltool.checker
import cwltool.command_line_tool
import cwltool.load_tool
import cwltool.process
import cwltool.workflow
import cwltool.workflow_job
from cwl_utils.types import is_directory
from cwltool.utils import get_listing
from ruamel.yaml.scalarfloat import ScalarFloat
from schema_salad.avro.schema import Name, Names, make_avsc_object
from schema_salad.schema import make_valid_avro
from schema_salad.utils import json_dumps as library_dumps

from services.submission.cwl.names import decoded, encoded, named_format

_PARAMETERS = ("input_record_schema", "outputs_record_schema")

_library_name = cwltool.process.shortname
_library_type = cwltool.process.avroize_type
_library_text = cwltool.builder.Builder.tostr


def shortname(identifier: str) -> str:
    """Returns the name behind an address, as the document writes it."""
    return decoded(_library_name(identifier))


def named_type(kind: Any, name_prefix: str = "") -> Any:
    """Gives types without a name one, which begins with the name of their parameter."""
    return _library_type(kind, encoded(name_prefix))


def named_schema(schema: Any, *arguments: Any, **named: Any) -> Any:
    """Makes a schema of CWL types, with the names of fields and symbols as the document writes them."""
    if isinstance(schema, dict) and schema.get("name") in _PARAMETERS:
        # The names of inputs and outputs come here as they are written, those of other fields as addresses.
        for field in schema["fields"]:
            field["name"] = encoded(field["name"])
    made = make_valid_avro(schema, *arguments, **named)
    _decode(made)
    return made


def _decode(schema: Any) -> None:
    if isinstance(schema, list):
        for member in schema:
            _decode(member)
    elif isinstance(schema, dict):
        for field in ("type", "items", "fields"):
            _decode(schema.get(field))
        if isinstance(schema.get("symbols"), list):
            schema["symbols"] = [decoded(symbol) for symbol in schema["symbols"]]
        fields = schema.get("fields")
        for field in fields if isinstance(fields, list) else []:
            if isinstance(field, dict) and isinstance(field.get("name"), str):
                field["name"] = decoded(field["name"])


def member_schema(kind: Any, names: Names) -> Any:
    """Makes the schema of one member of a union, which a value is held against.

    The types in it have names, and the library has met them before, when it made the schema of all parameters. It would
    refuse to make them again: no optional list of symbols could have a value.
    """
    known = Names(names.default_namespace)
    known.names = {name: schema for name, schema in names.names.items() if name not in _names_in(kind)}
    return make_avsc_object(kind, known)


def _names_in(kind: Any) -> set[str | None]:
    if isinstance(kind, list):
        return set().union(*map(_names_in, kind))
    if not isinstance(kind, dict):
        return set()
    inner = [kind.get("type"), kind.get("items"), *(field["type"] for field in kind.get("fields", ()))]
    return _names_in(inner) | ({Name(kind["name"], None, None).fullname} if "name" in kind else set())


def decimal(number: float) -> str:
    """Returns a number in decimal, as short as reads back to the same number: never with an exponent.

    A number that a package writes out keeps the digits of its author.
    """
    value = float(number)
    if not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    written = repr(value)
    if isinstance(number, ScalarFloat):
        digits = _library_text(None, number)  # type: ignore[arg-type]
        # The library rounds what is smaller than any normal double.
        written = digits if float(digits) == value else written
    return format(Decimal(written), "f") if "e" in written.lower() else written


def json_dumps(value: Any, **options: Any) -> str:
    """Writes a value that stands inside of a text, as JSON; a number in decimal."""
    return decimal(value) if isinstance(value, float) else str(library_dumps(value, **options))


def check_format(files: Any, formats: Any, ontology: Any) -> None:
    """Raises ValidationException for a file of another format, comparing formats as packages and requests name them."""
    wanted: list[Any] = [named_format(one) for one in (formats if isinstance(formats, list) else [formats])]
    for file in files if isinstance(files, list) else [files]:
        named: Any = {**file, "format": named_format(file["format"])} if file and "format" in file else file
        cwl_utils.file_formats.check_format(named, wanted, ontology)


class Builder(cwltool.builder.Builder):
    """Puts together the command line of a step."""

    def tostr(self, value: Any) -> str:
        """Returns a value as an argument; numbers as CWL has it in `CommandLineBinding`."""
        return decimal(value) if isinstance(value, float) else super().tostr(value)


def top_listing(files: Any, record: Any, recursive: bool = True) -> None:
    """Loads the listing of directories. What is not loaded is that of a directory in a listing that was given."""
    if recursive or is_directory(record):
        get_listing(files, record, recursive)
    elif isinstance(record, dict | list):
        for member in record.values() if isinstance(record, dict) else record:
            top_listing(files, member, recursive)


def _correct() -> None:
    for module in (
        cwltool.checker,
        cwltool.command_line_tool,
        cwltool.load_tool,
        cwltool.process,
        cwltool.workflow,
        cwltool.workflow_job,
    ):
        vars(module)["shortname"] = shortname
    vars(cwltool.process)["avroize_type"] = named_type
    vars(cwltool.process)["make_valid_avro"] = named_schema
    vars(cwltool.process)["Builder"] = Builder
    vars(cwltool.process)["get_listing"] = top_listing
    vars(cwltool.builder)["check_format"] = check_format
    vars(cwltool.builder)["make_avsc_object"] = member_schema
    vars(cwl_utils.expression)["json_dumps"] = json_dumps


_correct()
