"""The requirements of the standards that are declared, what each asks, and the tests that show it.

    python -m tests.conformance_table > docs/conformance.md

Names and classes are those of OGC API - Processes Part 1 (1.0) and Part 2 (1.0); a test says which it shows with
`@pytest.mark.requirement("core/landingpage-success")`.
"""

# ruff: noqa: E501 - each line is one of the table

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent

CORE = {
    "landingpage-op": "A workspace's root can be read with GET.",
    "landingpage-success": "The landing page is 200 and links to the API definition, the conformance classes and the processes.",
    "api-definition-op": "What the landing page links to as API definition can be read with GET.",
    "api-definition-success": "The API definition is 200, in the media type that the link states.",
    "conformance-op": "The conformance classes can be read with GET.",
    "conformance-success": "The conformance classes are 200 and list the URIs of what is kept.",
    "http": "Requests and answers follow HTTP 1.1: methods, statuses and headers mean what HTTP says.",
    "links": "Answers link to themselves and to what belongs to them, with `href`, `rel` and `type`.",
    "pl-limit-definition": "The list of processes takes `limit`, a whole number from 1.",
    "pl-limit-response": "No page of processes is longer than `limit`, nor than the largest page.",
    "process-list-op": "The list of processes can be read with GET.",
    "process-list-success": "The list is 200 and holds a summary of each process.",
    "process-description-op": "A process can be read with GET.",
    "process-description-success": "A process is 200 and answers its description.",
    "process-exception/no-such-process": "An unknown process is 404 with the exception of the standard.",
    "test-process": "There is a process that takes every kind of input and gives it back.",
    "process-execute-op": "A process is executed with POST at its `execution`.",
    "process-execute-request": "An execute request is the JSON of `execute.yaml`.",
    "process-execute-inputs": "Inputs are given inline or by reference.",
    "process-execute-input-array": "Where an input may occur several times, its values are a list.",
    "process-execute-input-inline-object": "An object is given as a qualified value.",
    "process-execute-input-inline-mixed": "Where an input has several formats, a qualified value names one.",
    "process-execute-input-inline-binary": "Binary values are given in base64.",
    "process-execute-input-inline-bbox": "Bounding boxes are given as `bbox` and `crs`.",
    "process-execute-input-validation": "Values, inline or fetched, are checked against their schemas; what does not fit is 400.",
    "process-execute-default-outputs": "A request that names no outputs asks for all of them.",
    "process-execute-default-execution-mode": "Without a preference a process that can be executed only one way is; one with both ways is executed synchronously.",
    "process-execute-auto-execution-mode": "With `respond-async` a process that can be executed only one way is; one with both ways may be either.",
    "process-execute-sync-raw-value-one": "One raw value of a synchronous execution is the body of the answer.",
    "process-execute-sync-raw-value-multi": "Several raw values of a synchronous execution are parts of a multipart answer.",
    "process-execute-sync-raw-ref": "Raw references of a synchronous execution are links of a 204.",
    "process-execute-sync-raw-mixed-multi": "Raw values and references of a synchronous execution are parts; references have a location and no body.",
    "process-execute-sync-document": "A synchronous execution that asks for a document gets one.",
    "process-execute-success-async": "An asynchronous execution is 201 with the location of the job and its status.",
    "job-op": "A job can be read with GET.",
    "job-success": "A job is 200 and answers its `statusInfo`.",
    "job-exception-no-such-job": "An unknown job is 404 with the exception of the standard.",
    "job-results-op": "The results of a job can be read with GET.",
    "job-results-async-raw-value-one": "One raw value of a job is the body of its results.",
    "job-results-async-raw-value-multi": "Several raw values of a job are parts of its results.",
    "job-results-async-raw-ref": "Raw references of a job are links of a 204.",
    "job-results-async-raw-mixed-multi": "Raw values and references of a job are parts; references have a location and no body.",
    "job-results-async-document": "The results of a job whose request asked for a document are one.",
    "job-results-success-sync": "Results of a job that was executed synchronously are what the execution answered.",
    "job-results-exception/no-such-job": "Results of an unknown job are 404 with the exception of the standard.",
    "job-results-exception/results-not-ready": "Results of a job that goes on are 404 with the exception of the standard.",
    "job-results-failed": "Results of a failed job are an error by the cause of the failure.",
}
DESCRIPTION = {
    "json-encoding": "A description is JSON of `process.yaml`.",
    "inputs-def": "A description has its inputs by their names.",
    "input-def": "Each input has a schema.",
    "input-mixed-type": "An input of several formats says so with alternatives.",
    "input-binary": "A binary input says its encoding and media type.",
    "outputs-def": "A description has its outputs by their names.",
    "output-def": "Each output has a schema.",
    "output-mixed-type": "An output of several formats says so with alternatives.",
}
JOB_LIST = {
    "op": "The list of jobs can be read with GET.",
    "success": "The list is 200 and holds the `statusInfo` of each job.",
    "links": "The list links to itself, to the next page and to the one before.",
    "limit-def": "The list takes `limit`, a whole number from 1.",
    "limit-response": "No page is longer than `limit`, nor than the largest page.",
    "type-def": "The list takes `type`, one or several.",
    "type-response": "Only jobs of those types are listed.",
    "processID-definition": "The list takes `processID`, one or several.",
    "processID-response": "Only jobs of those processes are listed.",
    "processID-mandatory": "Each job says its process.",
    "status-def": "The list takes `status`, one or several.",
    "status-response": "Only jobs in those states are listed.",
    "datetime-def": "The list takes `datetime`, a moment or an interval that may be open.",
    "datetime-response": "Only jobs created then are listed.",
    "duration-definition": "The list takes `minDuration` and `maxDuration` in seconds.",
    "duration-response": "Only jobs that took so long, or have been running for so long, are listed.",
}
DEPLOY = {
    "deploy-post-op": "A package is deployed with POST at the list of processes.",
    "deploy-content-type": "The media type of the package has to be stated.",
    "deploy-body": "The body is the package.",
    "deploy-response-success": "A deployment is 201 with the location of the process.",
    "deploy-response-body": "The answer is the summary of the process.",
    "deploy-response-pid": "The summary has the id of the process.",
    "deploy-response-duplicate": "A second process of one id is 409 with the exception of the standard.",
    "deploy-response-immutable": "A process of the id of an immutable one is 403 with the exception of the standard.",
    "deploy-unsupported-media-type": "A package of another media type is 415 with the exception of the standard.",
    "replace-put-op": "A package is replaced with PUT at its process.",
    "replace-content-type": "The media type of the package has to be stated.",
    "replace-body": "The body is the package.",
    "replace-response": "A replacement is 204.",
    "undeploy-delete-op": "A process is removed with DELETE.",
    "undeploy-response": "A removal is 204, and the process is gone.",
    "static-indicator": "A summary says whether the process can be replaced and removed: `mutable`.",
    "package-get-op": "The package of a process can be read with GET.",
    "package-response-success": "The package is 200.",
    "package-response-body": "The package is what was deployed.",
}
OGCAPPPKG = {
    "schema": "An application package has the members of its schema.",
    "body": "An application package comes as `application/ogcapppkg+json`.",
    "process-description": "What an application package says of the process is what the description tells.",
    "profile-docker": "A Docker image as execution unit has the profile for it; such units are known and refused with a reason.",
    "deploy-body": "An application package can be deployed.",
    "replace-body": "An application package can replace another.",
    "package-response-body": "An application package is answered as it holds the CWL.",
}
CWL = {
    "body": "CWL comes as `application/cwl`, as YAML or JSON.",
    "execution-unit": "CWL is the execution unit, by value or by reference.",
    "deploy-body": "CWL can be deployed.",
    "deploy-w-param": "`w` chooses the workflow of a package; without it the first one is taken.",
    "deploy-exception-workflow-not-found": "A workflow that the package does not have is 400 with the exception of the standard.",
    "replace-body": "CWL can replace a package.",
    "package-response-body": "CWL is answered as it was deployed.",
}
CLASSES: dict[str, tuple[str, dict[str, str]]] = {
    "core": ("Part 1, core", CORE),
    "ogc-process-description": ("Part 1, OGC process description", DESCRIPTION),
    "json": ("Part 1, JSON", {"definition": "Every resource has a JSON representation of its schema."}),
    "html": (
        "Part 1, HTML",
        {
            "definition": "Every resource can be had as `text/html`.",
            "content": "A page shows what the resource says, and its links lead on.",
        },
    ),
    "oas30": (
        "Part 1, OpenAPI 3.0",
        {
            "oas-definition-1": "The API definition is an OpenAPI 3.0 document in its media type.",
            "oas-definition-2": "The API definition is valid.",
            "oas-impl": "What the definition offers works as it says.",
            "completeness": "The definition says every status and every schema that is answered.",
            "exception-codes": "For errors the definition says the statuses and the document.",
            "security": "The definition says how callers are known.",
        },
    ),
    "job-list": ("Part 1, job list", JOB_LIST),
    "callback": (
        "Part 1, callback",
        {"job-creation-callback": "An execute request may name a subscriber, who is told of the job."},
    ),
    "dismiss": (
        "Part 1, dismiss",
        {
            "job-dismiss-op": "A job is dismissed with DELETE.",
            "job-dismiss-success": "A dismissal is 200 with the status `dismissed`.",
        },
    ),
    "deploy-replace-undeploy": ("Part 2, deploy, replace, undeploy", DEPLOY),
    "ogcapppkg": ("Part 2, OGC application package", OGCAPPPKG),
    "cwl": ("Part 2, CWL", CWL),
}
HEAD = """\
# Conformance

What is declared at `/workspaces/{workspace}/conformance`, requirement by requirement, and the tests that show it. The classes of
OGC API - Common (core, landing page, JSON, OpenAPI 3.0) ask for the same resources as the classes of Part 1. Names are those of
OGC API - Processes 1.0; the sentences are ours and do not replace the standard. Written by `python -m tests.conformance_table`.
"""


def requirements() -> dict[str, str]:
    """Every requirement by `class/name`, and what it asks."""
    return {f"{of}/{name}": asks for of, (_, named) in CLASSES.items() for name, asks in named.items()}


@cache
def shown() -> dict[str, list[str]]:
    """The tests that show each requirement, as `file::test`."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for test, name in _marked(ast.parse(path.read_text())):
            tests = found.setdefault(name, [])
            if (entry := f"{path.relative_to(TESTS)}::{test}") not in tests:
                tests.append(entry)
    return found


def _marked(module: ast.Module) -> Iterator[tuple[str, str]]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for decorator in node.decorator_list:
                for call in ast.walk(decorator):
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.requirement":
                        for argument in call.args:
                            yield node.name, ast.literal_eval(argument)


def table() -> str:
    """The whole page."""
    tests = shown()
    count = len(requirements())
    lines = [HEAD, f"{count} requirements, {sum(name in tests for name in requirements())} of them shown by tests."]
    for of, (title, named) in CLASSES.items():
        lines += ["", f"## {title}: {len(named)}", "", "| requirement | asks | shown by |", "| --- | --- | --- |"]
        for name, asks in named.items():
            by = "<br>".join(f"`{test}`" for test in tests.get(f"{of}/{name}", ()))
            lines.append(f"| {of}/{name} | {asks} | {by} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
