"""What the contract offers over REST, read from its descriptors."""

import re
from dataclasses import dataclass

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from workflow_runner.v1 import ingestion_service_pb2, page_service_pb2, status_service_pb2, submission_service_pb2

_PAGES = page_service_pb2.DESCRIPTOR.services_by_name["PageService"]

CLUSTERS = {
    submission_service_pb2.DESCRIPTOR.services_by_name["SubmissionService"]: "submission",
    status_service_pb2.DESCRIPTOR.services_by_name["StatusService"]: "status",
    _PAGES: "status",
    ingestion_service_pb2.DESCRIPTOR.services_by_name["IngestionService"]: "ingestion",
}
"""Which cluster serves which service."""

PAGE_PREFIX = "/html"
"""Before the path of a resource: the path of its page. Clients do not know it, they ask at the path of the resource."""

_VARIABLE = re.compile(r"\{([^}=]+)(?:=([^}]*))?\}")


@dataclass(frozen=True)
class Parameter:
    """A query parameter."""

    name: str
    kind: str = ""
    """What its values are, in words; empty for texts."""
    values: str = "[^&]*"
    """Matches its values, as they are encoded."""
    repeated: bool = False
    """Whether it may be there more than once."""


FORMAT = Parameter("f", "html or json", "html|json")
"""What comes back where there is a page, whatever `Accept` says; only the edge reads it."""


@dataclass(frozen=True, kw_only=True)
class Binding:
    """One method and path of an operation."""

    verb: str
    template: str
    """As in the contract: `/{name=workspaces/*/jobs/*}/logs/{step}`."""
    query: tuple[Parameter, ...]
    """The query parameters it has. A name that a path variable or the body fills is not among them: the transcoder
    would let the query win."""

    @property
    def path_regex(self) -> str:
        """Matches the paths of the template, with or without a slash at the end."""
        matchers = {"*": "[^/]+", "**": ".+"}
        return "/".join(matchers.get(part, re.escape(part)) for part in _path(self.template).split("/")) + "/?"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One RPC."""

    service: str
    """Full name of the service."""
    name: str
    cluster: str
    body: str
    """The field that the body of the HTTP request fills; empty without one."""
    streams: bool
    """Whether the answer is a stream."""
    bindings: tuple[Binding, ...]

    @property
    def is_page(self) -> bool:
        """Whether it shows a resource as HTML."""
        return self.service == _PAGES.full_name

    @property
    def path(self) -> str:
        """The path of a gRPC call."""
        return f"/{self.service}/{self.name}"

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, so that it may be sent again after it was sent."""
        return all(binding.verb == "GET" for binding in self.bindings)


def operations() -> list[Operation]:
    """All operations of the contract, in its order."""
    return [_operation(method, cluster) for service, cluster in CLUSTERS.items() for method in service.methods]


def page_paths() -> list[str]:
    """The paths that have a page, with `*` for a segment: `/workspaces/*/jobs`."""
    templates = (method.GetOptions().Extensions[annotations_pb2.http].get for method in _PAGES.methods)
    return [_path(template).removeprefix(PAGE_PREFIX) for template in templates]


def _operation(method: MethodDescriptor, cluster: str) -> Operation:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    return Operation(
        service=method.containing_service.full_name,
        name=method.name,
        cluster=cluster,
        body=rule.body,
        streams=method.server_streaming,
        bindings=tuple(_binding(method, one) for one in (rule, *rule.additional_bindings)),
    )


def _binding(method: MethodDescriptor, rule: http_pb2.HttpRule) -> Binding:
    verb = rule.WhichOneof("pattern")
    if verb is None or verb == "custom" or rule.body == "*":
        # A body of `*` would let the body override path variables.
        raise ValueError(f"{method.full_name} has an HTTP rule that the edge does not serve.")
    template: str = getattr(rule, verb)
    taken = {variable[1] for variable in _VARIABLE.finditer(template)} | {rule.body}
    return Binding(
        verb=verb.upper(),
        template=template,
        query=(
            *(
                _parameter(field)
                for field in method.input_type.fields
                if field.name not in taken and field.type != FieldDescriptor.TYPE_MESSAGE
            ),
            *([FORMAT] if verb == "get" and _path(template).removeprefix(PAGE_PREFIX) in page_paths() else []),
        ),
    )


def _path(template: str) -> str:
    return _VARIABLE.sub(lambda variable: variable[2] or "*", template)


def _parameter(field: FieldDescriptor) -> Parameter:
    match field.type:
        case FieldDescriptor.TYPE_INT32:
            return Parameter(field.json_name, "a whole number", "-?(?:[0-9]{1,9}|1[0-9]{9}|2[01][0-9]{8})")
        case FieldDescriptor.TYPE_BOOL:
            return Parameter(field.json_name, "true or false", "true|false")
        case FieldDescriptor.TYPE_STRING:
            return Parameter(field.json_name, repeated=field.is_repeated)
    raise ValueError(f"{field.full_name} is of a type that no query parameter has yet.")
