"""The corrections of the CWL library that a test of a package does not show by itself."""

from typing import Any

import cwltool.builder
import pytest
from schema_salad.avro.schema import EnumSchema, Names, make_avsc_object

import services.submission.cwl.library  # noqa: F401 - corrects the library

# The name that the library calls, which is the corrected one.
corrected: Any = vars(cwltool.builder)["make_avsc_object"]

ENUM = {"type": "enum", "name": "mode", "symbols": ["fast"]}
RECORD = {"type": "record", "name": "size", "fields": [{"name": "mode", "type": ENUM}]}


@pytest.mark.parametrize("items", [ENUM, RECORD, ["boolean", ENUM], {"type": "array", "items": RECORD}])
def test_a_type_with_a_name_may_be_met_again_in_a_list_of_a_union(items):
    names = Names()
    schemas = [
        corrected({"type": "array", "items": items}, names),
        corrected({"type": "array", "items": items}, names),
    ]

    assert ["array", "array"] == [schema.type for schema in schemas]
    assert {} == names.names


def test_types_that_are_only_named_are_those_that_are_known():
    names = Names()
    known = make_avsc_object(ENUM, Names())
    assert isinstance(known, EnumSchema)
    names.names["mode"] = known

    schema = corrected({"type": "array", "items": "mode"}, names)

    assert known is schema.items
