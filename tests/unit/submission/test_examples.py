"""The examples: each is read, takes its own inputs, and runs with the CWL reference runner without a container."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from services.submission.execution.inputs import InputSchema, parse_execute_request
from services.submission.packages.inspection import inspect_package
from services.submission.staging.fetcher import Fetcher
from services.submission.staging.files import StageIn

EXAMPLES = Path(__file__).parents[3] / "examples"


async def run(name: str, directory: Path) -> tuple[int, dict[str, Any], str]:
    package = EXAMPLES / name / "package.cwl"
    asked = {"workflow": None, "process_id": None, "process_description": None}
    found = inspect_package(package.read_bytes(), "application/cwl+yaml", **asked)
    schema = InputSchema(found["description"], found["cwl_inputs"])
    inputs = parse_execute_request((EXAMPLES / name / "inputs.json").read_bytes()).inputs
    order = await StageIn(Fetcher())(schema.job_order(inputs), directory / "in")
    (directory / "order.json").write_text(json.dumps(order))
    runner = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("cwltool")), "--no-container", "--outdir", str(directory / "out")),
        *(f"{package}#{found['workflow_id']}", str(directory / "order.json")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8"},
    )
    output, log = await runner.communicate()
    return runner.returncode or 0, json.loads(output or b"{}"), log.decode()


def content(output: dict[str, Any]) -> bytes:
    return Path(output["path"]).read_bytes()


async def test_the_raster_is_measured_and_drawn(tmp_path):
    code, outputs, _ = await run("raster-statistics", tmp_path)

    statistics = json.loads(content(outputs["statistics"]))
    assert 0 == code
    assert (64, 48, 2994, 0) == tuple(statistics[name] for name in ("width", "height", "count", "nodata"))
    assert [-3.6, 55.1568, -3.5424, 55.2] == statistics["bbox"]
    assert statistics["min"] < statistics["mean"] < statistics["max"]
    assert content(outputs["preview"]).startswith(b"\x89PNG")


async def test_the_tiles_are_classified_and_merged(tmp_path):
    code, outputs, log = await run("water-mask", tmp_path)

    summary = json.loads(content(outputs["summary"]))
    rows = content(outputs["mask"]).decode().split()
    assert 0 == code
    assert "[job classify_12] completed success" in log
    assert (12, 32 * 24) == (summary["tiles"], summary["water"] + summary["land"] + summary["unknown"])
    assert summary["water"] * 100 == summary["water_area"]
    assert [32] * 24 == [len(row.split(",")) for row in rows]


@pytest.mark.skipif(not any((Path(p) / "node").exists() for p in os.environ["PATH"].split(":")), reason="needs Node.js")
async def test_the_scene_is_reported(tmp_path):
    code, outputs, _ = await run("scene-report", tmp_path)

    assert 0 == code
    assert ("S2B", 94, "30UXC") == tuple(outputs["parts"][name] for name in ("mission", "orbit", "tile"))
    assert content(outputs["report"]).startswith(b"Scene S2B over 30UXC\nbaseline: 0511\n")


async def test_the_second_step_fails_with_exit_code_3(tmp_path):
    code, _, log = await run("failing-step", tmp_path)

    assert 1 == code
    assert "[job prepare] completed success" in log
    assert "[job calibrate] exited with status: 3" in log
    assert "[job publish]" not in log
