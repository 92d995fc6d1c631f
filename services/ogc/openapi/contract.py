"""What the contract says of each operation over REST: its path, parameters, body and answer, and its comments.

The comments come from the descriptor set that the edge reads too; the generated code has none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from google.api import annotations_pb2, field_behavior_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

import workflow_runner
from workflow_runner.v1 import (
    error_reason_pb2,
    ingestion_service_pb2,
    page_service_pb2,
    status_service_pb2,
    submission_service_pb2,
)

SERVICES = (
    status_service_pb2.DESCRIPTOR.services_by_name["StatusService"],
    submission_service_pb2.DESCRIPTOR.services_by_name["SubmissionService"],
    ingestion_service_pb2.DESCRIPTOR.services_by_name["IngestionService"],
)
PAGES = page_service_pb2.DESCRIPTOR.services_by_name["PageService"]
PAGE_PREFIX = "/html"
HTTP_BODY = "google.api.HttpBody"
IDS = {"processes": "processID", "jobs": "jobID", "ingestions": "ingestionID"}
"""How a parameter is called that stands for the id of one of many."""

_VARIABLE = re.compile(r"\{([^}=]+)(?:=([^}]*))?\}")
_STATUS = re.compile(r"\b[45][0-9]{2}\b")
_NAME = re.compile(r"\b[A-Z][A-Z_]{3,}\b")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path."""

    name: str
    """Of the RPC."""
    number: int
    """Which binding of the RPC it is, from 0."""
    verb: str
    path: str
    """Below the workspace, as OpenAPI writes it: `/jobs/{jobID}`."""
    query: tuple[FieldDescriptor, ...]
    body: FieldDescriptor | None
    answer: Descriptor
    """The message that is the whole answer."""
    comment: str
    reasons: tuple[str, ...]
    """Why it may refuse, by the names of `error_reason.proto`."""
    has_page: bool
    """Whether there is an HTML page of it."""

    @property
    def path_parameters(self) -> list[str]:
        """The names in the path, in its order."""
        return re.findall(r"\{([^}]+)\}", self.path)


@cache
def operations() -> tuple[Operation, ...]:
    """All operations over REST, in the order of the contract."""
    pages = {_template(rule).removeprefix(PAGE_PREFIX) for method in PAGES.methods for rule in _rules(method)}
    return tuple(
        _operation(method, number, rule, has_page=_template(rule) in pages)
        for service in SERVICES
        for method in service.methods
        for number, rule in enumerate(_rules(method))
    )


@cache
def statuses(reason: str) -> tuple[int, ...]:
    """The statuses that a refusal for a reason can have, as `error_reason.proto` says."""
    enum = error_reason_pb2.DESCRIPTOR.enum_types_by_name["ErrorReason"]
    comment = comments()[f"{enum.full_name}.ERROR_REASON_{reason}"]
    return tuple(int(status) for status in _STATUS.findall(comment))


@cache
def comments() -> dict[str, str]:
    """The comment of everything in the contract, by its full name; values of enums by that of the enum and theirs."""
    found: dict[str, str] = {}
    files = descriptor_pb2.FileDescriptorSet.FromString(_descriptor_set().read_bytes())
    for file in files.file:
        if file.package == "workflow_runner.v1":
            for location in file.source_code_info.location:
                if location.leading_comments and (name := _name_at(file, list(location.path))):
                    found[f"{file.package}.{name}"] = _text(location.leading_comments)
    return found


def message_of(field: FieldDescriptor) -> Descriptor:
    """The message that a field of that type holds."""
    assert field.message_type is not None
    return field.message_type


def is_required(field: FieldDescriptor) -> bool:
    """Whether a request must have it."""
    return field_behavior_pb2.REQUIRED in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


def _operation(method: MethodDescriptor, number: int, rule: http_pb2.HttpRule, *, has_page: bool) -> Operation:
    template = _template(rule)
    taken = {variable[1] for variable in _VARIABLE.finditer(template)} | {rule.body}
    whole = method.GetOptions().Extensions[annotations_pb2.http].response_body
    answer = message_of(method.output_type.fields_by_name[whole]) if whole else method.output_type
    comment = comments()[method.full_name]
    paragraphs = comment.split("\n\n")
    return Operation(
        name=method.name,
        number=number,
        verb=str(rule.WhichOneof("pattern")),
        path=_path(template),
        query=tuple(
            field
            for field in method.input_type.fields
            if field.name not in taken and field.type != FieldDescriptor.TYPE_MESSAGE
        ),
        body=method.input_type.fields_by_name[rule.body] if rule.body else None,
        answer=answer,
        comment="\n\n".join(paragraph for paragraph in paragraphs if not paragraph.startswith("Refuses ")),
        reasons=tuple(dict.fromkeys(_reasons(method))),
        has_page=has_page and rule.WhichOneof("pattern") == "get",
    )


def _reasons(method: MethodDescriptor) -> Iterator[str]:
    known = error_reason_pb2.ErrorReason.keys()
    for paragraph in comments()[method.full_name].split("\n\n"):
        if paragraph.startswith("Refuses "):
            if like := re.match(r"Refuses as (\w+) does", paragraph):
                yield from _reasons(method.containing_service.methods_by_name[like[1]])
            yield from (name for name in _NAME.findall(paragraph) if f"ERROR_REASON_{name}" in known)


def _rules(method: MethodDescriptor) -> list[http_pb2.HttpRule]:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    return [rule, *rule.additional_bindings]


def _template(rule: http_pb2.HttpRule) -> str:
    return str(getattr(rule, str(rule.WhichOneof("pattern"))))


def _path(template: str) -> str:
    """The path below the workspace: what stands for an id has the name that the standard gives it."""
    segments = _VARIABLE.sub(
        lambda variable: variable[2] if (variable[2] or "").startswith("workspaces/") else f"{{{variable[1]}}}",
        template,
    ).split("/")[3:]
    named = [f"{{{IDS[segments[place - 1]]}}}" if segment == "*" else segment for place, segment in enumerate(segments)]
    return "/" + "/".join(named)


def _descriptor_set() -> Path:
    """Beside the generated code or, in an installed package, inside it."""
    generated = Path(workflow_runner.__path__[0])
    place = generated / "workflow_runner.binpb"
    return place if place.exists() else generated.parent / "workflow_runner.binpb"


def _name_at(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str:
    """The name of what stands at a path of numbers (`descriptor.proto`, `SourceCodeInfo.Location.path`)."""
    names = []
    place: object = file
    while path:
        field, *path = path
        kept = type(place).DESCRIPTOR.fields_by_number.get(field)  # type: ignore[attr-defined]
        if kept is None or not path or kept.name not in _NAMED:
            return ""
        index, *path = path
        place = getattr(place, kept.name)[index]
        names.append(str(place.name))  # type: ignore[attr-defined]
    return ".".join(names)


_NAMED = ("message_type", "nested_type", "enum_type", "field", "value", "service", "method")


def _text(comment: str) -> str:
    """A comment as paragraphs of one line each."""
    paragraphs = re.split(r"\n\s*\n", comment.strip("\n"))
    return "\n\n".join(" ".join(line.strip() for line in paragraph.splitlines()) for paragraph in paragraphs)
