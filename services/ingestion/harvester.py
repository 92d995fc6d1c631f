"""Carries out the actions of ingestions, one per step: reads the package, has it deployed or undeployed, records.

A step may die anywhere: the action is due again when its lease is over, and asking submission twice changes no more
than asking once.
"""

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta

import structlog

from services.ingestion.actions import ActionStore, Claim
from services.ingestion.harvest import media_type_of
from services.ingestion.packages import LARGEST_PACKAGE, NoSuchPackage, Packages, PackageTooLarge, PackageUnreadable
from services.ingestion.submission import Deployed, SubmissionAway, SubmissionClient, SubmissionRefused
from services.shared.errors import Unavailable
from services.shared.telemetry import tracer

log = structlog.get_logger()

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=5)
LEAST_ATTEMPTS = 10
"""So often an action is tried however old its message is: it may have waited while ingestion itself was down."""


@dataclass(frozen=True)
class Undeployed:
    """The process of the key is gone."""

    process_id: str


@dataclass(frozen=True)
class Ignored:
    """There was nothing to do."""

    message: str


class Refused(Exception):
    """The action can never be done; the text is a sentence for people."""


class Harvester:
    """Takes one action that is due and carries it out."""

    def __init__(
        self,
        actions: ActionStore,
        packages: Packages,
        submission: SubmissionClient,
        *,
        lease: timedelta,
        give_up_after: timedelta,
    ) -> None:
        self._actions = actions
        self._packages = packages
        self._submission = submission
        self._lease = lease
        self._give_up_after = give_up_after

    async def step(self) -> bool:
        """Carries out one action. Waits for the store and submission, but not until the lease is over."""
        claim = await self._actions.claim_due(lease=self._lease)
        if claim is None:
            return False
        with (
            tracer.start_as_current_span("harvest", attributes={"workflow_runner.workspace": claim.workspace}),
            structlog.contextvars.bound_contextvars(ingestion=str(claim.ingestion_id), key=claim.key),
        ):
            await self._take(claim)
        return True

    async def _take(self, claim: Claim) -> None:
        try:
            # What a harvester that has lost its lease asks for could undo what the next one has done.
            async with asyncio.timeout(self._lease.total_seconds() * 0.8):
                outcome = await self._carry_out(claim)
        except (Refused, SubmissionRefused) as refusal:
            message = str(refusal)
            log.info("An action was refused.", verb=claim.verb, attempts=claim.attempts, refusal=message)
            await self._actions.record_refused(claim, message)
        except (Unavailable, SubmissionAway) as error:
            await self._postpone(claim, error.message)
        except TimeoutError:
            await self._postpone(claim, "It took too long.")
        except Exception:
            # Whatever one package sets off, the others shall not wait for it.
            log.error("An action failed for a reason of our own.", exc_info=True)
            await self._postpone(claim, "Internal error.")
        else:
            await self._record(claim, outcome)

    async def _carry_out(self, claim: Claim) -> Deployed | Undeployed | Ignored:
        if refusal := self._packages.refusal(claim.workspace, claim.bucket_name):
            raise Refused(refusal)
        if claim.verb == "undeploy":
            return await self._undeploy(claim)
        return await self._deploy(claim)

    async def _deploy(self, claim: Claim) -> Deployed | Ignored:
        try:
            content = await self._packages.read(claim.bucket_name, claim.key)
        except NoSuchPackage as error:
            raise Refused("The bucket has no object of this key.") from error
        except PackageUnreadable as error:
            raise Refused("Ingestion may not read the object: the operator gives its group the right to.") from error
        except PackageTooLarge as error:
            raise Refused(f"The object is larger than the {LARGEST_PACKAGE} bytes that a package may have.") from error
        media_type = media_type_of(claim.key, content)
        if media_type is None:
            return Ignored("Not a package: the content has no cwlVersion.")
        deployed = await self._submission.deploy(claim.workspace, content, media_type)
        if claim.harvested_process_id not in (None, deployed.process_id):
            # The package describes another process than before, so nothing stands for the old one any more.
            await self._submission.undeploy(claim.workspace, claim.harvested_process_id)
        return deployed

    async def _undeploy(self, claim: Claim) -> Undeployed | Ignored:
        if claim.harvested_process_id is None:
            return Ignored("No process stands on this key.")
        await self._submission.undeploy(claim.workspace, claim.harvested_process_id)
        return Undeployed(claim.harvested_process_id)

    async def _record(self, claim: Claim, outcome: Deployed | Undeployed | Ignored) -> None:
        match outcome:
            case Deployed(process_id, revision, digest):
                await self._actions.record_deployed(claim, process_id, revision, digest)
                log.info("A package was deployed.", process=process_id, revision=revision)
            case Undeployed(process_id):
                await self._actions.record_undeployed(claim, process_id)
                log.info("A process was undeployed.", process=process_id)
            case Ignored(message):
                await self._actions.record_ignored(claim, message)

    async def _postpone(self, claim: Claim, message: str) -> None:
        if claim.age >= self._give_up_after and claim.attempts >= LEAST_ATTEMPTS:
            log.error("An action was given up.", verb=claim.verb, attempts=claim.attempts, refusal=message)
            await self._actions.record_refused(claim, f"Given up after {claim.attempts} attempts: {message}")
            return
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(claim.attempts - 1, 20)) * random.uniform(0.8, 1.2)
        log.warning("An action will be tried again.", verb=claim.verb, attempts=claim.attempts, refusal=message)
        await self._actions.postpone(claim, f"{claim.key} waits: {message}", pause=pause)
