"""Statistics that hold at two to ten seeds.

Student's t for one mean; Tukey-Kramer with a variance pooled over all methods for comparisons among many means, since
bootstraps over three seeds cover far less than they claim and rank tests cannot reach any useful level there; a
bootstrap over test images only for what it measures, the noise of the test set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

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


@lru_cache(maxsize=4096)
def tukey_quantile(groups: int, df: float, level: float = LEVEL) -> float:
    """The quantile of the studentized range of `groups` means with `df` degrees of freedom."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(level, groups, df))


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


Summarise = Callable[[dict[str, np.ndarray]], float]
"""From the sums of per-image statistics over a set of images to one number, such as a metric."""


def paired_bootstrap(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    summarise: Summarise,
    scenes: Sequence[str | None] = (),
    draws: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The difference (second − first) of a set-level metric under resampling of the test images.

    Images are drawn with replacement, the same ones for both; with `scenes`, whole scenes are drawn, since images of
    one scene are no independent evidence. What this measures is the noise of the *test set* for two networks as they
    are; it knows nothing of the noise of training.

    Args:
        first, second: statistic → array [images, ...], as a record keeps them.
        summarise: metric from the sums over images.
        scenes: one name an image, None where unknown (such an image is a scene of its own); empty: images alone.
        draws: bootstrap samples. A percentile interval of the differences is taken.

    Returns:
        `mean` is the difference on the whole set, `half` half the width of the percentile interval, `n` the clusters.
    """
    images = len(next(iter(first.values())))
    for name, arrays in (("first", first), ("second", second)):
        if any(len(array) != images for array in arrays.values()):
            raise ValueError(f"paired_bootstrap: {name}: statistics of unequal numbers of images")
    cluster = _clusters(scenes, images)
    n = int(cluster.max()) + 1
    sums = [{name: _cluster_sums(array, cluster, n) for name, array in arrays.items()} for arrays in (first, second)]
    shapes = [{name: array.shape[1:] for name, array in arrays.items()} for arrays in (first, second)]

    def metric(counts: np.ndarray, side: int) -> float:
        totals = {name: (counts @ table).reshape(shapes[side][name]) for name, table in sums[side].items()}
        return summarise(totals)

    ones = np.ones(n)
    difference = metric(ones, 1) - metric(ones, 0)
    if n < 2:
        return Interval(difference, math.nan, n)
    generator = np.random.default_rng(seed)
    sampled = np.empty(draws)
    for draw in range(draws):
        counts = np.bincount(generator.integers(0, n, n), minlength=n).astype(np.float64)
        sampled[draw] = metric(counts, 1) - metric(counts, 0)
    low, high = np.nanquantile(sampled, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(difference, float(high - low) / 2, n)


def _clusters(scenes: Sequence[str | None], images: int) -> np.ndarray:
    """Cluster number of every image, counted from 0 in order of appearance."""
    if not scenes:
        return np.arange(images)
    if len(scenes) != images:
        raise ValueError(f"paired_bootstrap: {len(scenes)} scenes for {images} images")
    numbers: dict[object, int] = {}
    keys: list[object] = [scene if scene is not None else ("alone", position) for position, scene in enumerate(scenes)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


def _cluster_sums(array: np.ndarray, cluster: np.ndarray, n: int) -> np.ndarray:
    """Sums of per-image statistics over the images of each cluster, [n, number of elements], float64."""
    flat = np.asarray(array, dtype=np.float64).reshape(len(array), -1)
    sums = np.zeros((n, flat.shape[1]))
    np.add.at(sums, cluster, flat)
    return sums


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
