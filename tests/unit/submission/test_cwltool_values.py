"""Numbers and values of runs: in decimal on command lines, and never another value than the step made."""

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from services.submission.backends import RunState
from services.submission.backends.cwltool import Cwltool
from services.submission.backends.cwltool.javascript import QuickJs, Watchdog
from services.submission.cwl.library import decimal
from tests.backend_runs import keep_inputs, package, run

ENGINE = QuickJs(Watchdog(lambda whose: None), lambda: None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cwltool]:
    async with Cwltool.open(tmp_path_factory.mktemp("runs"), keep_inputs) as opened:
        yield opened


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_decimal_reads_back_to_the_same_number(number: float) -> None:
    text = decimal(number)

    assert (number, math.copysign(1, number)) == (float(text), math.copysign(1, float(text)))
    assert set(text) <= set("-.0123456789")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1e-7, "0.0000001"),
        (1e22, "10000000000000000000000"),
        (1e-10, "0.0000000001"),
        (0.00001, "0.00001"),
        (5.0, "5.0"),
        (-0.0, "-0.0"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
    ],
)
def test_numbers_are_written_in_decimal(number: float, expected: str) -> None:
    assert expected == decimal(number)


@pytest.mark.parametrize(
    ("written", "expected"), [("1.50", "1.50"), ("1e-7", "0.0000001"), ("1.23e5", "123000"), ("0.0000005", "0.0000005")]
)
def test_numbers_that_a_package_writes_keep_their_digits(written: str, expected: str) -> None:
    assert expected == decimal(YAML().load(written))


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(2.225073858507e-311)
def test_a_number_that_a_package_writes_stays_the_same_number(number: float) -> None:
    written = YAML().load(repr(number) if "." in repr(number) else repr(number).replace("e", ".0e"))

    assert number == float(decimal(written))


NUMBERS = package(
    """\
    cwlVersion: v1.2
    class: CommandLineTool
    id: numbers
    requirements:
      InlineJavascriptRequirement: {}
      InitialWorkDirRequirement: {listing: [{entryname: made.txt, entry: "n=$(inputs.d)"}]}
    baseCommand: [sh, -c, 'echo "$@"; cat made.txt', sh]
    inputs:
      d: {type: double, inputBinding: {position: 1}}
      f: {type: float, default: 1e-10, inputBinding: {position: 2}}
      l: {type: 'double[]', inputBinding: {position: 3, itemSeparator: ","}}
      r: {type: {type: record, fields: {a: {type: double, inputBinding: {prefix: -a}}}}, inputBinding: {position: 4}}
      v: {type: double, inputBinding: {position: 5, valueFrom: "$(self / 10)"}}
      b: {type: double, default: 1000000000000000000000000, inputBinding: {position: 6}}
    arguments: [{position: 7, valueFrom: "--x=$(inputs.d)"}]
    stdout: out.txt
    outputs: {o: stdout}
    """
)


async def test_numbers_reach_command_lines_in_decimal_from_everywhere(backend: Cwltool) -> None:
    ended = await run(backend, NUMBERS, {"d": 1e-7, "l": [1e22, 5e-324, 0.5], "r": {"a": 1e-9}, "v": 1e-6})

    assert RunState.successful is ended.state
    line, made = ended.text("o").split("\n")
    words = line.split()
    assert ["0.0000001", "0.0000000001"] == words[:2]
    assert [1e22, 5e-324, 0.5] == [float(word) for word in words[2].split(",")]
    assert ["-a", "0.000000001", "0.0000001", "1000000000000000000000000", "--x=0.0000001"] == words[3:]
    assert "n=0.0000001" == made
    assert "e" not in line.replace("--x=", "")


RESOURCES = package(
    """\
    cwlVersion: v1.2
    class: CommandLineTool
    id: resources
    requirements: {ResourceRequirement: {ramMin: 254.1, tmpdirMin: 255.1, outdirMin: 256.1, coresMin: 0.5}}
    baseCommand: echo
    arguments: [$(runtime.ram), $(runtime.tmpdirSize), $(runtime.outdirSize), $(runtime.cores)]
    inputs: []
    stdout: out.txt
    outputs: {o: stdout}
    """
)


async def test_what_the_step_may_use_is_rounded_up(backend: Cwltool) -> None:
    assert "255 256 257 1\n" == (await run(backend, RESOURCES)).text("o")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("(undefined)", None),
        ("({a: undefined, b: [undefined, 1], c: -0})", {"b": [None, 1], "c": 0}),
        ("(5.0)", 5),
        ("(1e21)", 1e21),
        ("(Math.pow(2, 62))", 2**62),
        ("(123456789012345678901234567890n)", 123456789012345678901234567890),
        ("('a' + String.fromCharCode(0xd83d))", "a\ud83d"),
        ("(1 / 0)", math.inf),
        ("({a: [-1 / 0]})", {"a": [-math.inf]}),
        ("(new Date(0))", "1970-01-01T00:00:00.000Z"),
    ],
)
def test_the_value_of_an_expression_is_handed_on_as_it_is(expression: str, expected: Any) -> None:
    value = ENGINE.eval(expression)

    assert (expected, type(expected)) == (value, type(value))


def test_a_number_that_is_none_does_not_become_null() -> None:
    value: Any = ENGINE.eval("({a: [0 / 0, 'NaN']})")

    assert math.isnan(value["a"][0])
    assert "NaN" == value["a"][1]
