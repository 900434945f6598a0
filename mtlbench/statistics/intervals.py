"""Means over two to ten seeds with their confidence intervals (Student's t).

Bootstraps over three seeds cover far less than they claim, and rank tests cannot reach any useful level there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

LEVEL = 0.95
"""Confidence of every interval, and 1 − the familywise error of every comparison."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, with the half-width of its confidence interval (NaN below two values)."""

    mean: float
    half: float
    n: int

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half


@lru_cache(maxsize=4096)
def t_quantile(df: float, level: float = LEVEL) -> float:
    """The two-sided Student quantile: P(|T| ≤ t) = level with `df` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + level / 2))


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Mean and t interval. Non-finite values make the mean NaN: a failed seed is not quietly left out."""
    n = len(values)
    if n == 0 or not all(math.isfinite(value) for value in values):
        return Interval(math.nan, math.nan, n)
    if min(values) == max(values):  # exact, where a sum and a division could differ in the last bit
        return Interval(float(values[0]), 0.0 if n > 1 else math.nan, n)
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return Interval(mean, t_quantile(n - 1, level) * math.sqrt(variance / n), n)
