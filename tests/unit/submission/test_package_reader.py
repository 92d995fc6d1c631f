"""The reader of packages: children that may die, a warm process that may die, and nothing within their reach."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from services.shared.errors import InvalidArgument
from services.submission.packages import PackageReader

EXAMPLES = Path(__file__).parents[3] / "examples"
YAML = "application/cwl+yaml"
JSON = "application/cwl+json"
TOOL = b"cwlVersion: v1.2\nclass: CommandLineTool\nid: tool\nbaseCommand: 'true'\ninputs: {}\noutputs: {}\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader() -> AsyncIterator[PackageReader]:
    async with PackageReader() as opened:
        await opened.open()
        yield opened


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXAMPLES.glob("*/package.cwl")))
async def test_the_examples_are_read(reader, name):
    document = (EXAMPLES / name / "package.cwl").read_bytes()

    package = await reader.read(document, YAML)

    assert (name, document, ()) == (package.process_id, package.document, package.warnings)
    assert "0.0.0" != package.description["version"]


async def test_a_refusal_has_its_reason_and_the_places_of_the_offences(reader):
    document = TOOL.replace(b"inputs: {}", b"inputs: {f: {type: File, default: {class: File, path: /etc/passwd}}}")

    with pytest.raises(InvalidArgument) as caught:
        await reader.read(document, YAML)

    assert "PACKAGE_REFUSED" == caught.value.reason_name
    assert ["/inputs/f/default/path"] == [violation.pointer for violation in caught.value.violations]
    assert "line 5, column 55" in caught.value.message


async def test_braces_of_the_author_do_not_disturb_the_message(reader):
    with pytest.raises(InvalidArgument) as caught:
        await reader.read(TOOL.replace(b"id: tool", b"id: '{0}{x}'"), YAML)

    assert "{0}{x} cannot be the id of a process" in caught.value.message


async def test_a_large_package_is_refused_without_asking_a_child():
    with pytest.raises(InvalidArgument) as caught:
        await PackageReader().read(b" " * ((1 << 20) + 1), YAML)

    assert ("PACKAGE_TOO_LARGE", 413) == (caught.value.reason_name, caught.value.http_status)


async def test_many_packages_at_once_are_all_read(reader):
    packages = await asyncio.gather(*(reader.read(TOOL, YAML, process_id=f"p{n}") for n in range(20)))

    assert [f"p{n}" for n in range(20)] == [package.process_id for package in packages]


async def test_the_readers_have_no_files_no_network_and_no_environment(reader):
    nursery = reader._nursery.pid

    environment, status = await asyncio.to_thread(
        lambda: (Path(f"/proc/{nursery}/environ").read_bytes(), Path(f"/proc/{nursery}/status").read_text())
    )

    if "CapEff:\t0000000000000000" not in status:
        pytest.skip("this machine forbids namespaces, and the reader said so")
    assert not any(word in environment for word in (b"HOME", b"PATH", b"TOKEN", b"SUBMISSION"))
    assert "NoNewPrivs:\t1" in status
    assert [] == os.listdir(f"/proc/{nursery}/root")
    assert os.readlink(f"/proc/{nursery}/ns/net") != os.readlink("/proc/self/ns/net")


def slow_package() -> bytes:
    """Few bytes, and thousands of inputs once the nested workflows are written out."""

    def workflow(name: str, run: str) -> dict[str, Any]:
        steps = {f"s{n}": {"run": run, "in": {}, "out": []} for n in range(30)}
        subworkflows: dict[str, Any] = {"SubworkflowFeatureRequirement": {}}
        return {
            "class": "Workflow",
            "id": name,
            "requirements": subworkflows,
            "inputs": {},
            "outputs": {},
            "steps": steps,
        }

    inputs = {f"i{n}": "string?" for n in range(300)}
    tool = {"class": "CommandLineTool", "id": "tool", "baseCommand": "true", "inputs": inputs, "outputs": {}}
    return orjson.dumps(
        {"cwlVersion": "v1.2", "$graph": [workflow("main", "#inner"), workflow("inner", "#tool"), tool]}
    )


async def test_a_package_that_takes_too_much_time_is_refused_and_the_next_one_is_read(reader):
    with pytest.raises(InvalidArgument) as caught:
        await asyncio.wait_for(reader.read(slow_package(), JSON), 120)

    assert "INVALID_PACKAGE" == caught.value.reason_name
    assert "time and memory" in caught.value.message
    assert "tool" == (await reader.read(TOOL, YAML)).process_id


async def test_a_child_that_is_killed_gives_a_refusal_and_never_a_hang(reader):
    earlier = await asyncio.to_thread(children_of, reader)
    reading = asyncio.ensure_future(reader.read(slow_package(), JSON))
    child = await child_beside(reader, earlier)

    os.kill(child, signal.SIGKILL)

    with pytest.raises(InvalidArgument) as caught:
        await asyncio.wait_for(reading, 5)
    assert "INVALID_PACKAGE" == caught.value.reason_name


def children_of(reader: PackageReader) -> set[int]:
    nursery = reader._nursery.pid
    return {int(child) for child in Path(f"/proc/{nursery}/task/{nursery}/children").read_text().split()}


async def child_beside(reader: PackageReader, earlier: set[int]) -> int:
    async with asyncio.timeout(10):
        # The kernel tells nobody of it.
        while not (found := await asyncio.to_thread(children_of, reader) - earlier):
            await asyncio.sleep(0.01)
    return found.pop()


async def test_the_warm_process_is_started_again_when_it_died(reader):
    first = reader._nursery
    first.kill()
    await first.wait()

    package = await reader.read(TOOL, YAML)

    assert "tool" == package.process_id
    assert first.pid != reader._nursery.pid


async def test_the_warm_process_ends_with_its_reader():
    reader = PackageReader()
    await reader.open()
    nursery = reader._nursery

    await reader.close()

    assert nursery.returncode is not None


async def test_a_reader_may_be_closed_while_it_warms_up():
    async with PackageReader() as reader:
        await asyncio.sleep(0.05)

    assert reader._nursery is None
