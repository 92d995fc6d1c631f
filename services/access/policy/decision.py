"""What the policy is asked and what it answers, in types.

An answer is taken only in exactly the shape that is asked for. A missing, additional or wrongly typed member is no
answer: a policy that knows an obligation which this code does not know must not be half obeyed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import orjson

from services.access.identity import Subject
from services.shared.errors import Unavailable
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_AUTHORIZATION_UNAVAILABLE

RETRY_IN = timedelta(seconds=2)


@dataclass(frozen=True, kw_only=True)
class PolicyInput:
    """One question: may this subject do this action in this workspace on this resource?"""

    subject: Subject
    action: str
    """The action of the RPC, such as `process.read`."""
    workspace: str
    """The workspace in the resource name of the request."""
    resource: Mapping[str, Any] = field(default_factory=dict)
    """Facts about the resource, read by the service from the database; see `deploy/opa/README.md`."""

    def to_json(self) -> bytes:
        """The input document. Raises TypeError for text that is not Unicode and for numbers beyond 64 bits."""
        return orjson.dumps(
            {
                "subject": {
                    "id": self.subject.id,
                    "anonymous": self.subject.anonymous,
                    "claims": dict(self.subject.claims),
                },
                "action": self.action,
                "workspace": self.workspace,
                "resource": dict(self.resource),
            }
        )


@dataclass(frozen=True, kw_only=True)
class ListFilter:
    """What a list may show. A row is listed if `everything` is true or any of the other conditions holds for it.

    | field          | a process is listed if                          | a job is listed if                        |
    |----------------|-------------------------------------------------|-------------------------------------------|
    | `workspaces`   | it is deployed in one, or is `shared` with one  | its calling workspace is one of them      |
    | `subject`      | never (always None)                             | its owner is this subject                 |
    | `visibilities` | its visibility is one of them                   | its process has one of them, and is       |
    |                |                                                 | deployed in the workspace of the list     |
    | `groups`       | it is `shared` with one of them                 | never (always empty)                      |

    Ingestions are listed by `workspaces` alone. An empty tuple and None match nothing. Which workspace the list is
    of is the store's own condition, besides this one.
    """

    everything: bool
    workspaces: tuple[str, ...]
    subject: str | None
    visibilities: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The answer. Only `allow is True` allows."""

    allow: bool
    reason: str
    """A stable snake_case word: what granted the call, or why it is refused."""
    hidden: bool = False
    """The refusal has to read as if the object did not exist: NOT_FOUND, not PERMISSION_DENIED."""
    calling_workspace: str = ""
    """For an allowed `process.execute`: the workspace on whose behalf the job runs. Recorded with the job."""
    filter: ListFilter | None = None
    """For an allowed list: what it may show."""


class PolicyEngine(Protocol):
    """Decides. Shared by all calls of a service; used only on the event loop on which it was opened."""

    async def decide(self, query: PolicyInput) -> Decision:
        """Answers, or raises Unavailable (AUTHORIZATION_UNAVAILABLE) when there is no answer in time."""


class MalformedDecision(Exception):
    """The policy said something of another shape than asked for."""


def unavailable(engine: str) -> Unavailable:
    """The refusal for a call on which the policy could not be asked."""
    return Unavailable(
        ERROR_REASON_AUTHORIZATION_UNAVAILABLE,
        "The policy engine gave no answer in time; nothing was done. Try again.",
        retry_in=RETRY_IN,
        engine=engine,
    )


def refused(reason: str) -> Decision:
    """A refusal that needs no engine."""
    return Decision(allow=False, reason=reason)


def parse_decision(query: PolicyInput, document: object) -> Decision:
    """Reads the policy's answer to `query`. Raises MalformedDecision unless it has exactly the documented shape."""
    match document:
        case {
            "allow": bool(allow),
            "reason": str(reason),
            "hidden": bool(hidden),
            "calling_workspace": str(calling_workspace),
            "filter": filter_document,
            **rest,
        } if not rest:
            decision = Decision(
                allow=allow,
                reason=reason,
                hidden=hidden,
                calling_workspace=calling_workspace,
                filter=None if filter_document is None else _parse_filter(filter_document),
            )
        case _:
            raise MalformedDecision("the decision has not the documented members")
    if decision.allow and query.action.endswith(".list") and decision.filter is None:
        raise MalformedDecision("a list is allowed without a filter")
    if decision.allow and query.action == "process.execute" and not decision.calling_workspace:
        raise MalformedDecision("an execution is allowed without a calling workspace")
    return decision


def _parse_filter(document: object) -> ListFilter:
    match document:
        case {
            "everything": bool(everything),
            "workspaces": list(workspaces),
            "subject": str() | None as subject,
            "visibilities": list(visibilities),
            "groups": list(groups),
            **rest,
        } if not rest and all(isinstance(text, str) for text in (*workspaces, *visibilities, *groups)):
            return ListFilter(
                everything=everything,
                workspaces=tuple(workspaces),
                subject=subject,
                visibilities=tuple(visibilities),
                groups=tuple(groups),
            )
    raise MalformedDecision("the filter has not the documented members")
