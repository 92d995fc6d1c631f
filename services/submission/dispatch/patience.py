"""Says how long a job is tried again with, and what is said of it then.

Two kinds of failure: an outage, which passes while one waits, and a fault, which comes back with every attempt. Both
are bounded, so every job ends.
"""

from dataclasses import dataclass
from datetime import timedelta

from services.shared.errors import Unavailable
from services.submission.dispatch.queue import Claim

LEAST_FAILURES = 5
"""An outage is not judged by fewer failures: the time also passes while nothing can be tried."""
FIRST_PAUSE = timedelta(milliseconds=250)
LONGEST_PAUSE = timedelta(minutes=1)


class TimeIsOver(Exception):
    """A step took longer than it may."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How much a step of a job may fail."""

    faults: int
    outage: timedelta
    """How long an outage is waited for."""

    def is_over(self, claim: Claim, error: Exception) -> bool:
        """Whether the job is not tried again after this failure."""
        if not passes(error):
            return claim.faults + 1 >= self.faults
        lasting = claim.failing_for is not None and claim.failing_for >= self.outage
        return lasting and claim.failures + 1 >= LEAST_FAILURES


def passes(error: BaseException) -> bool:
    """Whether a failure is an outage, that may pass without anybody's doing."""
    if isinstance(error, BaseExceptionGroup):
        return all(passes(one) for one in error.exceptions)
    return isinstance(error, Unavailable | TimeIsOver)


def pause_after(failures: int) -> timedelta:
    """How long a job is left alone after so many failures in a row."""
    return min(FIRST_PAUSE * (1 << min(failures, 10)), LONGEST_PAUSE)


def first_fault(error: BaseException) -> BaseException:
    """Of several failures at once the one that is told: one that no waiting cures, if there is any."""
    while isinstance(error, BaseExceptionGroup):
        error = next((one for one in error.exceptions if not passes(one)), error.exceptions[0])
    return error


def cause(error: BaseException, claim: Claim) -> str:
    """What is said of the last failure to the person who waits for the job."""
    error = first_fault(error)
    if isinstance(error, Unavailable):
        waited = duration(claim.failing_for or timedelta(0))
        return f"was waited for during {waited}: {error.message.removesuffix(' Try again.')}"
    if isinstance(error, TimeIsOver):
        return "took too long in every attempt."
    return f"failed in {claim.faults + 1} attempts; the operator finds why in the log of submission."


def duration(time: timedelta) -> str:
    """A time in words."""
    for unit, seconds in (("hours", 3600), ("minutes", 60)):
        if time.total_seconds() >= 2 * seconds:
            return f"{time.total_seconds() / seconds:.0f} {unit}"
    return f"{time.total_seconds():.0f} seconds"
