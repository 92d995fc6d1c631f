"""Each failure says its real cause, and who can change it. In a real sandbox."""

import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.submission.backends import FailureReason, Limits, RunState
from services.submission.backends.cwltool import Cwltool
from tests.backend_runs import keep_inputs, package, python_tool, run, shell_tool

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOX = """
import json, os, sys, time
box = os.getcwd()
while not os.path.exists(box + "/request.json"): box = os.path.dirname(box)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cwltool]:
    directory: Path = tmp_path_factory.mktemp("failures")
    async with Cwltool.open(directory / "runs", keep_inputs) as opened:
        yield opened


async def test_a_tool_never_finds_the_python_of_this_installation(backend: Cwltool) -> None:
    programs = ["python", "python3", "cwltool", "workflow-runner", "pytest"]
    script = f"echo $PATH; for p in {' '.join(programs)}; do command -v $p || true; done"

    ended = await run(backend, shell_tool(script))

    said = ended.logs["main"].decode().split()
    assert "/usr/local/bin:/usr/bin:/bin" == said[0]
    assert os.path.dirname(sys.executable) not in {os.path.dirname(program) for program in said[1:]}


CATASTROPHE = """\
cwlVersion: v1.2
class: ExpressionTool
id: slow
requirements: {InlineJavascriptRequirement: {}}
inputs: []
outputs: {y: Any}
expression: "${ return {y: /^(a+)+$/.test(new Array(40).join('a')+'!')}; }"
"""


async def test_a_regular_expression_cannot_outlast_the_time_of_expressions(backend: Cwltool) -> None:
    began = time.monotonic()

    ended = await run(backend, package(CATASTROPHE))

    assert FailureReason.EXPRESSION_FAILED is ended.failure.reason
    assert "An expression of step slow took longer than 10 seconds, the longest it may take." == ended.failure.message
    assert time.monotonic() - began < 20
    assert [("slow", "running"), ("slow", "failed")] == ended.states


async def test_the_time_limit_of_a_tool_is_told_as_that(backend: Cwltool) -> None:
    for script in ("sleep 30", "trap 'exit 3' TERM; sleep 30 & wait"):
        ended = await run(backend, shell_tool(script, requirements="{ToolTimeLimit: {timelimit: 1}}"))

        assert FailureReason.TIME_LIMIT_EXCEEDED is ended.failure.reason
        assert "after 1 s, the longest that the package lets it take (ToolTimeLimit)" in ended.failure.message


HINTED = """\
cwlVersion: v1.2
class: CommandLineTool
id: main
hints: {{DockerRequirement: {{dockerPull: "ghcr.io/example/water:1.0"}}}}
baseCommand: {command}
inputs: []
outputs: []
"""


@pytest.mark.parametrize(
    ("command", "said"),
    [("[convert.sh]", "there is no program convert.sh here."), ("[sh, -c, 'exit 4']", "ended with exit code 4.")],
)
async def test_an_image_that_is_not_run_is_named_in_the_failure(backend: Cwltool, command: str, said: str) -> None:
    ended = await run(backend, package(HINTED.format(command=command)))

    named = " The package names the image ghcr.io/example/water:1.0 for it, which this installation does not run."
    assert FailureReason.STEP_FAILED is ended.failure.reason
    assert ended.failure.message.endswith(said + named)


async def test_a_network_that_is_not_there_is_named_in_the_failure(backend: Cwltool) -> None:
    asks = "{NetworkAccess: {networkAccess: true}}"

    refused = await run(backend, shell_tool("exit 6", requirements=asks))
    without = await run(backend, shell_tool("exit 6"))
    granted = await run(backend, shell_tool("exit 6", requirements=asks), limits=Limits(network=True))

    assert "jobs of this workspace have none; the operator can allow it" in refused.failure.message
    assert "Step main ended with exit code 6." == without.failure.message
    assert bool(backend.network_lacks) == ("this installation has none to give" in granted.failure.message)


async def test_who_asks_for_more_than_there_is_learns_who_can_change_it(backend: Cwltool) -> None:
    asks = "{ResourceRequirement: {ramMin: 8192}}"

    ended = await run(backend, shell_tool("true", requirements=asks), limits=Limits(memory_mib=4096))

    assert "at least 8192 MiB of memory, and the job may use 4096" in ended.failure.message
    assert "The operator can allow more (SUBMISSION_LIMITS__MEMORY_MIB)." in ended.failure.message


async def test_a_step_that_kills_its_engine_has_failed_itself(backend: Cwltool) -> None:
    ended = await run(backend, shell_tool("kill -9 $PPID; sleep 60"))

    assert (FailureReason.STEP_FAILED, "main") == (ended.failure.reason, ended.failure.step)
    assert ended.failure.message.startswith(
        "The engine that runs the steps was ended by signal SIGKILL: probably step main did that"
    )


async def test_a_step_that_stops_its_engine_ends_the_job(backend: Cwltool) -> None:
    began = time.monotonic()

    ended = await run(backend, shell_tool("kill -STOP $PPID; sleep 600"))

    assert (FailureReason.STEP_FAILED, "main") == (ended.failure.reason, ended.failure.step)
    assert "step main stopped the engine that runs the steps" in ended.failure.message
    assert time.monotonic() - began < 30


async def test_a_full_tmp_is_no_full_disk(backend: Cwltool) -> None:
    script = "head -c 200M /dev/zero > /tmp/f || { sleep 0.1; exit 1; }"

    ended = await run(backend, shell_tool(script), limits=Limits(memory_mib=64))

    assert ended.failure.reason in (FailureReason.OUTPUT_LIMIT_EXCEEDED, FailureReason.MEMORY_EXCEEDED)
    assert "64 MiB" in ended.failure.message


SCATTERED = """\
cwlVersion: v1.2
class: Workflow
id: main
requirements: {ScatterFeatureRequirement: {}}
inputs: {areas: "string[]?"}
outputs: []
steps:
  each:
    scatter: area
    in: {area: areas}
    out: []
    run: {class: CommandLineTool, inputs: {area: {type: string, inputBinding: {}}}, outputs: [], baseCommand: echo}
"""


async def test_a_scatter_over_nothing_given_names_the_input(backend: Cwltool) -> None:
    ended = await run(backend, package(SCATTERED))

    assert FailureReason.INPUT_UNAVAILABLE is ended.failure.reason
    assert "Step each scatters over the input areas, which has no value. Give it one." == ended.failure.message


async def test_a_result_that_was_replaced_leads_nowhere(backend: Cwltool, tmp_path: Path) -> None:
    secret = tmp_path / "outputs" / "secret"
    secret.parent.mkdir()
    secret.write_text("secret")
    code = """
    result = json.dumps({"outputs": {"o": {"class": "File", "location": PLACE}}})
    if os.fork():
        time.sleep(30)
    open(box + "/result.json", "w").write(result)
    LINK
    os.kill(os.getppid(), 9)
    """
    for place, link in (
        ("'file:///etc/passwd'", "pass"),
        ("'file://' + box + '/package.cwl'", "pass"),
        (
            "'file://' + box + '/work/outputs/secret'",
            f"os.rename(box + '/work', box + '/old'); os.symlink({json.dumps(str(tmp_path))}, box + '/work')",
        ),
    ):
        lines = code.replace("PLACE", place).replace("LINK", link)

        ended = await run(backend, python_tool(BOX + "\n".join(line[4:] for line in lines.splitlines())))

        assert RunState.failed is ended.state
        assert ended.last.outputs is None


async def test_what_is_wrong_with_an_output_is_told_once(backend: Cwltool) -> None:
    pipe = shell_tool("mkfifo out.txt", outputs="[{id: o, type: File, outputBinding: {glob: out.txt}}]")

    ended = await run(backend, pipe)

    assert FailureReason.OUTPUT_REFUSED is ended.failure.reason
    assert (
        "Step main ended well, but its outputs could not be collected: output o: out.txt is neither a file nor a "
        "directory." == ended.failure.message
    )


NUL = """\
cwlVersion: v1.2
class: CommandLineTool
id: nul
baseCommand: echo
inputs: {m: string}
arguments: [$(inputs.m)]
outputs: {}
"""


async def test_a_character_that_no_argument_can_have_is_named(backend: Cwltool) -> None:
    ended = await run(backend, package(NUL), {"m": "a\0b"})

    assert FailureReason.STEP_FAILED is ended.failure.reason
    assert "character U+0000, which no program can be given" in ended.failure.message
