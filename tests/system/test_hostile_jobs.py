"""Jobs that reach for what is not theirs while they run: they fail with a reason and bring nothing home."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.doors import Workspace
from tests.system.suite import Suite

SHELL = """\
cwlVersion: v1.2
class: CommandLineTool
id: NAME
requirements:
  InlineJavascriptRequirement: {}
  ShellCommandRequirement: {}
  InitialWorkDirRequirement: {listing: LISTING}
baseCommand: [sh, -c]
arguments: ['SCRIPT']
inputs: {place: string}
outputs: {found: OUTPUT}
"""
EXPRESSION = """\
cwlVersion: v1.2
class: ExpressionTool
id: NAME
requirements: {InlineJavascriptRequirement: {}}
inputs: {place: string}
outputs: {found: OUTPUT}
expression: |
  ${ CODE }
"""
FILE = "{type: File, outputBinding: {glob: out.txt}}"
FILES = "{type: 'File[]', outputBinding: {glob: '*'}}"
DIRECTORY = "{type: Directory, outputBinding: {glob: out}}"
GLOB = "{type: 'File[]', outputBinding: {glob: $(inputs.place)}}"
LOADED = "{type: string, outputBinding: {glob: $(inputs.place), loadContents: true, outputEval: '$(self[0].contents)'}}"
OBJECT = """python3 -c 'print("{\\"found\\": {\\"class\\": \\"File\\", \\"path\\": \\"$(inputs.place)\\"}}")'"""


@dataclass(frozen=True)
class Hostile:
    """A job, what its `place` is, and the reasons it may fail for."""

    reasons: tuple[str, ...]
    script: str = "true"
    output: str = FILE
    listing: str = "[]"
    code: str | None = None
    place: str = "CANARY"

    def package(self, name: str) -> str:
        text = SHELL if self.code is None else EXPRESSION
        return (
            text.replace("NAME", name)
            .replace("LISTING", self.listing)
            .replace("SCRIPT", self.script.replace("'", "''"))
            .replace("OUTPUT", self.output)
            .replace("CODE", self.code or "")
        )


OUTPUT = ("OUTPUT_REFUSED", "OUTPUT_MISSING")
HOSTILE = {
    "link": Hostile(OUTPUT, 'ln -s "$(inputs.place)" out.txt'),
    "link-in-directory": Hostile(OUTPUT, 'mkdir out && ln -s "$(inputs.place)" out/x', DIRECTORY),
    "link-to-root": Hostile(OUTPUT, "ln -s / out", DIRECTORY),
    "glob-absolute": Hostile(OUTPUT, output=GLOB),
    "glob-above": Hostile(OUTPUT, output=GLOB, place="../../../../../../../../../CANARY"),
    "glob-above-all": Hostile(OUTPUT, output=GLOB, place="../../*"),
    "glob-contents": Hostile((*OUTPUT, "EXPRESSION_FAILED"), output=LOADED),
    "output-object": Hostile(OUTPUT, f"{OBJECT} > cwl.output.json"),
    "work-directory-name": Hostile(
        ("INVALID_PACKAGE", "STEP_FAILED", "EXPRESSION_FAILED"), listing="[{entryname: $(inputs.place), entry: x}]",
        place="../../../x",
    ),
    "work-directory-file": Hostile(
        ("INPUT_UNAVAILABLE", "INVALID_PACKAGE", "EXPRESSION_FAILED", *OUTPUT), "cat a > out.txt",
        listing="""[{entryname: a, entry: '$({class: "File", location: "file://" + inputs.place})'}]""",
    ),
    "work-directory-directory": Hostile(
        ("INPUT_UNAVAILABLE", "INVALID_PACKAGE", "EXPRESSION_FAILED", *OUTPUT), "cat a/* > out.txt",
        listing="""[{entryname: a, entry: '$({class: "Directory", location: "file:///etc"})'}]""",
    ),
    "expression-file": Hostile(
        OUTPUT, code="return {found: {class: 'File', location: 'file://' + inputs.place}};", output="File",
    ),
    "expression-require": Hostile(
        ("EXPRESSION_FAILED",), code="return {found: require('fs').readFileSync(inputs.place, 'utf8')};", output="Any"
    ),
    "expression-process": Hostile(
        ("EXPRESSION_FAILED",), output="Any",
        code="return {found: globalThis.constructor.constructor('return process')().mainModule};",
    ),
    "expression-std": Hostile(
        ("EXPRESSION_FAILED",), output="Any",
        code="return {found: this.constructor.constructor('return std')().loadFile(inputs.place)};",
    ),
    "reads-canary": Hostile(("STEP_FAILED",), 'cat "$(inputs.place)" > out.txt'),
    "reads-database": Hostile(("STEP_FAILED",), 'cat "$(inputs.place)" > out.txt', place="PASSWORDS"),
    "reads-environment": Hostile(("STEP_FAILED",), "grep -z SUBMISSION_ /proc/*/environ > out.txt"),
}  # fmt: skip


@dataclass(frozen=True)
class Started:
    """The workspace in which all of them run side by side."""

    workspace: Workspace
    jobs: dict[str, str]
    canary: str


@pytest.fixture(scope="module")
def started(suite: Suite) -> Iterator[Started]:
    workspace = suite.workspace()
    canary = f"canary-{secrets.token_hex(16)}"
    # Everybody on this machine may read it, so that it is the sandbox which keeps it.
    place = suite.directory.path.parent / "canary.txt"
    place.parent.chmod(0o755)
    place.write_text(canary)
    place.chmod(0o644)
    before = suite.traces(workspace)
    jobs = {}
    for name, hostile in HOSTILE.items():
        deployed = workspace.deploy(hostile.package(name))
        assert deployed.status == 201, (name, deployed)
        path = hostile.place.replace("CANARY", str(place))
        jobs[name] = workspace.accept(
            name, {"place": path.replace("PASSWORDS", str(suite.directory.postgres / "passwords.json"))}
        )
    yield Started(workspace, jobs, canary)
    for job in jobs.values():
        workspace.end_of(job)
    suite.leaves_only_jobs(workspace, before)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_job_fails_with_a_reason_and_shows_nothing(suite: Suite, started: Started, name: str) -> None:
    workspace, job_id = started.workspace, started.jobs[name]

    job = workspace.end_of(job_id)

    assert "failed" == job["status"], job
    assert job["failure"]["reason"] in HOSTILE[name].reasons, job["failure"]
    assert job["failure"]["message"]
    results = workspace.ask(f"/jobs/{job_id}/results")
    assert 400 <= results.status < 600
    assert "application/problem+json" == results.headers["content-type"]
    seen = everything_seen(suite, workspace, job_id)
    for secret in secrets_of(suite, started):
        assert secret not in seen


def secrets_of(suite: Suite, started: Started) -> list[bytes]:
    """What nobody may ever see: the canary, passwords, the issuer's key, a line of the machine's accounts."""
    password = suite.directory.postgres / "passwords.json"
    key = suite.directory.identity / "key.pem"
    return [
        started.canary.encode(),
        *(word.encode() for word in password.read_text().split('"') if len(word) > 40),
        key.read_bytes().splitlines()[1],
        Path("/etc/passwd").read_bytes().splitlines()[0],
        b"SUBMISSION_DATABASE",
    ]


def everything_seen(suite: Suite, workspace: Workspace, job: str) -> bytes:
    """All that is told of a job, over REST and in the stores behind it."""
    answers = [
        workspace.ask(f"/jobs/{job}{path}").body for path in ("", "/results", "/results/found", "/logs", "/events")
    ]
    answers += [
        workspace.ask(f"/jobs/{job}/logs/{log['step']}").body for log in workspace.ask(f"/jobs/{job}/logs").json["logs"]
    ]
    rows = [
        str(suite.sql(f"SELECT to_jsonb(t)::text FROM {table} t WHERE job_id = %s", job)).encode()
        for table in ("jobs", "job_events", "job_steps")
    ]
    stored = [(suite.directory.artifacts / key).read_bytes() for key in suite.objects() if job in key]
    return b"\n".join([*answers, *rows, *stored])
