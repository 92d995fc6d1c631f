"""What a job may write holds against every way to write more, in a real sandbox, and the failure says what it was."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.submission.backends import FailureReason, Limits, RunState
from services.submission.backends.cwltool import Cwltool
from tests.backend_runs import keep_inputs, python_tool, run, shell_tool

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOX = """
import json, os, sys, time
box = os.getcwd()
while not os.path.exists(box + "/request.json"): box = os.path.dirname(box)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cwltool]:
    directory: Path = tmp_path_factory.mktemp("limits")
    async with Cwltool.open(directory / "runs", keep_inputs) as opened:
        yield opened
    # Python, and so pytest, cannot remove directories that are nested so deep.
    subprocess.run(["rm", "-rf", directory / "runs"], check=True)


MANY_BYTES = "its files and logs take more than the 16 MiB it may use"
WAYS = {
    "open files without a name": (
        """
        files = []
        for i in range(8):
            file = open(f"f{i}", "wb", buffering=0); os.unlink(f"f{i}"); files.append(file)
            file.write(bytes(4 << 20))
        time.sleep(60)
        """,
        MANY_BYTES,
    ),
    "mapped files without a name": (
        """
        import mmap
        maps = []
        for i in range(8):
            with open(f"f{i}", "w+b") as file:
                file.write(b"1" * (4 << 20)); file.flush()
                maps.append(mmap.mmap(file.fileno(), 4 << 20))
            os.unlink(f"f{i}")
        time.sleep(60)
        """,
        MANY_BYTES,
    ),
    "room set aside": (
        """
        import ctypes
        with open("f", "wb") as file:
            assert ctypes.CDLL(None).fallocate(file.fileno(), 1, ctypes.c_long(0), ctypes.c_long(32 << 20)) == 0
        time.sleep(60)
        """,
        MANY_BYTES,
    ),
    "sparse logs": (
        """
        with open(box + "/events.jsonl", "a") as events:
            for i in range(5):
                with open(f"{box}/logs/s{i}.log", "wb") as log: log.truncate(4 << 20)
                for state in ("running", "successful"):
                    events.write(json.dumps({"step": f"s{i}", "state": state}) + "\\n")
        """,
        MANY_BYTES,
    ),
    "too many files": (
        """
        for i in range(400): open(f"f{i}", "w")
        time.sleep(60)
        """,
        "made more than 300 files and directories",
    ),
    "directories too deep": (
        """
        for i in range(3000):
            os.mkdir("dddddddddd"); os.chdir("dddddddddd")
        time.sleep(60)
        """,
        "directories are nested too deep",
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_job_ends_when_it_writes_too_much(backend: Cwltool, way: str) -> None:
    code, message = WAYS[way]

    ended = await run(backend, python_tool(BOX + _left(code)), limits=Limits(output_mib=16, files=300))

    assert (FailureReason.OUTPUT_LIMIT_EXCEEDED, True) == (ended.failure.reason, message in ended.failure.message)
    assert sum(map(len, ended.logs.values())) < 17 << 20


def _left(code: str) -> str:
    lines = code.strip("\n").splitlines()
    margin = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[margin:] for line in lines)


FILE = "[{id: o, type: File, outputBinding: {glob: f}}]"
TWICE = "[{id: o, type: File, outputBinding: {glob: f}}, {id: p, type: File, outputBinding: {glob: f}}]"
FOLDER = "[{id: o, type: Directory, outputBinding: {glob: d}}]"


@pytest.mark.parametrize(
    ("script", "outputs"),
    [
        ("mkdir d; truncate -s 12M d/a d/b", FOLDER),
        ("head -c 9M /dev/zero > f", TWICE),
        ("mkdir d; cd d; head -c 3M /dev/zero > f; for i in 1 2 3 4 5; do ln f f$i; done", FOLDER),
    ],
    ids=["sparse", "twice", "linked"],
)
async def test_outputs_count_as_they_are_stored(backend: Cwltool, script: str, outputs: str) -> None:
    ended = await run(backend, shell_tool(script, outputs=outputs), limits=Limits(output_mib=16))

    assert FailureReason.OUTPUT_LIMIT_EXCEEDED is ended.failure.reason
    assert "16 MiB" in ended.failure.message
    assert ended.last.outputs is None


async def test_what_a_job_may_write_it_may_hand_out(backend: Cwltool) -> None:
    ended = await run(backend, shell_tool("head -c 12M /dev/zero > f", outputs=FILE), limits=Limits(output_mib=16))

    assert RunState.successful is ended.state
