"""The statistics: a machine is never quiet, so variants run in turn and what counts is their ratio within a round."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Spread:
    """A median and the range it comes from."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))

    @classmethod
    def of_ratios(cls, values: Sequence[float], against: Sequence[float]) -> "Spread":
        """The ratios round by round: both were measured moments apart, so the load of the machine cancels out."""
        return cls.of([value / other for value, other in zip(values, against, strict=True)])


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
