"""Packages that are refused: over both doors, for a reason, at a place, and without a trace."""

from dataclasses import dataclass

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody

from tests.support.doors import YAML, Workspace, problem
from tests.system.suite import Suite
from workflow_runner.v1.submission_service_pb2 import DeployProcessRequest, ReplaceProcessRequest

OGC_PACKAGE = "application/ogcapppkg+json"
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
id: tool
baseCommand: [echo, hello]
inputs: {}
outputs: {said: {type: stdout}}
"""
GRAPH = """\
cwlVersion: v1.2
$graph:
- class: CommandLineTool
  id: tool
  baseCommand: [echo, hello]
  inputs: {}
  outputs: {}
"""
FILE_TOOL = TOOL.replace("inputs: {}", "inputs: {file: {type: File, default: DEFAULT}}")
STEP = """\
cwlVersion: v1.2
class: Workflow
id: flow
inputs: {}
outputs: {}
steps: {one: {run: 'TARGET', in: {}, out: []}}
"""


@dataclass(frozen=True)
class Bad:
    """A package and what is said of it."""

    package: str
    reason: str
    says: str
    pointer: str | None = None
    status: int = 400
    query: str = ""


REFUSED = {
    "broken-yaml": Bad("cwlVersion: v1.2\nclass: [Workflow\nid: {", "INVALID_PACKAGE", "(line 3, column 3)"),
    "no-yaml": Bad("\0\x01", "INVALID_PACKAGE", "has the character U+0000, which YAML does not take"),
    "empty": Bad(" \n", "INVALID_PACKAGE", "Send the CWL document"),
    "alias-bomb": Bad(
        f"{TOOL}doc:\n- &a [x, x]\n- &b [*a, *a, *a]\n- &c [*b, *b, *b]\n", "INVALID_PACKAGE", "Anchors (&name)"
    ),
    "merge-key": Bad(f"{TOOL}hints:\n- <<: {{class: X}}\n", "INVALID_PACKAGE", "(line 8, column 3)"),
    "tag": Bad(f"{TOOL}doc: !!python/object/apply:os.system [id]\n", "INVALID_PACKAGE", "(line 7, column 6)"),
    "deep-nesting": Bad(f"{TOOL}doc: {'[' * 1_000}{']' * 1_000}", "INVALID_PACKAGE", "deeper than 64 levels"),
    "duplicate-keys": Bad(f"{TOOL}class: Workflow\n", "INVALID_PACKAGE", "class is given twice (line 7, column 1)"),
    "not-a-number": Bad(f"{TOOL}hints: [{{class: X, y: .nan}}]\n", "INVALID_PACKAGE", "(line 7, column 23)"),
    "two-mebibytes": Bad(f"{TOOL}#{'x' * (2 << 20)}", "PACKAGE_TOO_LARGE", "at most 1048576", status=413),
    "unknown-version": Bad(TOOL.replace("v1.2", "v9.9"), "UNSUPPORTED_CWL_VERSION", "Use one of v1.0", "/cwlVersion"),
    "no-version": Bad(TOOL.replace("cwlVersion: v1.2\n", ""), "UNSUPPORTED_CWL_VERSION", "Add cwlVersion: v1.2"),
    "not-in-graph": Bad(GRAPH, "WORKFLOW_NOT_FOUND", "It has: tool", query="?w=flow"),
    "not-in-single": Bad(TOOL, "WORKFLOW_NOT_FOUND", "It has: tool", query="?w=flow"),
    "include": Bad(f"{TOOL}doc: {{$include: 'file:///etc/x'}}", "PACKAGE_REFUSED", "one document", "/doc/$include"),
    "import": Bad(f"{TOOL}hints: [{{$import: /etc/passwd}}]\n", "PACKAGE_REFUSED", "Write the", "/hints/0/$import"),
    "default-url": Bad(
        FILE_TOOL.replace("DEFAULT", "{class: File, location: 'file:///etc/passwd'}"),
        "PACKAGE_REFUSED", "make it an input", "/inputs/file/default/location",
    ),
    "default-path": Bad(
        FILE_TOOL.replace("DEFAULT", "{class: File, path: /etc/passwd}"),
        "PACKAGE_REFUSED", "make it an input", "/inputs/file/default/path",
    ),
    "default-relative": Bad(
        FILE_TOOL.replace("DEFAULT", "{class: File, location: ../../../../etc/passwd}"),
        "PACKAGE_REFUSED", "make it an input", "/inputs/file/default/location",
    ),
    "default-directory": Bad(
        FILE_TOOL.replace("DEFAULT", "{class: File, secondaryFiles: [{class: Directory, path: /etc}], contents: x}"),
        "PACKAGE_REFUSED", "make it an input", "/inputs/file/default/secondaryFiles/0/path",
    ),
    "run-file": Bad(STEP.replace("TARGET", "file:///etc/tool.cwl"), "PACKAGE_REFUSED", "$graph", "/steps/one/run"),
    "run-path": Bad(STEP.replace("TARGET", "/etc/tool.cwl"), "PACKAGE_REFUSED", "$graph", "/steps/one/run"),
    "run-web": Bad(STEP.replace("TARGET", "http://127.0.0.1/tool"), "PACKAGE_REFUSED", "$graph", "/steps/one/run"),
    "schemas": Bad(f"{TOOL}$schemas: [file:///etc/passwd]\n", "PACKAGE_REFUSED", "Remove the file", "/$schemas/0"),
    "glob": Bad(
        TOOL.replace("{type: stdout}", "{type: File, outputBinding: {glob: ../../../../etc/passwd}}"),
        "PACKAGE_REFUSED", "without ../", "/outputs/said/outputBinding/glob",
    ),
    "work-directory": Bad(
        f"{TOOL}requirements: {{InitialWorkDirRequirement: {{listing: [{{entryname: ../../x, entry: y}}]}}}}\n",
        "PACKAGE_REFUSED", "without ../", "/requirements/InitialWorkDirRequirement/listing/0/entryname",
    ),
    "work-directory-file": Bad(
        f"{TOOL}requirements: {{InitialWorkDirRequirement: {{listing: [{{class: File, path: /etc/passwd}}]}}}}\n",
        "PACKAGE_REFUSED", "make it an input", "/requirements/InitialWorkDirRequirement/listing/0/path",
    ),
    "traversing-id": Bad(TOOL.replace("id: tool", "id: ../../x"), "INVALID_PROCESS_ID", "Use 1 to 63 letters"),
    "long-id": Bad(TOOL.replace("id: tool", f"id: {'x' * 300}"), "INVALID_PROCESS_ID", "Use 1 to 63 letters"),
    "no-id": Bad(TOOL.replace("id: tool\n", ""), "INVALID_PROCESS_ID", "Add id: NAME to it"),
}  # fmt: skip


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("bad", REFUSED.values(), ids=REFUSED)
def test_a_bad_package_is_refused_on_both_doors(workspace: Workspace, bad: Bad) -> None:
    answer = workspace.deploy(bad.package, query=bad.query)
    refusal = workspace.call(
        "DeployProcess",
        DeployProcessRequest(
            parent=f"workspaces/{workspace.name}",
            package=HttpBody(content_type=YAML, data=bad.package.encode()),
            w=bad.query.removeprefix("?w="),
        ),
    )

    ogc = "2/1.0/workflow-not-found" if bad.reason == "WORKFLOW_NOT_FOUND" else None
    document = problem(answer, bad.status, bad.reason, ogc=ogc)
    assert bad.says in document["detail"]
    assert (grpc.StatusCode.INVALID_ARGUMENT, bad.reason, document["detail"]) == (
        refusal.code,
        refusal.reason,
        refusal.message,
    )
    if bad.pointer is not None:
        assert [bad.pointer] == [error["pointer"] for error in document["errors"]] == list(refusal.places)


@pytest.mark.usefixtures("leaves_nothing")
def test_a_body_beyond_what_the_edge_reads_is_refused_by_it(workspace: Workspace) -> None:
    document = problem(workspace.deploy(f"{TOOL}#{'x' * (5 << 20)}"), 413, None)

    assert "A package has at most 1 MiB" in document["detail"]


@pytest.mark.usefixtures("leaves_nothing")
def test_a_body_of_another_type_is_refused_before_the_process_is_looked_for(workspace: Workspace) -> None:
    deployed = workspace.deploy(TOOL, "text/plain")
    replaced = workspace.ask("/processes/unknown", method="PUT", body=TOOL, media_type="text/plain")
    typeless, root = HttpBody(content_type="text/plain", data=TOOL.encode()), f"workspaces/{workspace.name}"
    called = [
        workspace.call("DeployProcess", DeployProcessRequest(parent=root, package=typeless)),
        workspace.call("ReplaceProcess", ReplaceProcessRequest(name=f"{root}/processes/unknown", package=typeless)),
    ]

    for answer in (deployed, replaced):
        document = problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE", ogc="2/1.0/unsupported-media-type")
        assert "application/cwl+yaml" in document["detail"]
    assert [(grpc.StatusCode.INVALID_ARGUMENT, "UNSUPPORTED_MEDIA_TYPE")] * 2 == [
        (refusal.code, refusal.reason) for refusal in called
    ]


@pytest.mark.usefixtures("leaves_nothing")
def test_a_package_is_not_put_where_there_is_no_process(workspace: Workspace) -> None:
    answer = workspace.ask("/processes/unknown", method="PUT", body=TOOL, media_type=YAML)

    problem(answer, 404, "NO_SUCH_PROCESS", ogc="1/1.0/no-such-process")


def test_a_refused_replacement_leaves_the_process_as_it_was(suite: Suite, workspace: Workspace) -> None:
    assert workspace.deploy(TOOL).status == 201
    before = workspace.ask("/processes/tool").json

    with suite.leaves_nothing(workspace):
        for package, status, reason in (
            (f"{TOOL}doc: {{$include: /etc/passwd}}\n", 400, "PACKAGE_REFUSED"),
            ("[", 400, "INVALID_PACKAGE"),
            ("x" * (2 << 20), 413, "PACKAGE_TOO_LARGE"),
        ):
            answer = workspace.ask("/processes/tool", method="PUT", body=package, media_type=YAML)
            problem(answer, status, reason)

    assert before == workspace.ask("/processes/tool").json
    assert TOOL.encode() == workspace.ask("/processes/tool/package").body


@pytest.mark.usefixtures("leaves_nothing")
def test_what_is_built_in_stays_as_it_is(workspace: Workspace) -> None:
    replaced = workspace.ask("/processes/echo", method="PUT", body=TOOL, media_type=YAML)
    undeployed = workspace.ask("/processes/echo", method="DELETE")
    deployed = workspace.deploy(TOOL.replace("id: tool", "id: echo"))

    for answer in (replaced, undeployed, deployed):
        problem(answer, 403, "IMMUTABLE_PROCESS", ogc="2/1.0/immutable-process")


def test_a_second_process_of_one_name_is_refused(suite: Suite, workspace: Workspace) -> None:
    assert workspace.deploy(TOOL).status == 201

    with suite.leaves_nothing(workspace):
        answer = workspace.deploy(TOOL.replace("hello", "something else"))

    document = problem(answer, 409, "DUPLICATED_PROCESS", ogc="2/1.0/duplicated-process")
    assert "Replace it with PUT" in document["detail"]
