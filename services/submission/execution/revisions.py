"""Reads revisions of processes, and keeps what is expensive to make of them: a revision never changes."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

from services.records.processes import Process, package_key
from services.shared.postgres import Database
from services.submission.builtin.echo import EchoInputs
from services.submission.execution.inputs import InputSchema

MOST_KEPT = 512
MOST_AT_ONCE = 16_000
"""How many bytes of inputs, times the width of their types, are judged beside other requests: some milliseconds."""

Kept = TypeVar("Kept")


@dataclass(frozen=True, kw_only=True)
class Revision:
    """What a job is pinned to."""

    revision_id: UUID
    digest: str
    workflow_id: str
    backend: str
    description: dict[str, Any]
    cwl_inputs: dict[str, Any]

    @property
    def package_key(self) -> str:
        """Where the object store keeps the package."""
        return package_key(self.digest)


class Inputs(Protocol):
    """Judges and shapes the inputs of one revision."""

    width: int
    """How many times longer than a list of numbers a value of the same size may take."""

    def job_order(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Returns what the backend is given. Raises INVALID_INPUTS with the violations."""
        ...

    def check_outputs(self, outputs: Mapping[str, Any] | None) -> None:
        """Raises NO_SUCH_OUTPUT, INVALID_EXECUTE_REQUEST."""

    def takes_links(self, name: str) -> bool:
        """Whether an input takes a link itself, rather than what the link leads to."""
        ...


async def judged(inputs: Inputs, given: dict[str, Any], size_bytes: int) -> dict[str, Any]:
    """Returns the job order of inputs, made in a thread unless they are so few that others do not notice.

    Raises INVALID_INPUTS.
    """
    if size_bytes * inputs.width <= MOST_AT_ONCE:
        return inputs.job_order(given)
    return await asyncio.to_thread(inputs.job_order, given)


class RevisionReader:
    """Reads revisions, and their inputs' schemas, each once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._revisions: OrderedDict[UUID, Revision] = OrderedDict()
        self._inputs: OrderedDict[UUID, Inputs] = OrderedDict()

    async def get(self, revision_id: UUID) -> Revision:
        """Answers a revision that a job, or a process, points to."""
        if revision_id in self._revisions:
            self._revisions.move_to_end(revision_id)
            return self._revisions[revision_id]
        row = await self._database.fetchrow(
            """
            SELECT revision_id, digest, workflow_id, backend, description, cwl_inputs
            FROM process_revisions WHERE revision_id = $1
            """,
            revision_id,
        )
        assert row is not None, "a foreign key points to it"
        return _keep(self._revisions, revision_id, Revision(**row))

    def inputs_of(self, revision: Revision | Process) -> Inputs:
        """Answers the judge of a revision's inputs."""
        kept = self._inputs.get(revision.revision_id)
        if kept is not None:
            self._inputs.move_to_end(revision.revision_id)
            return kept
        builtin = revision.backend == "builtin"
        made = EchoInputs() if builtin else InputSchema(revision.description, revision.cwl_inputs)
        return _keep(self._inputs, revision.revision_id, made)


def _keep(kept: OrderedDict[UUID, Kept], key: UUID, value: Kept) -> Kept:
    kept[key] = value
    if len(kept) > MOST_KEPT:
        kept.popitem(last=False)
    return value
