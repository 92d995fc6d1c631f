"""Packages that try to read what is not theirs, or to hurt the service. Each fails cleanly and gets nothing."""

import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.submission.backends import FailureReason, Limits, RunState
from services.submission.backends.cwltool import Cwltool, reading
from tests.backend_runs import Ended, keep_inputs, python_tool, run, shell_tool

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "the-secret-of-the-service"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    (directory / "secret.txt").write_text(SECRET)
    (directory / "secret.txt").chmod(0o644)
    directory.chmod(0o755)
    return directory


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(data_dir: Path) -> AsyncIterator[Cwltool]:
    async with Cwltool.open(data_dir / "runs", keep_inputs) as opened:
        yield opened


def seen_of(ended: Ended) -> str:
    """Everything a user gets to see of a run."""
    found = [repr(ended.last), repr(ended.steps), repr(ended.logs)]
    if ended.last.output_root is not None:
        found += [path.read_text("utf-8", "replace") for path in ended.last.output_root.rglob("*") if path.is_file()]
    return "\n".join(found)


CAT = """
cwlVersion: v1.2
class: CommandLineTool
id: main
baseCommand: cat
inputs: {file: {type: File, inputBinding: {}, loadContents: true, default: DEFAULT}}
stdout: copy.txt
outputs: {copy: stdout}
"""


@pytest.mark.parametrize(
    "default",
    [
        "{class: File, location: 'file://SECRET'}",
        "{class: File, path: 'SECRET'}",
        "{class: File, location: '../../../../secret.txt'}",
        "{class: File, location: 'http://127.0.0.1:1/latest/meta-data'}",
        "{class: File, location: 'file:///proc/1/environ'}",
        "{class: File, location: 'file:///etc/passwd'}",
        "{class: File, location: 'file:///proc/self/root/etc/passwd'}",
    ],
)
async def test_a_default_file_of_the_machine_is_not_read(backend: Cwltool, data_dir: Path, default: str) -> None:
    document = CAT.replace("DEFAULT", default.replace("SECRET", str(data_dir / "secret.txt")))

    ended = await run(backend, document.encode())

    assert ended.state is RunState.failed
    assert SECRET not in seen_of(ended)
    assert "job:x:" not in seen_of(ended)
    assert ended.failure.reason in (FailureReason.INPUT_UNAVAILABLE, FailureReason.INVALID_PACKAGE)


@pytest.mark.parametrize(
    "reference",
    [
        "doc: {$include: 'file://SECRET'}",
        "doc: {$include: ../../../../secret.txt}",
        "requirements: [{$import: 'file://SECRET'}]",
        "doc: {$include: 'http://127.0.0.1:1/x'}",
        "doc: {$include: /etc/passwd}",
        "doc: {$include: request.json}",
        "hints: [{$import: 'http://127.0.0.1:1/x'}]",
    ],
)
async def test_a_package_cannot_include_anything(backend: Cwltool, data_dir: Path, reference: str) -> None:
    document = "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: 'true'\ninputs: []\noutputs: []\n" + reference

    ended = await run(backend, document.replace("SECRET", str(data_dir / "secret.txt")).encode())

    assert ended.failure.reason is FailureReason.INVALID_PACKAGE
    assert "outside of the package" in ended.failure.message
    assert SECRET not in seen_of(ended)


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/tool.cwl", "file:///etc/hostname", "../tool.cwl", "other.cwl"])
async def test_a_step_cannot_run_another_document(backend: Cwltool, target: str) -> None:
    document = f"""
cwlVersion: v1.2
class: Workflow
inputs: []
outputs: []
steps: {{one: {{run: '{target}', in: [], out: []}}}}
"""

    ended = await run(backend, document.encode())

    assert ended.failure.reason is FailureReason.INVALID_PACKAGE


ANY_FILE = "{found: {type: File, outputBinding: {glob: out.txt}}}"
ANY_DIRECTORY = "{found: {type: Directory, outputBinding: {glob: out}}}"


@pytest.mark.parametrize(
    ("script", "outputs"),
    [
        ("ln -s /etc/passwd out.txt", ANY_FILE),
        ("ln -s SECRET out.txt", ANY_FILE),
        ("ln -s /proc/self/environ out.txt", ANY_FILE),
        ("mkdir out && ln -s /etc/passwd out/x", ANY_DIRECTORY),
        ("mkdir out && ln -s /etc out/x", ANY_DIRECTORY),
        ("mkdir out && ln -s SECRET out/x", ANY_DIRECTORY),
        ("mkdir out && ln -s . out/x", ANY_DIRECTORY),
        ("mkdir out && mkfifo out/x", ANY_DIRECTORY),
        ("ln -s / out", ANY_DIRECTORY),
        ("mkfifo out.txt", ANY_FILE),
        ("true", "{found: {type: File, outputBinding: {glob: /etc/passwd}}}"),
        ("true", "{found: {type: File, outputBinding: {glob: ../../../../../../../../etc/passwd}}}"),
        ("true", "{found: {type: 'File[]', outputBinding: {glob: '../../*'}}}"),
        ("true", "{found: {type: File, outputBinding: {glob: ../../../request.json}}}"),
        ("""printf '{"found": {"class": "File", "path": "/etc/passwd"}}' > cwl.output.json""", ANY_FILE),
        ("""printf '{"found": {"class": "File", "location": "file:///etc/passwd"}}' > cwl.output.json""", ANY_FILE),
        ("""printf '{"found": {"class": "File", "path": "../../../request.json"}}' > cwl.output.json""", ANY_FILE),
    ],
)
async def test_an_output_that_is_not_of_the_job_is_refused(
    backend: Cwltool, data_dir: Path, script: str, outputs: str
) -> None:
    ended = await run(backend, shell_tool(script.replace("SECRET", str(data_dir / "secret.txt")), outputs=outputs))

    assert ended.state is RunState.failed, seen_of(ended)
    assert ended.failure.reason in (FailureReason.OUTPUT_REFUSED, FailureReason.OUTPUT_MISSING), ended.failure
    assert "job:x:" not in seen_of(ended)
    assert SECRET not in seen_of(ended)


async def test_a_link_inside_the_outputs_becomes_a_copy(backend: Cwltool) -> None:
    script = "mkdir -p out/a && echo data > out/a/f && ln -s a/f out/same && ln -s a out/b"

    ended = await run(backend, shell_tool(script, outputs=ANY_DIRECTORY))

    root = ended.last.output_root
    assert root is not None
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == {
        "out/a/f", "out/same", "out/b/f",
    }  # fmt: skip
    assert not [path for path in root.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize(
    "listing",
    [
        "[{entryname: ../../../../x, entry: text}]",
        "[{entryname: /tmp/../etc/x, entry: text}]",
        "[{class: File, location: 'file:///etc/passwd'}]",
        "[{class: File, location: 'file://SECRET'}]",
        "[{class: Directory, location: 'file:///etc'}]",
        '[{entryname: a, entry: \'$({class: "File", location: "file:///etc/passwd"})\'}]',
    ],
)
async def test_the_initial_work_directory_takes_nothing_from_the_machine(
    backend: Cwltool, data_dir: Path, listing: str
) -> None:
    requirements = f"{{InlineJavascriptRequirement: {{}}, InitialWorkDirRequirement: {{listing: {listing}}}}}"
    outputs = "{found: {type: 'File[]', outputBinding: {glob: '*'}}}"

    ended = await run(
        backend, shell_tool("cat * 2>/dev/null; true", requirements=requirements, outputs=outputs)
        .replace(b"SECRET", str(data_dir / "secret.txt").encode())
    )  # fmt: skip

    assert ended.state is RunState.failed, seen_of(ended)
    assert "job:x:" not in seen_of(ended)
    assert SECRET not in seen_of(ended)


EXPRESSION = """
cwlVersion: v1.2
class: ExpressionTool
id: main
requirements: {InlineJavascriptRequirement: {}}
inputs: []
outputs: {found: Any}
expression: CODE
"""


@pytest.mark.parametrize(
    "code",
    [
        "${ return {found: globalThis.constructor.constructor('return process')().env}; }",
        "${ return {found: require('fs').readFileSync('/etc/passwd', 'utf8')}; }",
        "${ return {found: this.constructor.constructor('return std')().loadFile('/etc/passwd')}; }",
        "${ return {found: import('std')}.found.x.y; }",
        "${ return {found: os.exec(['cat', '/etc/passwd'])}; }",
        "${ var a = []; while (true) a.push('x'.repeat(1048576) + a.length); }",
        "${ function f() { return f(); } return f(); }",
        "${ var o = {}; o.o = o; return o; }",
        "${ throw {toString: function() { throw 1; }}; }",
        "${ return '(' ; ",
    ],
)
async def test_an_expression_cannot_leave_its_engine(backend: Cwltool, code: str) -> None:
    ended = await run(backend, EXPRESSION.replace("CODE", json.dumps(code)).encode())

    assert ended.state is RunState.failed, seen_of(ended)
    assert ended.failure.reason in (FailureReason.EXPRESSION_FAILED, FailureReason.INVALID_PACKAGE), ended.failure
    assert "job:x:" not in seen_of(ended)


async def test_an_expression_cannot_hand_out_a_file_of_the_machine(backend: Cwltool, data_dir: Path) -> None:
    for location in ("file:///etc/passwd", f"file://{data_dir}/secret.txt", "http://127.0.0.1:1/x", "/etc/passwd"):
        code = f"$({{found: {{class: 'File', location: '{location}'}}}})"

        ended = await run(backend, EXPRESSION.replace("CODE", json.dumps(code)).encode())

        assert ended.state is RunState.failed, seen_of(ended)
        assert "job:x:" not in seen_of(ended)


BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 9)) for c in range(ord("b"), ord("j"))
)


async def test_a_bomb_of_aliases_ends_with_its_limits(backend: Cwltool) -> None:
    from datetime import timedelta

    ended = await run(backend, b"cwlVersion: v1.2\n" + BOMB, limits=Limits(memory_mib=64, time=timedelta(seconds=2)))

    assert ended.state is RunState.failed
    assert ended.failure.reason in (
        FailureReason.INVALID_PACKAGE,
        FailureReason.TIME_LIMIT_EXCEEDED,
        FailureReason.MEMORY_EXCEEDED,
    )


async def test_a_deep_document_is_refused(backend: Cwltool) -> None:
    ended = await run(backend, b"cwlVersion: v1.2\nx: " + b"[" * 500 + b"]" * 500)

    assert ended.failure.reason is FailureReason.INVALID_PACKAGE


async def test_overrides_in_the_inputs_change_nothing(backend: Cwltool) -> None:
    ended = await run(
        backend,
        shell_tool("echo plain > out.txt", outputs=ANY_FILE),
        {"cwltool:overrides": {"#main": {"requirements": {"EnvVarRequirement": {"envDef": {"A": "b"}}}}}},
    )

    assert ended.state is RunState.successful or ended.failure.reason is not FailureReason.BACKEND_FAILED


TAMPER = """
    import json, os
    box = os.path.realpath('../../..')
    def write(mode, text):
        open(box + '/events.jsonl', mode).write(text)
    CODE
"""


@pytest.mark.parametrize(
    "code",
    [
        "os.rename(box + '/logs', box + '/logs.old'); os.symlink('/', box + '/logs')",
        "os.unlink(box + '/logs/main.log'); os.symlink('SECRET', box + '/logs/main.log')",
        "os.unlink(box + '/logs/main.log'); os.mkfifo(box + '/logs/main.log')",
        "os.unlink(box + '/events.jsonl'); os.symlink('SECRET', box + '/events.jsonl')",
        "os.unlink(box + '/events.jsonl'); os.mkfifo(box + '/events.jsonl')",
        'write(\'w\', \'{"step": "../../x", "state": "running"}\\n[[[[\\n\' + \'x\' * 300000)',
        "write('a', '[' * 200000 + '\\n')",
        'write(\'a\', \'{"step": "s", "state": "running", "time": 1, "exit_code": "y"}\\n\')',
    ],
)
async def test_what_a_job_writes_over_its_journal_shows_nothing_of_the_machine(
    backend: Cwltool, data_dir: Path, code: str
) -> None:
    code = code.replace("SECRET", str(data_dir / "secret.txt"))

    ended = await run(backend, python_tool(TAMPER.replace("CODE", code)))

    assert ended.state in (RunState.successful, RunState.failed)
    assert SECRET not in seen_of(ended)
    assert "root:" not in seen_of(ended)


FORGED = """
    import json, os, sys, time
    box = os.path.realpath('../../..')
    os.makedirs(box + '/work/outputs', exist_ok=True)
    CODE
    # Whoever writes a result last wins, so the engine must not come to it.
    os.kill(os.getppid(), 9)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    "code",
    [
        "os.symlink('SECRET', box + '/result.json')",
        "os.mkfifo(box + '/result.json')",
        'open(box + \'/result.json\', \'w\').write(\'{"outputs": {"x": {"class": "File", "location": "file://SECRET"}}}\')',
        "open(box + '/result.json', 'w').write('[' * 100000)",
        'open(box + \'/result.json\', \'w\').write(\'{"failure": {"reason": 1, "message": 2, "step": "../x"}}\')',
    ],
)
async def test_a_forged_result_of_a_killed_engine_is_not_believed(backend: Cwltool, data_dir: Path, code: str) -> None:
    code = code.replace("SECRET", str(data_dir / "secret.txt"))

    ended = await run(backend, python_tool(FORGED.replace("CODE", code)))

    assert ended.state is RunState.failed
    assert SECRET not in seen_of(ended)


def outputs_at(root: Path) -> Callable[[Any], dict[str, Any]]:
    return lambda found: reading.check_outputs(found, root)


@pytest.fixture
def output_root(tmp_path: Path) -> Path:
    root = tmp_path / "box" / "outputs"
    root.mkdir(parents=True)
    (root / "ok.txt").write_text("ok")
    (tmp_path / "box" / "request.json").write_text("{}")
    return root


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "file://ROOT/../request.json",
        "file://ROOT/%2e%2e/request.json",
        "file://ROOT/./ok.txt",
        "file://ROOT//ok.txt",
        "file://host/ROOT/ok.txt",
        "http://ROOT/ok.txt",
        "ROOT/ok.txt",
        "file://ROOT/missing.txt",
        "file://ROOT/ok.txt%00",
        "_:literal",
        "",
        7,
        None,
    ],
)
async def test_a_location_that_is_not_below_the_outputs_is_refused(output_root: Path, location: object) -> None:
    if isinstance(location, str):
        location = location.replace("ROOT", str(output_root))

    with pytest.raises(reading.OutputsRefusedError):
        reading.check_outputs({"x": [{"class": "File", "location": location}]}, output_root)


async def test_an_output_keeps_what_describes_it_and_has_its_real_size(output_root: Path) -> None:
    location = f"file://{output_root}/ok.txt"
    found = {"x": {"class": "File", "location": location, "size": 999, "path": "/etc/passwd", "checksum": "sha1$00"}}

    checked = reading.check_outputs(found, output_root)

    assert checked == {"x": {"class": "File", "location": location, "size": 2, "checksum": "sha1$00"}}


@pytest.mark.parametrize("kind", ["link", "link to a directory", "pipe", "outputs are a link"])
async def test_a_tree_with_anything_but_files_is_refused(output_root: Path, kind: str) -> None:
    if kind == "link":
        (output_root / "x").symlink_to("ok.txt")
    elif kind == "link to a directory":
        (output_root / "x").symlink_to("/")
    elif kind == "pipe":
        os.mkfifo(output_root / "x")
    else:
        output_root.rename(output_root.with_name("moved"))
        output_root.symlink_to("moved")

    with pytest.raises(reading.OutputsRefusedError):
        reading.check_outputs({}, output_root)
