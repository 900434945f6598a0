"""Comparisons among many means at two to ten seeds: Tukey-Kramer, with a variance pooled over all methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mtlbench.statistics.intervals import LEVEL


@lru_cache(maxsize=4096)
def tukey_quantile(groups: int, df: float, level: float = LEVEL) -> float:
    """The quantile of the studentized range of `groups` means with `df` degrees of freedom."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(level, groups, df))


@dataclass(frozen=True)
class Comparison:
    """Two means out of many: difference (second − first), simultaneous half-width, familywise p-value."""

    difference: float
    half: float
    p: float

    @property
    def separable(self) -> bool:
        return abs(self.difference) > self.half


@dataclass(frozen=True)
class Pooled:
    """The common variance of several groups, and what is needed to compare their means."""

    means: dict[str, float]
    sizes: dict[str, int]
    variance: float
    df: int

    def half(self, a: str, b: str, level: float = LEVEL) -> float:
        """Tukey-Kramer half-width for the difference of two of the means; infinite without degrees of freedom."""
        if self.df < 1:
            return math.inf
        scale = math.sqrt(self.variance / 2 * (1 / self.sizes[a] + 1 / self.sizes[b]))
        return tukey_quantile(len(self.means), self.df, level) * scale

    def compare(self, a: str, b: str, level: float = LEVEL) -> Comparison:
        """The difference b − a with its simultaneous interval and p-value (Tukey-Kramer)."""
        from scipy.stats import studentized_range

        difference = self.means[b] - self.means[a]
        if self.df < 1:
            return Comparison(difference, math.inf, math.nan)
        scale = math.sqrt(self.variance / 2 * (1 / self.sizes[a] + 1 / self.sizes[b]))
        if scale == 0:
            return Comparison(difference, 0.0, 1.0 if difference == 0 else 0.0)
        p = float(studentized_range.sf(abs(difference) / scale, len(self.means), self.df))
        return Comparison(difference, self.half(a, b, level), p)


def pool(groups: Mapping[str, Sequence[float]]) -> Pooled:
    """Pool the variance of groups with at least two finite values each; other groups are left out.

    With one group left the studentized range is that of two means, so that the result can still be asked.
    """
    usable = {
        name: [float(value) for value in values]
        for name, values in groups.items()
        if len(values) >= 2 and all(math.isfinite(value) for value in values)
    }
    means = {name: math.fsum(values) / len(values) for name, values in usable.items()}
    squares = math.fsum((value - means[name]) ** 2 for name, values in usable.items() for value in values)
    df = sum(len(values) - 1 for values in usable.values())
    return Pooled(means, {name: len(values) for name, values in usable.items()}, squares / df if df else math.nan, df)


def tied_with_best(
    groups: Mapping[str, Sequence[float]], higher_is_better: bool = True, level: float = LEVEL
) -> tuple[str, list[str]]:
    """The group with the best mean, and those that Tukey-Kramer cannot separate from it, best first.

    Groups of one value or with a non-finite one take no part. `("", [])` when fewer than two groups do.
    """
    pooled = pool(groups)
    if len(pooled.means) < 2:
        return "", []
    sign = 1.0 if higher_is_better else -1.0
    order = sorted(pooled.means, key=lambda name: (-sign * pooled.means[name], name))
    best = order[0]
    tied = [name for name in order[1:] if abs(pooled.means[name] - pooled.means[best]) <= pooled.half(best, name, level)]
    return best, tied


NEMENYI_DATASETS = 5
"""A critical-difference diagram over fewer datasets would show confidence that is not there."""


def critical_difference(methods: int, datasets: int, level: float = LEVEL) -> float:
    """Nemenyi's critical difference of mean ranks (Demšar, JMLR 2006, section 3.2.2).

    Raises:
        ValueError: fewer than five datasets. Seeds or correlated metrics are no substitute for them.
    """
    if datasets < NEMENYI_DATASETS:
        raise ValueError(f"critical differences need at least {NEMENYI_DATASETS} datasets, got {datasets}")
    return tukey_quantile(methods, math.inf, level) / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * datasets))
