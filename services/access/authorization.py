"""Decides whether a call goes on: by the policy, on the message that was received, and never otherwise."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from services.access.identity import Subject, token_missing
from services.access.policy import Decision, PolicyEngine, PolicyInput
from services.shared.errors import PermissionDenied
from services.shared.names import IngestionName, JobName, Name, ProcessName, WorkspaceName, no_such
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_ACTION_NOT_ALLOWED,
    ERROR_REASON_IMMUTABLE_PROCESS,
)

Facts = Mapping[str, Any]
FactsReader = Callable[[Any], Awaitable[Facts | None]]
"""Reads what the policy needs to know of a resource; None when there is no such resource."""


class Authorizer:
    """Asks the policy about a call."""

    def __init__(self, policy: PolicyEngine, facts: Mapping[type, FactsReader]) -> None:
        """`facts` has a reader for each kind of name that the service's RPCs carry."""
        self._policy = policy
        self._facts = facts

    async def authorize(self, subject: Subject, action: str, name: Name) -> Decision:
        """Answers the decision that allows the call.

        Raises ACTION_NOT_ALLOWED, IMMUTABLE_PROCESS, TOKEN_MISSING where a token may help, the NO_SUCH_… of the
        resource where the caller may know what the workspace holds but not this, and AUTHORIZATION_UNAVAILABLE.
        """
        facts = await self._read(name)
        kind, identifier = _identity_of(name)
        decision = await self._policy.decide(
            PolicyInput(
                subject=subject,
                action=action,
                workspace=name.workspace,
                resource={"type": kind, "id": identifier, "found": facts is not None, **(facts or {})},
            )
        )
        if decision.allow is True:
            return decision
        if subject.anonymous and decision.reason == "anonymous":
            raise token_missing()
        if decision.hidden:
            # Something that the caller may not know of looks like something that does not exist.
            raise no_such(name)
        if decision.reason == "immutable_process" and isinstance(name, ProcessName):
            raise immutable(name)
        if subject.anonymous:
            # Somebody else may have the role for it.
            raise token_missing()
        raise PermissionDenied(
            ERROR_REASON_ACTION_NOT_ALLOWED,
            "The policy does not allow {action} in workspace {workspace}: {rule}.",
            action=action,
            workspace=name.workspace,
            rule=decision.reason.replace("_", " "),
        )

    async def _read(self, name: Name) -> Facts | None:
        if isinstance(name, WorkspaceName):
            return {}
        return await self._facts[type(name)](name)


def immutable(name: ProcessName) -> PermissionDenied:
    """The refusal to change a process that is built in."""
    return PermissionDenied(
        ERROR_REASON_IMMUTABLE_PROCESS,
        "Process {process} is built in and cannot be changed. Choose another id.",
        process=name.process_id,
    )


def _identity_of(name: Name) -> tuple[str, str]:
    match name:
        case WorkspaceName(workspace):
            return "workspace", workspace
        case ProcessName(_, process_id):
            return "process", process_id
        case JobName(_, job_id):
            return "job", str(job_id)
        case IngestionName(_, ingestion_id):
            return "ingestion", str(ingestion_id)
