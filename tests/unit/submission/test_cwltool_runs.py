"""What the cwltool backend reports of honest packages and of those that fail."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from services.submission.backends import FailureReason, Limits, RunState
from services.submission.backends.cwltool import Cwltool
from tests.backend_runs import (
    ECHO,
    execution,
    follow,
    keep_inputs,
    launch,
    package,
    path_of,
    python_tool,
    run,
    shell_tool,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def three_steps(code: int) -> bytes:
    """A chain of three steps of which the second ends with an exit code."""
    tool = (
        "{class: CommandLineTool, baseCommand: [sh, -c, 'echo to the log >&2; echo data; exit $0'],"
        " inputs: {code: {type: int, inputBinding: {}}, after: 'File?'}, stdout: out.txt, outputs: {out: stdout}}"
    )
    return package(
        f"""\
        cwlVersion: v1.2
        class: Workflow
        inputs: []
        outputs:
          last: {{type: File, outputSource: third/out}}
        steps:
          first: {{run: {tool}, in: {{code: {{default: 0}}}}, out: [out]}}
          second: {{run: {tool}, in: {{code: {{default: {code}}}, after: first/out}}, out: [out]}}
          third: {{run: {tool}, in: {{code: {{default: 0}}, after: second/out}}, out: [out]}}
        """
    )


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(runs_dir: Path) -> AsyncIterator[Cwltool]:
    async with Cwltool.open(runs_dir, keep_inputs) as opened:
        yield opened


async def test_a_tool_hands_out_its_output_and_is_one_step(backend: Cwltool) -> None:
    ended = await run(backend, ECHO, {"message": "Grüße"})

    assert ended.state is RunState.successful
    assert ended.text("said") == "Grüße\n"
    assert ended.outputs["said"]["size"] == len("Grüße\n".encode())
    assert ended.states == [("echo", "running"), ("echo", "successful")]
    assert ended.steps[-1].exit_code == 0
    assert ended.progress[-1] == 100


async def test_a_package_in_json_may_escape_every_character(backend: Cwltool) -> None:
    document = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "baseCommand": ["printf", "%s", "T😀"],
        "inputs": {},
        "outputs": {"said": "stdout"},
    }

    ended = await run(backend, json.dumps(document).encode(), {})

    assert "T😀" == ended.text("said")


async def test_a_chain_reports_its_steps_in_order_with_their_logs(backend: Cwltool) -> None:
    ended = await run(backend, three_steps(0))

    assert ended.state is RunState.successful
    assert ended.states == [
        (step, state) for step in ("first", "second", "third") for state in ("running", "successful")
    ]
    assert ended.logs == dict.fromkeys(("first", "second", "third"), b"to the log\n")
    assert {0, 100} <= set(ended.progress) or ended.progress[-1] == 100


async def test_a_failing_step_is_named_with_its_exit_code_and_its_last_words(backend: Cwltool) -> None:
    ended = await run(backend, three_steps(3))

    assert ended.state is RunState.failed
    assert ended.failure.reason is FailureReason.STEP_FAILED
    assert ended.failure.message == "Step second ended with exit code 3."
    assert (ended.failure.step, ended.failure.exit_code) == ("second", 3)
    assert ended.failure.log_tail == ("to the log",)
    assert ended.states[-1] == ("second", "failed")
    assert ended.steps[-1].exit_code == 3


async def test_the_log_tail_is_the_last_twenty_lines(backend: Cwltool) -> None:
    ended = await run(backend, shell_tool("seq 100; printf '\\033[31mred\\033[0m' >&2; exit 9"))

    assert ended.failure.log_tail == (*(str(n) for n in range(82, 101)), "red")


async def test_a_step_ended_by_a_signal_says_which(backend: Cwltool) -> None:
    ended = await run(backend, shell_tool("kill -TERM $$"))

    assert ended.failure.exit_code == 143
    assert "SIGTERM" in ended.failure.message


async def test_a_missing_program_is_named(backend: Cwltool) -> None:
    ended = await run(backend, ECHO.replace(b"baseCommand: echo", b"baseCommand: no-such-program"), {"message": ""})

    assert ended.failure.reason is FailureReason.STEP_FAILED
    assert ended.failure.message == "Step echo could not start: there is no program no-such-program here."


async def test_a_missing_output_is_the_reason_only_when_the_tool_ended_well(backend: Cwltool) -> None:
    outputs = "{found: {type: File, outputBinding: {glob: nothing.tif}}}"

    well = await run(backend, shell_tool("true", outputs=outputs))
    badly = await run(backend, shell_tool("exit 4", outputs=outputs))

    assert well.failure.reason is FailureReason.OUTPUT_MISSING
    assert "nothing.tif" in well.failure.message
    assert badly.failure.message == "Step main ended with exit code 4."


async def test_a_scatter_numbers_its_steps_and_counts_them(backend: Cwltool) -> None:
    ended = await run(
        backend,
        package(
            """\
            cwlVersion: v1.2
            class: Workflow
            requirements: {ScatterFeatureRequirement: {}}
            inputs: {words: "string[]"}
            outputs: {all: {type: "File[]", outputSource: say/out}}
            steps:
              say:
                scatter: word
                in: {word: words}
                out: [out]
                run:
                  class: CommandLineTool
                  baseCommand: [echo]
                  inputs: {word: {type: string, inputBinding: {}}}
                  stdout: out.txt
                  outputs: {out: stdout}
            """
        ),
        {"words": ["a", "b", "c"]},
    )

    assert ended.state is RunState.successful, ended.last
    assert {step for step, state in ended.states if state == "successful"} == {"say", "say_2", "say_3"}
    assert [path_of(file).read_text() for file in ended.outputs["all"]] == ["a\n", "b\n", "c\n"]
    assert len({path_of(file) for file in ended.outputs["all"]}) == 3


async def test_a_scatter_over_nothing_is_skipped(backend: Cwltool) -> None:
    document = b"""\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {words: "string[]"}
outputs: {all: {type: "string[]", outputSource: say/out}}
steps:
  say:
    scatter: word
    in: {word: words}
    out: [out]
    run: {class: ExpressionTool, requirements: {InlineJavascriptRequirement: {}}, inputs: {word: string},
          outputs: {out: string}, expression: "${return {out: inputs.word};}"}
"""
    ended = await run(backend, document, {"words": []})

    assert ended.outputs == {"all": []}
    assert ended.states == [("say", "skipped")]
    assert ended.progress[-1] == 100


NESTED = b"""\
cwlVersion: v1.2
$graph:
  - class: ExpressionTool
    id: double
    requirements: {InlineJavascriptRequirement: {expressionLib: ["function twice(x) { return 2 * x; }"]}}
    inputs: {number: int}
    outputs: {number: int}
    expression: "${ return {number: twice(inputs.number)}; }"
  - class: Workflow
    id: inner
    inputs: {number: int}
    outputs: {number: {type: int, outputSource: again/number}}
    steps:
      once: {run: "#double", in: {number: number}, out: [number]}
      again: {run: "#double", in: {number: once/number}, out: [number]}
  - class: Workflow
    id: outer
    requirements: {SubworkflowFeatureRequirement: {}, InlineJavascriptRequirement: {}}
    inputs: {number: int, also: boolean}
    outputs: {number: {type: int, outputSource: nested/number}, maybe: {type: "int?", outputSource: optional/number}}
    steps:
      nested: {run: "#inner", in: {number: number}, out: [number]}
      optional: {run: "#double", when: "$(inputs.also)", in: {number: number, also: also}, out: [number]}
"""


async def test_a_nested_workflow_with_expressions_and_a_condition(backend: Cwltool) -> None:
    ended = await run(backend, NESTED, {"number": 21, "also": False}, workflow_id="outer")

    assert ended.outputs == {"number": 84, "maybe": None}
    assert sorted(ended.states) == sorted(
        [("optional", "skipped")] + [(step, state) for step in ("once", "again") for state in ("running", "successful")]
    )


async def test_a_document_with_several_processes_runs_the_one_that_is_asked_for(backend: Cwltool) -> None:
    ended = await run(backend, NESTED, {"number": 4}, workflow_id="double")

    assert ended.outputs == {"number": 8}


async def test_an_expression_that_throws_is_named_with_its_step(backend: Cwltool) -> None:
    ended = await run(
        backend, NESTED.replace(b"return 2 * x;", b"return x.y.z;"), {"number": 1, "also": True}, workflow_id="inner"
    )

    assert ended.failure.reason is FailureReason.EXPRESSION_FAILED
    assert ended.failure.step == "once"
    assert "undefined" in ended.failure.message


async def test_an_expression_in_the_arguments_of_a_tool_is_named_with_its_step(backend: Cwltool) -> None:
    ended = await run(
        backend,
        ECHO.replace(b"baseCommand: echo", b"baseCommand: echo\narguments: [$(inputs.nothing.at.all)]"),
        {"message": ""},
    )

    assert ended.failure.reason is FailureReason.EXPRESSION_FAILED
    assert ended.failure.step == "echo"


async def test_a_required_container_is_refused_with_the_reason(backend: Cwltool) -> None:
    document = three_steps(0).replace(b"steps:", b"requirements: {DockerRequirement: {dockerPull: debian}}\nsteps:")

    ended = await run(backend, document)

    assert ended.failure.reason is FailureReason.UNSUPPORTED_FEATURE
    assert ended.failure.message == (
        "Step first requires a container (DockerRequirement), and no container engine is configured."
    )
    assert ended.failure.step == "first"


async def test_a_container_that_is_only_a_hint_is_ignored(backend: Cwltool) -> None:
    ended = await run(
        backend,
        ECHO.replace(b"inputs:", b"hints: {DockerRequirement: {dockerPull: debian}}\ninputs:"),
        {"message": "x"},
    )

    assert ended.text("said") == "x\n"


@pytest.mark.parametrize(
    ("asked", "named"),
    [("{ResourceRequirement: {coresMin: 64}}", "64 cores"), ("{ResourceRequirement: {ramMin: 999999}}", "999999 MiB")],
)
async def test_a_step_that_needs_more_than_the_job_may_use_is_refused(backend: Cwltool, asked: str, named: str) -> None:
    ended = await run(backend, shell_tool("true", requirements=asked))

    assert ended.failure.reason is FailureReason.UNSUPPORTED_FEATURE
    assert named in ended.failure.message
    assert ended.failure.step == "main"


async def test_a_package_that_asks_for_nothing_runs_in_less_than_the_default_of_the_engine(backend: Cwltool) -> None:
    ended = await run(backend, shell_tool("true", version="v1.0"), limits=Limits(memory_mib=200, cores=0.5))

    assert ended.state is RunState.successful


async def test_too_much_memory_is_recognized(backend: Cwltool) -> None:
    hungry = python_tool("x = bytearray(900 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1")

    ended = await run(backend, hungry, limits=Limits(memory_mib=128))

    assert ended.failure.reason is FailureReason.MEMORY_EXCEEDED
    assert ended.failure.step == "main"
    assert ended.states[-1] == ("main", "failed")


async def test_a_job_ends_when_its_time_is_over(backend: Cwltool) -> None:
    ended = await run(backend, shell_tool("trap '' TERM; sleep 600"), limits=Limits(time=timedelta(seconds=1)))

    assert ended.failure.reason is FailureReason.TIME_LIMIT_EXCEEDED
    assert ended.failure.message == "The job was ended after 1 second, the longest it may take."
    assert ended.failure.step == "main"
    assert ended.states == [("main", "running"), ("main", "failed")]


async def test_a_file_larger_than_the_output_limit_ends_the_step(backend: Cwltool) -> None:
    ended = await run(backend, shell_tool("head -c 20M /dev/zero > big"), limits=Limits(output_mib=8))

    assert ended.failure.reason is FailureReason.OUTPUT_LIMIT_EXCEEDED


async def test_many_files_larger_than_the_output_limit_end_the_job(backend: Cwltool) -> None:
    script = "i=0; while :; do i=$((i+1)); head -c 1M /dev/zero > f$i || exit 1; done"

    ended = await run(backend, shell_tool(script), limits=Limits(output_mib=16))

    assert ended.failure.reason is FailureReason.OUTPUT_LIMIT_EXCEEDED
    assert "16 MiB" in ended.failure.message


async def test_the_number_of_processes_is_limited(backend: Cwltool) -> None:
    script = "i=0; while [ $i -lt 300 ]; do sleep 600 & i=$((i+1)); done; echo all started"

    ended = await run(backend, shell_tool(script), limits=Limits(processes=20))

    assert b"all started" not in ended.logs["main"]
    assert ended.state is RunState.failed


async def test_a_long_log_comes_in_pieces_and_whole(backend: Cwltool) -> None:
    ended = await run(backend, shell_tool("seq 500000"))

    assert ended.logs["main"] == b"".join(b"%d\n" % n for n in range(1, 500001))


async def test_a_cursor_reads_on_where_it_stood(backend: Cwltool) -> None:
    handle = await launch(backend, execution(three_steps(0)))
    whole = await follow(backend, handle)

    again = await follow(backend, handle)
    nothing = await backend.observe(handle, whole.last.cursor)

    assert again.steps == whole.steps
    assert again.logs == whole.logs
    assert (nothing.steps, nothing.logs, nothing.drained) == ((), (), True)
    assert nothing.state is RunState.successful


async def test_inputs_that_do_not_fit_are_refused_in_words(backend: Cwltool) -> None:
    ended = await run(backend, ECHO, {"message": 7})

    assert ended.failure.reason is FailureReason.INPUT_UNAVAILABLE
    assert "message" in ended.failure.message


@pytest.mark.parametrize(
    "document", [b"cwlVersion: v9\nclass: CommandLineTool\n", b"[1, 2", b"\xff\xfe", b"", b"a: " * 3000]
)
async def test_what_is_not_a_package_is_refused_in_words(backend: Cwltool, document: bytes) -> None:
    ended = await run(backend, document)

    assert ended.failure.reason is FailureReason.INVALID_PACKAGE
    assert ended.failure.message


async def test_a_step_finds_a_python_and_the_programs_of_the_system(backend: Cwltool) -> None:
    document = package(
        """\
        cwlVersion: v1.2
        class: CommandLineTool
        baseCommand: [sh, -c, "command -v python3 sed awk && python3 -c 'print(40 + 2)'"]
        inputs: []
        stdout: found.txt
        outputs: {found: stdout}
        """
    )

    ended = await run(backend, document)

    assert ended.text("found").splitlines()[-1] == "42"


async def test_a_step_whose_inputs_cannot_be_made_is_named(backend: Cwltool) -> None:
    value = b"in: {number: {source: number, valueFrom: '$(self.a.b)'}}, out: [number]}\n      optional"

    ended = await run(
        backend,
        NESTED.replace(b"in: {number: number}, out: [number]}\n      optional", value).replace(
            b"{SubworkflowFeatureRequirement", b"{StepInputExpressionRequirement: {}, SubworkflowFeatureRequirement"
        ),
        {"number": 1, "also": False},
        workflow_id="outer",
    )

    assert ended.failure.reason is FailureReason.EXPRESSION_FAILED
    assert ended.failure.step == "nested"


async def test_a_workflow_whose_outputs_cannot_be_picked_says_so(backend: Cwltool) -> None:
    both = b"outputSource: [optional/number, nested/number], pickValue: the_only_non_null"
    document = NESTED.replace(b"outputSource: optional/number", both).replace(
        b"{SubworkflowFeatureRequirement", b"{MultipleInputFeatureRequirement: {}, SubworkflowFeatureRequirement"
    )

    ended = await run(backend, document, {"number": 1, "also": True}, workflow_id="outer")

    assert ended.state is RunState.failed
    assert "Expected only one source" in ended.failure.message


async def test_a_package_in_json_with_tabs_runs(backend: Cwltool) -> None:
    document = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "baseCommand": ["echo", "tabs"],
        "inputs": [],
        "stdout": "out.txt",
        "outputs": {"out": {"type": "stdout"}},
    }

    ended = await run(backend, json.dumps(document, indent="\t").encode())

    assert ended.text("out") == "tabs\n"
