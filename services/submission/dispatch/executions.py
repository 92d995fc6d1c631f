"""Makes what a backend is given of a job: the package, the job order, and the limits."""

import asyncio
from typing import Any

from services.records.artifacts import ArtifactStore, NoSuchArtifact
from services.records.jobs import Job
from services.shared.errors import InvalidArgument
from services.submission.backends import Execution, Failure, FailureReason, LaunchRefused, Limits
from services.submission.dispatch.queue import Claim
from services.submission.execution.revisions import RevisionReader


class LimitsPolicy:
    """What a job of a workspace may use."""

    def __init__(self, limits: Limits, *, network_workspaces: frozenset[str]) -> None:
        """Jobs of `network_workspaces` may reach the network if their package asks; `*` stands for all."""
        self._limits = limits
        self._network_workspaces = network_workspaces

    def of(self, workspace: str) -> Limits:
        """The limits for a job that a workspace called."""
        allowed = bool(self._network_workspaces & {workspace, "*"})
        return Limits(
            cores=self._limits.cores,
            memory_mib=self._limits.memory_mib,
            time=self._limits.time,
            output_mib=self._limits.output_mib,
            files=self._limits.files,
            processes=self._limits.processes,
            network=allowed,
        )


class Executions:
    """Makes executions of jobs."""

    def __init__(self, revisions: RevisionReader, artifacts: ArtifactStore, limits: LimitsPolicy) -> None:
        self._revisions = revisions
        self._artifacts = artifacts
        self._limits = limits

    async def of(self, claim: Claim, job: Job) -> Execution:
        """Raises LaunchRefused when there is none that makes sense, STORE_UNAVAILABLE."""
        revision = await self._revisions.get(job.revision_id)
        inputs: dict[str, Any] = {**(job.request.get("inputs") or {}), **(job.request.get("fetched") or {})}
        package = b""
        if revision.backend != "builtin":
            try:
                package = await self._artifacts.get(revision.package_key)
            except NoSuchArtifact:
                message = "The package of the process is missing from the object store."
                raise LaunchRefused(Failure(reason=FailureReason.BACKEND_FAILED, message=message)) from None
        try:
            order = await asyncio.to_thread(self._revisions.inputs_of(revision).job_order, inputs)
        except InvalidArgument as error:
            # Inputs that passed the check and still make no job order.
            raise LaunchRefused(Failure(reason=FailureReason.INPUT_UNAVAILABLE, message=error.message)) from None
        return Execution(
            job_id=str(claim.job_id),
            attempt=claim.attempt,
            workspace=claim.workspace,
            process_id=job.process_id,
            package=package,
            workflow_id=revision.workflow_id,
            inputs=order,
            limits=self._limits.of(job.calling_workspace),
        )
