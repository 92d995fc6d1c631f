"""What a package may not contain, and what it must require: each offence with its pointer and a sentence that helps."""

from typing import Any

import orjson
import pytest

from services.submission.packages.document import read_document
from services.submission.packages.inspection import inspect_package
from services.submission.packages.policy import check_policy
from services.submission.packages.refusal import Refusal
from services.submission.packages.validation import validate


def tool(**fields: Any) -> dict[str, Any]:
    return {"class": "CommandLineTool", "id": "tool", "baseCommand": "true", "inputs": {}, "outputs": {}, **fields}


def workflow(**fields: Any) -> dict[str, Any]:
    return {"class": "Workflow", "id": "main", "inputs": {}, "outputs": {}, "steps": {}, **fields}


def step(**fields: Any) -> dict[str, Any]:
    return {"run": "#tool", "in": {}, "out": [], **fields}


def graph(*processes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"cwlVersion": "v1.2", "$graph": list(processes), **fields}


def inspect(document: dict[str, Any], **wishes: Any) -> dict[str, Any]:
    asked = {"workflow": None, "process_id": None, "process_description": None, **wishes}
    return inspect_package(orjson.dumps(document), "application/cwl+json", **asked)


def refusal(document: dict[str, Any], **wishes: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        inspect(document, **wishes)
    return caught.value


def secret(location: str) -> dict[str, Any]:
    return {"class": "File", "location": location}


@pytest.mark.parametrize(
    ("document", "pointer", "said"),
    [
        (tool(inputs={"$import": "/etc/passwd"}), "/inputs/$import", "a package is one document"),
        (tool(doc={"$include": "/etc/passwd"}), "/doc/$include", "a package is one document"),
        (
            tool(requirements={"SchemaDefRequirement": {"types": [{"$import": "https://raw.github.test/stac.yaml"}]}}),
            "/requirements/SchemaDefRequirement/types/0/$import",
            "type definitions go into SchemaDefRequirement",
        ),
        (tool(arguments=[{"$mixin": "x"}]), "/arguments/0/$mixin", "$mixin is not followed"),
        (
            tool(inputs={"f": {"type": "File", "default": secret("file:///etc/passwd")}}),
            "/inputs/f/default/location",
            "make it an input",
        ),
        (
            tool(inputs={"f": {"type": "File", "default": {"class": "File", "path": "../../etc/passwd"}}}),
            "/inputs/f/default/path",
            "make it an input",
        ),
        (
            tool(inputs={"f": {"type": "Any", "default": [{"deep": secret("https://169.254.169.254/latest")}]}}),
            "/inputs/f/default/0/deep/location",
            "make it an input",
        ),
        (
            tool(
                inputs={
                    "f": {
                        "type": "File",
                        "default": {"class": "File", "contents": "a", "secondaryFiles": [secret("/etc/shadow")]},
                    }
                }
            ),
            "/inputs/f/default/secondaryFiles/0/location",
            "make it an input",
        ),
        (
            tool(requirements={"InitialWorkDirRequirement": {"listing": [secret("/etc/shadow")]}}),
            "/requirements/InitialWorkDirRequirement/listing/0/location",
            "make it an input",
        ),
        (
            tool(requirements={"InitialWorkDirRequirement": {"listing": [{"entryname": "../x", "entry": "a"}]}}),
            "/requirements/InitialWorkDirRequirement/listing/0/entryname",
            "may not leave the working directory",
        ),
        (
            tool(outputs={"o": {"type": "File", "outputBinding": {"glob": "../../x"}}}),
            "/outputs/o/outputBinding/glob",
            "may not leave",
        ),
        (
            tool(outputs={"o": {"type": "File", "outputBinding": {"glob": ["/etc/*"]}}}),
            "/outputs/o/outputBinding/glob",
            "may not leave",
        ),
        (workflow(steps={"s": step(run="file:///tmp/tool.cwl")}), "/steps/s/run", "as #name"),
        (workflow(steps={"s": step(run="tool.cwl")}), "/steps/s/run", "as #name"),
        (workflow(steps=[{"id": "s", **step(run="https://example.org/tool.cwl")}]), "/steps/0/run", "as #name"),
        (tool(**{"$schemas": ["/etc/passwd"]}), "/$schemas/0", "may only name web addresses"),
        (tool(**{"$base": "file:///etc/"}), "/$base", "not supported"),
        (
            tool(**{"$namespaces": {"x": "http://commonwl.org/cwltool#"}, "requirements": [{"class": "x:Secrets"}]}),
            "/$namespaces/x",
            "namespace is not supported",
        ),
        (
            tool(**{"$namespaces": {"x": "https://w3id.org/cwl/cwl#"}, "x:hints": []}),
            "/$namespaces/x",
            "namespace is not supported",
        ),
        (tool(**{"$namespaces": {"x": 5}}), "/$namespaces/x", "namespace is not supported"),
        (tool(**{"cwl:tool": "https://example.org/x"}), "/cwl:tool", "by their plain names"),
        (tool(**{"https://w3id.org/cwl/cwl#hints": []}), "/https:~1~1w3id.org~1cwl~1cwl#hints", "by their plain names"),
        (tool(hints=[{"class": "cwl:DockerRequirement"}]), "/hints/0/class", "by their plain names"),
        (
            tool(requirements={"cwltool:Secrets": {"secrets": []}}),
            "/requirements/cwltool:Secrets",
            "standard CWL only",
        ),
        (
            tool(requirements=[{"class": "http://commonwl.org/cwltool#MPIRequirement"}]),
            "/requirements/0/class",
            "standard CWL only",
        ),
        (tool(requirements={"MPIRequirement": {"processes": 2}}), "/requirements/MPIRequirement", "standard CWL only"),
        (
            tool(requirements={"ToolTimeLimit": {"timelimit": 0}}),
            "/requirements/ToolTimeLimit/timelimit",
            "would mean none",
        ),
        (tool(hints=[{"class": "ResourceRequirement", "ramMin": -1}]), "/hints/0/ramMin", "may not be negative"),
        (
            tool(inputs={"CALLING_WORKSPACE_ACCESS_TOKEN": "string"}),
            "/inputs/CALLING_WORKSPACE_ACCESS_TOKEN",
            "reserved",
        ),
        (tool(inputs=[{"id": "STAGE_AWS_SESSION_TOKEN", "type": "string"}]), "/inputs/0", "reserved"),
    ]
    + [
        (tool(hints={"DockerRequirement": {field: "x"}}), f"/hints/DockerRequirement/{field}", said)
        for field, said in (
            ("dockerFile", "not built here"),
            ("dockerImport", "not imported here"),
            ("dockerLoad", "not loaded here"),
            ("dockerOutputDirectory", "$(runtime.outdir)"),
        )
    ]
    + [
        (
            tool(requirements={"DockerRequirement": {"dockerPull": image}}),
            "/requirements/DockerRequirement/dockerPull",
            "image reference",
        )
        for image in (
            "--volume=/:/host",
            "a b",
            "",
            "$(inputs.x)",
            "UPPER",
            "x:tag:tag",
            "../x",
            "x@sha256:12",
            3,
            "a" * 600,
        )
    ],
)
def test_forbidden_content_is_refused_where_it_stands(document, pointer, said):
    found = refusal({"cwlVersion": "v1.2", **document})

    assert "ERROR_REASON_PACKAGE_REFUSED" == found.reason
    assert [pointer] == [offence.pointer for offence in found.offences]
    assert said in found.offences[0].message


def test_forbidden_content_is_found_in_processes_inside_steps_and_graphs():
    inner = tool(hints={"DockerRequirement": {"dockerFile": "FROM x"}})
    nested = workflow(id="outer", steps={"a": step(run=workflow(steps={"b": step(run=inner)}))})

    found = refusal(graph(nested))

    assert ["/$graph/0/steps/a/run/steps/b/run/hints/DockerRequirement/dockerFile"] == [
        offence.pointer for offence in found.offences
    ]


@pytest.mark.parametrize(
    ("hints", "name"),
    [
        ({"cwltool:CUDARequirement": {"cudaVersionMin": "11.4"}}, "cwltool:CUDARequirement"),
        ([{"class": "cwltool:Secrets", "secrets": []}], "cwltool:Secrets"),
        ([{"class": "x:Secrets", "secrets": []}], "x:Secrets"),
        ([{"class": "http://commonwl.org/cwltool#MPIRequirement"}], "http://commonwl.org/cwltool#MPIRequirement"),
        ({"MPIRequirement": {"processes": 2}}, "MPIRequirement"),
    ],
)
def test_hints_of_cwltool_are_left_alone_with_a_warning(hints, name):
    namespaces = {"cwltool": "http://commonwl.org/cwltool#", "x": "http://commonwl.org/cwltool#"}

    found = inspect({"cwlVersion": "v1.2", **tool(hints=hints, **{"$namespaces": namespaces})})

    assert f"The hint {name} is an extension of cwltool" in found["warnings"][-1]


def test_a_namespace_that_nothing_uses_is_left_alone():
    namespaces = {"cwltool": "http://commonwl.org/cwltool#", "cwl": "https://w3id.org/cwl/cwl#"}

    inspect({"cwlVersion": "v1.2", **tool(label="cwl: a language", **{"$namespaces": namespaces})})


def test_steps_may_be_called_as_those_of_other_platforms():
    inspect({"cwlVersion": "v1.2", **workflow(steps={"node_stage_in": step(run=tool())})})


def test_every_offence_is_listed_up_to_twenty():
    found = refusal(
        {"cwlVersion": "v1.2", **tool(inputs={f"f{n}": {"type": "File", "default": secret("/x")} for n in range(30)})}
    )

    assert 20 == len(found.offences)


@pytest.mark.parametrize(
    "image", ["alpine", "python:3.12-slim", "ghcr.io/team/tool:1.2.3", "localhost:5000/a/b_c", "a/b@sha256:" + "0" * 64]
)
def test_image_references_are_taken(image):
    inspect({"cwlVersion": "v1.2", **tool(hints={"DockerRequirement": {"dockerPull": image}})})


def test_literals_expressions_and_web_schemas_are_taken():
    literal = {"class": "Directory", "basename": "d", "listing": [{"class": "File", "basename": "f", "contents": "x"}]}
    document = tool(
        inputs={
            "d": {"type": "Directory", "default": literal},
            "location": {"type": "Any", "default": {"location": "/x"}},
        },
        requirements={
            "InlineJavascriptRequirement": {},
            "InitialWorkDirRequirement": {"listing": [{"class": "File", "location": "$(inputs.d.location)/f"}]},
        },
        **{"$schemas": ["https://schema.org/version/latest/schemaorg-current-https.rdf"]},
    )

    check_policy(read_document(orjson.dumps({"cwlVersion": "v1.2", **document}), "application/cwl+json"))


@pytest.mark.parametrize("version", ["v1.3.0-dev1", "draft-3", "v2", 1.2, ["v1.2"], None])
def test_an_unknown_cwl_version_is_refused(version):
    found = refusal({"cwlVersion": version, **tool()})

    assert "ERROR_REASON_UNSUPPORTED_CWL_VERSION" == found.reason


TOOL_WITH_INPUT = tool(inputs={"x": "string"})


@pytest.mark.parametrize(
    ("document", "pointer", "requirement"),
    [
        (tool(arguments=["$(1 + 1)"]), "/arguments/0", "InlineJavascriptRequirement"),
        (tool(arguments=[{"valueFrom": "${return 1;}"}]), "/arguments/0/valueFrom", "InlineJavascriptRequirement"),
        (tool(stdout="$(inputs.x.split('a'))"), "/stdout", "InlineJavascriptRequirement"),
        (
            tool(
                requirements={
                    "InitialWorkDirRequirement": {"listing": [{"entryname": "a.sh", "entry": "echo ${HOME}"}]}
                }
            ),
            "/requirements/InitialWorkDirRequirement/listing/0/entry",
            "a shell's $( or ${ that needs a backslash",
        ),
        (
            tool(outputs={"o": {"type": "int", "outputBinding": {"outputEval": "$(self.length + 1)"}}}),
            "/outputs/o/outputBinding/outputEval",
            "InlineJavascriptRequirement",
        ),
        (
            {"class": "ExpressionTool", "id": "t", "inputs": {}, "outputs": {}, "expression": "$({})"},
            "",
            "InlineJavascript",
        ),
        (
            graph(
                workflow(inputs={"x": "string[]"}, steps={"s": step(scatter="x", **{"in": {"x": "x"}})}),
                TOOL_WITH_INPUT,
            ),
            "/$graph/0/steps/s/scatter",
            "ScatterFeatureRequirement",
        ),
        (
            graph(workflow(steps={"s": step(run="#inner")}), workflow(id="inner")),
            "/$graph/0/steps/s/run",
            "SubworkflowFeatureRequirement",
        ),
        (
            graph(workflow(steps={"s": step(**{"in": {"x": {"valueFrom": "a"}}})}), TOOL_WITH_INPUT),
            "/$graph/0/steps/s/in/x/valueFrom",
            "StepInputExpressionRequirement",
        ),
        (
            graph(
                workflow(
                    requirements={"StepInputExpressionRequirement": {}},
                    steps={"s": step(**{"in": {"x": {"valueFrom": "$(self.a ? 1 : 2)"}}})},
                ),
                TOOL_WITH_INPUT,
            ),
            "/$graph/0/steps/s/in/x/valueFrom",
            "InlineJavascriptRequirement",
        ),
        (
            graph(workflow(steps={"s": step(when="$(1 > 2)")}), tool()),
            "/$graph/0/steps/s/when",
            "InlineJavascriptRequirement",
        ),
        (
            graph(
                workflow(inputs={"a": "string", "b": "string"}, steps={"s": step(**{"in": {"x": ["a", "b"]}})}),
                TOOL_WITH_INPUT,
            ),
            "/$graph/0/steps/s/in/x",
            "MultipleInputFeatureRequirement",
        ),
        (
            graph(workflow(steps={"s": step(**{"in": {"x": {"source": ["a", "b"]}}})}), TOOL_WITH_INPUT),
            "/$graph/0/steps/s/in/x",
            "MultipleInputFeatureRequirement",
        ),
        (graph(workflow(steps={"s": step(run="#nobody")}), tool()), "/$graph/0/steps/s/run", "no process nobody"),
        (
            graph(
                workflow(steps={"s": step(run="#op")}), {"class": "Operation", "id": "op", "inputs": {}, "outputs": {}}
            ),
            "/$graph/1",
            "CommandLineTool",
        ),
    ],
)
def test_a_feature_without_its_requirement_is_refused_with_a_hint(document, pointer, requirement):
    found = refusal({"cwlVersion": "v1.2", **document})

    assert "ERROR_REASON_INVALID_PACKAGE" == found.reason
    assert pointer == found.offences[0].pointer
    assert requirement in found.offences[0].message


def test_requirements_reach_down_into_nested_processes():
    inner = workflow(
        id="inner", inputs={"x": "string[]"}, steps={"s": step(scatter="x", when="$(1 < 2)", **{"in": {"x": "x"}})}
    )
    outer = workflow(
        inputs={"x": "string[]"},
        requirements=[
            {"class": name}
            for name in ("SubworkflowFeatureRequirement", "ScatterFeatureRequirement", "InlineJavascriptRequirement")
        ],
        steps={"s": step(run="#inner", **{"in": {"x": "x"}})},
    )

    assert "main" == inspect(graph(outer, inner, TOOL_WITH_INPUT))["process_id"]


def test_hints_reach_down_as_well_but_do_not_turn_javascript_on():
    hints = [
        {"class": name}
        for name in ("SubworkflowFeatureRequirement", "ScatterFeatureRequirement", "InlineJavascriptRequirement")
    ]
    inner = workflow(id="inner", inputs={"x": "string[]"}, steps={"s": step(scatter="x", **{"in": {"x": "x"}})})
    outer = workflow(inputs={"x": "string[]"}, hints=hints, steps={"s": step(run="#inner", **{"in": {"x": "x"}})})

    assert "main" == inspect(graph(outer, inner, TOOL_WITH_INPUT))["process_id"]
    assert (
        "/arguments/0" == refusal({"cwlVersion": "v1.2", **tool(hints=hints, arguments=["$(1)"])}).offences[0].pointer
    )


@pytest.mark.parametrize(
    "text",
    [
        "$(inputs.x)",
        "a $(inputs['x y'][0].b) c",
        "\\$(date)",
        "\\${HOME}",
        "$",
        "cost: $5",
        "$HOME",
        "$$(runtime.cores)",
    ],
)
def test_parameter_references_and_escapes_need_no_requirement(text):
    inspect(
        {
            "cwlVersion": "v1.2",
            **tool(requirements={"InitialWorkDirRequirement": {"listing": [{"entryname": "a", "entry": text}]}}),
        }
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"baseCommand": ["sh", "-c", 'echo "$(printf hi)" ${HOME}x']},
        {"inputs": {"x": {"type": "string", "inputBinding": {"prefix": "$(date)", "itemSeparator": "${,}"}}}},
        {"inputs": {"x": {"type": {"type": "enum", "symbols": ["$(a)", "${b}"]}}}},
        {
            "$namespaces": {"arv": "http://arvados.org/cwl#"},
            "hints": [{"class": "arv:RunInContainer", "command": "$(date)"}],
        },
    ],
    ids=["baseCommand", "binding", "symbols", "hint"],
)
def test_text_that_the_standard_lets_nobody_evaluate_is_text(fields):
    assert "tool" == inspect({"cwlVersion": "v1.2", **tool(**fields)})["process_id"]


def test_a_workflow_that_runs_itself_is_refused():
    found = refusal(graph(workflow(requirements={"SubworkflowFeatureRequirement": {}}, steps={"s": step(run="#main")})))

    assert "runs itself" in found.offences[0].message


def test_a_bomb_of_nested_workflows_is_refused():
    levels = [
        workflow(
            id=f"w{n}",
            requirements={"SubworkflowFeatureRequirement": {}},
            steps={f"s{m}": step(run=f"#w{n + 1}") for m in range(10)},
        )
        for n in range(10)
    ]

    assert "more than {limit} steps" in refusal(graph(*levels, workflow(id="w10")), workflow="w0").message


def test_the_library_refuses_what_is_not_cwl_with_pointer_and_place():
    found = refusal({"cwlVersion": "v1.2", **tool(inputs={"x": {"type": "string", "inputBindin": {}}})})

    assert "/inputs/x/inputBindin" == found.offences[0].pointer
    assert "invalid field 'inputBindin'" in found.offences[0].message
    assert "package.cwl" not in found.offences[0].message


@pytest.mark.parametrize(
    "document",
    [
        tool(doc={"$include": "{canary}"}),
        tool(inputs={"$import": "{canary}"}),
        tool(requirements=[{"class": "SchemaDefRequirement", "types": [{"$import": "{canary}"}]}]),
        workflow(steps={"s": step(run="{canary}")}),
        workflow(steps={"s": step(run="{canary}#main")}),
        tool(**{"$schemas": ["{canary}"]}),
        tool(**{"$base": "{canary}"}, inputs={"f": {"type": "File", "default": secret("{canary}")}}),
    ],
)
@pytest.mark.parametrize("address", ["{path}", "file://{path}", "..{path}", "http://127.0.0.1:9/"])
def test_the_library_alone_reads_nothing_either(tmp_path, document, address):
    canary = tmp_path / "canary.yml"
    canary.write_text("canary-content: canary-content")
    place = address.format(path=canary)
    text = orjson.dumps({"cwlVersion": "v1.2", **document}).replace(b"{canary}", place.encode())

    said = ""
    try:
        loaded = validate(read_document(text, "application/cwl+json"), "")
    except Refusal as found:
        said = found.message.format_map(found.metadata) + str(found.offences)
    else:
        said = str(loaded.tool)

    assert "canary-content" not in said
