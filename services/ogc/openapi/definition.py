"""Puts the OpenAPI definition of a workspace together."""

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import metadata
from typing import Any
from uuid import UUID

import orjson
from google.protobuf.descriptor import FieldDescriptor

from services.ogc.openapi.answers import (
    BODIES,
    BODY_REFUSED_AT_THE_EDGE,
    HEADERS,
    JSON,
    REFUSALS,
    REFUSED_AT_THE_EDGE,
    Answer,
    answers,
)
from services.ogc.openapi.contract import HTTP_BODY, Operation, operations, statuses
from services.ogc.openapi.documents import DOCUMENTS, TEXT, execute_request, refer
from services.ogc.openapi.schemas import Messages, Schema, enum_names
from services.ogc.paging import (
    CALLBACKS_ON_A_PAGE,
    INGESTIONS_ON_A_PAGE,
    JOBS_ON_A_PAGE,
    LARGEST_PAGE,
    PROCESSES_ON_A_PAGE,
)
from services.records.processes import Process
from workflow_runner.v1 import callback_pb2, job_pb2, submission_service_pb2

MOST_KEPT = 64
MOST_PROCESSES = 200
"""How many processes have a path of their own; the others have the path that is for all of them."""
PROBLEM = "application/problem+json"
HTML = "text/html"
SEGMENT = r"^[^/\x00-\x1f\x7f]{1,255}$"
"""Names that packages give."""
PATH_PARAMETERS: dict[str, Schema] = {
    "processID": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"},
    "jobID": {"type": "string", "format": "uuid"},
    "ingestionID": {"type": "string", "format": "uuid"},
    "step": {"type": "string", "pattern": SEGMENT},
    "output": {"type": "string", "pattern": SEGMENT},
    "path": {"type": "string", "minLength": 1, "description": "May have several segments."},
}
# What a list of texts holds where the contract can only say that it is one: several may stand in one value.
ITEMS: dict[str, Schema] = {
    "workflow_runner.v1.ListJobsRequest.states": {
        "type": "string",
        "enum": enum_names(job_pb2.Job.State.DESCRIPTOR),
    },
    "workflow_runner.v1.ListJobsRequest.types": {"type": "string", "enum": ["process"]},
    "workflow_runner.v1.ListCallbacksRequest.states": {
        "type": "string",
        "enum": enum_names(callback_pb2.Callback.State.DESCRIPTOR),
    },
}
ON_A_PAGE = {
    "ListProcessesRequest": PROCESSES_ON_A_PAGE,
    "ListJobsRequest": JOBS_ON_A_PAGE,
    "ListCallbacksRequest": CALLBACKS_ON_A_PAGE,
    "ListIngestionsRequest": INGESTIONS_ON_A_PAGE,
}
ALIAS_ONLY = ("workflow_runner.v1.ListJobsRequest.skip",)
"""What is refused everywhere but under the paths of the EO DataHub, which have no definition of their own."""
REPRESENTATION: Schema = {
    "name": "f",
    "in": "query",
    "description": "The representation: `html` for a page, `json` whatever `Accept` says.",
    "schema": {"type": "string", "enum": ["json", "html"]},
}
EXECUTION = "/processes/{processID}/execution"


class Definitions:
    """Makes definitions, and keeps those that were asked for last: one is the same until a process changes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, tuple[UUID, ...]], bytes] = OrderedDict()

    def get(self, url: str, processes: Sequence[Process]) -> bytes:
        """The definition of the workspace at `url`, as a caller has it who sees these processes."""
        key = (url, tuple(process.revision_id for process in processes))
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = definition(url, processes)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return found


def definition(url: str, processes: Iterable[Process]) -> bytes:
    """The definition of the workspace at `url`: each of the processes has its execution as a path of its own."""
    fixed = _fixed()
    paths = dict(fixed["paths"])
    schemas = dict(fixed["components"]["schemas"])
    taken = {as_class(name) for name in schemas}
    for process in processes:
        name = own = f"execute.{process.process_id}"
        number = 1
        # Ids may differ by what no class of a generated client can differ by.
        while as_class(name) in taken:
            number += 1
            name = f"{own}.{number}"
        taken.add(as_class(name))
        schemas[name] = execute_request(process.description)
        paths[EXECUTION.replace("{processID}", process.process_id)] = _execution(process, paths[EXECUTION], name)
    document = {
        **fixed,
        "servers": [{"url": url}],
        "paths": paths,
        "components": {**fixed["components"], "schemas": schemas},
    }
    return orjson.dumps(document)


def as_class(name: str) -> str:
    """What is left of a name where it becomes that of a class, on a file system that knows no capital letters."""
    return re.sub("[^a-z0-9]", "", name.lower())


@cache
def _fixed() -> dict[str, Any]:
    """What is the same for every workspace."""
    messages = Messages()
    messages.refer(submission_service_pb2.DESCRIPTOR.message_types_by_name["ProcessSharing"], answered=False)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations():
        paths.setdefault(operation.path, {})[operation.verb] = _operation(operation, messages)
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Workflow Runner",
            "description": (
                "Deploys Earth-observation application packages (CWL) as processes, executes them as jobs, tells how "
                "the jobs stand and serves their results (OGC API - Processes)."
            ),
            "version": metadata.version("workflow-runner"),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "externalDocs": {"url": "https://docs.ogc.org/is/18-062r2/18-062r2.html"},
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": {**messages.components, **DOCUMENTS},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(operation: Operation, messages: Messages) -> dict[str, Any]:
    summary, _, more = operation.comment.partition("\n\n")
    sentence, stop, rest = summary.partition(". ")
    about: dict[str, Any] = {
        "operationId": operation.name + ("" if operation.number == 0 else str(operation.number + 1)),
        "summary": sentence + (stop.strip() or ""),
        "tags": [operation.path.split("/")[1] or "workspace"],
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS[name]}
                for name in operation.path_parameters
            ),
            *(_query_parameter(field, messages) for field in operation.query if field.full_name not in ALIAS_ONLY),
            *([REPRESENTATION] if operation.has_page else []),
            *(
                {"name": name, "in": "header", "description": asked, "schema": TEXT}
                for name, asked in HEADERS.get(operation.name, {}).items()
            ),
        ],
    }
    if description := "\n\n".join(part for part in (rest, more) if part):
        about["description"] = description
    if operation.body is not None:
        content = {media_type: {"schema": schema} for media_type, schema in BODIES[operation.body.name].items()}
        about["requestBody"] = {"required": True, "content": content}
    about["responses"] = _responses(operation, messages)
    return about


def _query_parameter(field: FieldDescriptor, messages: Messages) -> Schema:
    schema = messages.field(field)
    about: Schema = {"name": field.json_name, "in": "query", "description": schema.pop("description"), "schema": schema}
    if field.name == "page_size":
        schema |= {"default": ON_A_PAGE[field.full_name.split(".")[-2]], "maximum": LARGEST_PAGE}
    if field.is_repeated:
        schema["items"] = ITEMS.get(field.full_name, schema["items"])
        # The contract counts values, each of which may hold several.
        schema.pop("maxItems", None)
        about |= {"style": "form", "explode": False}
    return about


def _responses(operation: Operation, messages: Messages) -> dict[str, Any]:
    message = None
    if operation.answer.full_name not in (HTTP_BODY, "google.protobuf.Empty"):
        message = messages.refer(operation.answer, answered=True)
    found = {str(answer.status): _response(answer, operation) for answer in answers(operation, message)}
    refused: dict[int, list[str]] = {status: [said] for status, said in REFUSED_AT_THE_EDGE.items()}
    for status, said in BODY_REFUSED_AT_THE_EDGE.items() if operation.body else ():
        refused[status] = [said]
    for reason in dict.fromkeys((*operation.reasons, *REFUSALS)):
        for status in statuses(reason):
            refused.setdefault(status, []).append(f"`{reason}`")
    problem = {PROBLEM: {"schema": refer("exception")}} | ({HTML: {"schema": TEXT}} if operation.has_page else {})
    for status, why in sorted(refused.items()):
        found[str(status)] = {"description": " ".join(why), "content": problem}
    return found


def _response(answer: Answer, operation: Operation) -> dict[str, Any]:
    content = {media_type: {"schema": schema} for media_type, schema in answer.content.items()}
    if operation.has_page and answer.status == 200:
        content[HTML] = {"schema": TEXT}
    return {
        "description": answer.description,
        **({"content": content} if content else {}),
        **({"headers": answer.headers} if answer.headers else {}),
    }


def _execution(process: Process, item: dict[str, Any], schema: str) -> dict[str, Any]:
    """The path item of the execution of one process."""
    general = item["post"]
    about = process.description
    return {
        "post": {
            **general,
            "operationId": f"{general['operationId']}.{schema.removeprefix('execute.')}",
            "summary": f"Executes {about.get('title') or process.process_id}.",
            "description": "\n\n".join(filter(None, (about.get("description"), general.get("description")))),
            "parameters": [one for one in general["parameters"] if one["in"] != "path"],
            "requestBody": {"required": True, "content": {JSON: {"schema": refer(schema)}}},
        }
    }
