"""Requests of any size are judged in bounded time, and large ones beside the event loop."""

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.struct_pb2 import Struct

from services.shared.errors import InvalidArgument
from services.submission.builtin.echo import EchoInputs
from services.submission.execution.input_types import InputType, TooManyTries, Tries
from services.submission.execution.inputs import MAX_VIOLATIONS, InputSchema
from services.submission.execution.mode import read_request
from services.submission.execution.references import fetch_inputs
from services.submission.execution.revisions import MOST_AT_ONCE, judged
from workflow_runner.v1.submission_service_pb2 import ExecuteProcessRequest

SECONDS = 1.0
"""Far more than any of these takes on a busy machine, far less than what grows with the square of the input."""


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def record(**fields: Any) -> dict[str, Any]:
    return {"type": "record", "fields": {name: {"type": kind} for name, kind in fields.items()}}


MANY_RECORDS = [record(**{f"f{number}": "int"}) for number in range(200)]
MANY_ARRAYS = [array(array(array(record(**{f"f{number}": "int"})))) for number in range(50)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (array("int"), [7] * 1_300_000),
        ("Any", [[]] * 100_001),
        (array(record(a="int")), [{"a": 1}] * 60_000),
        ("string", {"value": [1] * 200_000}),
    ],
)
def test_a_value_of_too_many_parts_is_refused_before_it_is_judged(kind: Any, value: Any) -> None:
    began = time.thread_time()

    with pytest.raises(InvalidArgument) as refused:
        InputSchema({}, {"x": {"type": kind}}).job_order({"x": value})

    assert time.thread_time() - began < SECONDS
    assert ["/inputs/x"] == [violation.pointer for violation in refused.value.violations]
    assert "Give it as a file" in refused.value.message


def test_the_parts_of_all_inputs_count_together() -> None:
    schema = InputSchema({}, {f"x{number}": {"type": array("int")} for number in range(13)})

    with pytest.raises(InvalidArgument) as refused:
        schema.job_order({f"x{number}": [7] * 60_000 for number in range(13)})

    assert ["/inputs/x1"] == [violation.pointer for violation in refused.value.violations]


@pytest.mark.parametrize("value", [[0, ""], [0, "a", 7], [True, 0, "a"], [1.5, 2**40, "a"]])
def test_a_list_may_mix_kinds_of_scalars(value: list[Any]) -> None:
    kind = array(["boolean", "int", "double", "string"])

    assert {"x": value} == InputSchema({}, {"x": {"type": kind}}).job_order({"x": value})
    with pytest.raises(InvalidArgument):
        InputSchema({}, {"x": {"type": array(["int", "string"])}}).job_order({"x": [2**40, "a"]})


def test_the_content_of_a_file_may_have_any_number_of_parts() -> None:
    points = {"type": "MultiPoint", "coordinates": [[1.5, 2.5]] * 60_000}
    value = {"value": points, "mediaType": "application/geo+json"}

    order = InputSchema({}, {"x": {"type": array("File")}}).job_order({"x": [value]})

    assert points == orjson.loads(order["x"][0]["contents"])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (array("int"), ["a"] * 100_000),
        (array("int"), [1.5] * 100_000),
        (array(["int", "boolean"]), ["a"] * 100_000),
        (array(["string", array("int"), record(a="int")]), [1.5] * 100_000),
        (array(["int", array("int")]), [["a"]] * 50_000),
        (array(record(a="int")), [{"a": "x"}] * 50_000),
        (array(record(a="int")), [{f"b{number}": 1 for number in range(50_000)}]),
        (array(MANY_RECORDS), [{"g": 1}] * 2_000),
        (array(array(array("int"))), [[["a"] * 300] * 300]),
        (MANY_ARRAYS, [[[{"g": 1}]]] * 2_000),
        ("string", ["a"] * 100_000),
        ("File", ["a"] * 100_000),
        (array("File"), ["a"] * 100_000),
    ],
)
def test_a_large_wrong_value_is_judged_in_bounded_time(kind: Any, value: Any) -> None:
    schema = InputSchema({}, {"x": {"type": kind}})
    began = time.thread_time()

    with pytest.raises(InvalidArgument) as refused:
        schema.job_order({"x": value})

    assert 1 <= len(refused.value.violations) <= MAX_VIOLATIONS
    assert time.thread_time() - began < SECONDS


def test_many_inputs_that_are_not_there_are_told_in_bounded_time() -> None:
    began = time.thread_time()

    for inputs in (InputSchema({}, {}), EchoInputs()):
        with pytest.raises(InvalidArgument) as refused:
            inputs.job_order({f"x{number}": 1 for number in range(100_000)})
        assert MAX_VIOLATIONS == len(refused.value.violations)

    assert time.thread_time() - began < SECONDS


def test_the_lists_of_echo_are_judged_in_bounded_time() -> None:
    began = time.thread_time()

    for inputs in ({"numbers": ["a"] * 50_000}, {"words": [1] * 50_000}, {"bbox": {"bbox": ["a"] * 50_000}}):
        with pytest.raises(InvalidArgument) as refused:
            EchoInputs().job_order({"message": "m", **inputs})
        assert len(refused.value.violations) <= MAX_VIOLATIONS

    assert time.thread_time() - began < SECONDS


def test_a_value_with_too_many_readings_is_refused() -> None:
    kind: Any = record(a="int")
    for number in range(4):
        kind = [array(kind), array([kind, record(**{f"b{number}": "int"})])]
    deep: Any = {"c": 1}
    for _ in range(4):
        deep = [deep] * 8
    refused = InputSchema({}, {"x": {"type": kind}})

    with pytest.raises(TooManyTries):
        InputType(kind).fits(deep, Tries(10))
    with pytest.raises(InvalidArgument):
        refused.job_order({"x": deep})


def test_only_the_first_violations_are_looked_for() -> None:
    problems = InputType(array("int")).problems(["a"] * 1000, ("x",), Tries())

    assert (("x", 0), "Expected a 32-bit integer, got the string a.") == next(problems)
    assert (("x", 1), "Expected a 32-bit integer, got the string a.") == next(problems)


class Watched:
    """Inputs that remember the threads which made their job orders."""

    def __init__(self, width: int = 1) -> None:
        self.width = width
        self.threads: list[int] = []

    def job_order(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self.threads.append(threading.get_ident())
        return inputs

    def check_outputs(self, outputs: Mapping[str, Any] | None) -> None: ...

    def takes_links(self, name: str) -> bool:
        return True


@pytest.mark.parametrize(
    ("width", "size", "here"), [(1, 100, True), (1, MOST_AT_ONCE + 1, False), (MOST_AT_ONCE, 2, False)]
)
async def test_what_takes_long_is_judged_beside_the_loop(width: int, size: int, here: bool) -> None:
    inputs = Watched(width)

    await judged(inputs, {}, size)

    assert [here] == [thread == threading.get_ident() for thread in inputs.threads]


async def test_inputs_are_shaped_and_judged_once() -> None:
    inputs = Watched()

    assert ({}, {"x": 1}) == await fetch_inputs(inputs, {"x": 1}, None)
    assert 1 == len(inputs.threads)


async def test_a_large_request_is_read_beside_the_loop() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    body = orjson.dumps({"inputs": {"x": [1] * 100_000}})
    wanted = await read_request(ExecuteProcessRequest(request=HttpBody(data=body)))
    ticking.cancel()

    assert 100_000 == len(wanted.inputs["x"])
    assert ticks > 0


async def test_typed_inputs_have_the_bounds_of_json_ones() -> None:
    large = Struct()
    large.update({"x": "a" * (5 << 20)})

    with pytest.raises(InvalidArgument) as refused:
        await read_request(ExecuteProcessRequest(inputs=large))

    assert ("INVALID_EXECUTE_REQUEST", 413) == (refused.value.reason_name, refused.value.http_status)
