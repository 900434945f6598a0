"""Δ: how much better than single-task networks, in percent, under the three definitions in use. Higher is better.

    gain(m) = 100 · (x_m − b_m) / |b_m|          for a metric where higher is better, the negative of it otherwise
    metric  = mean of gain over all metrics of all tasks     (Nash-MTL and FAMO print its negative)
    task    = mean over tasks of the mean within the task    (LibMTL, Recon)
    primary = mean over tasks of the primary metric's gain   (Vandenhende et al., Auto-Lambda)

x is the method, b the mean over the seeds of the single-task reference. The definitions rank methods differently, so all
three are reported. All are weighted sums of gains, and differ in nothing but the weights.

Undefined cases. A metric whose reference is 0 or not finite has no gain: it is left out for every row alike, and the
weights are those of the metrics that remain. A metric that is not finite in a row makes each Δ that uses it NaN: leaving
it out would compare rows over different metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mtlbench.measure.statistics import LEVEL, Interval, t_interval, t_quantile
from mtlbench.record import TaskCard

Metrics = Mapping[str, Mapping[str, float]]
"""Task → metric → value."""

DEFINITIONS = ("task", "metric", "primary")
"""The task-averaged one sorts."""


def baseline(references: Sequence[Metrics], tasks: Sequence[TaskCard]) -> dict[str, dict[str, float]]:
    """The reference's metrics, mean over its seeds; NaN where a seed's value is not finite or missing."""
    return {
        task.name: {
            metric.name: t_interval([value(row, task.name, metric.name) for row in references]).mean
            for metric in task.metrics
        }
        for task in tasks
    }


def value(metrics: Metrics, task: str, metric: str) -> float:
    """One number, NaN where missing."""
    return float(metrics.get(task, {}).get(metric, math.nan))


def undefined(base: Metrics, tasks: Sequence[TaskCard]) -> list[tuple[str, str]]:
    """The (task, metric) pairs that no Δ can use, because the reference is 0 or not finite."""
    return [
        (task.name, metric.name)
        for task in tasks
        for metric in task.metrics
        if not math.isfinite(number := value(base, task.name, metric.name)) or number == 0
    ]


def weights(definition: str, base: Metrics, tasks: Sequence[TaskCard]) -> dict[tuple[str, str], float]:
    """(task, metric) → its weight in the definition; they sum to 1, or there are none."""
    left_out = set(undefined(base, tasks))
    chosen: list[list[tuple[str, str]]] = []
    for task in tasks:
        names = [task.primary] if definition == "primary" else [metric.name for metric in task.metrics]
        pairs = [(task.name, name) for name in names if (task.name, name) not in left_out]
        if pairs:
            chosen.append(pairs)
    if definition == "metric":
        total = sum(len(pairs) for pairs in chosen)
        return {pair: 1 / total for pairs in chosen for pair in pairs}
    if definition not in DEFINITIONS:
        raise ValueError(f"unknown definition of Δ: {definition!r}; known: {', '.join(DEFINITIONS)}")
    return {pair: 1 / len(chosen) / len(pairs) for pairs in chosen for pair in pairs}


def gain(metrics: Metrics, base: Metrics, tasks: Sequence[TaskCard]) -> dict[tuple[str, str], float]:
    """(task, metric) → relative improvement over the reference in percent; NaN where the reference is 0 or not finite."""
    return {
        (task.name, metric.name): 100 * _sign(metric.higher_is_better) * _ratio(metrics, base, task.name, metric.name)
        for task in tasks
        for metric in task.metrics
    }


def delta(metrics: Metrics, base: Metrics, tasks: Sequence[TaskCard], definition: str = "task") -> float:
    """Δ of one row in percent; NaN when no metric has a reference."""
    return _weighted(metrics, base, tasks, weights(definition, base, tasks))


def _weighted(metrics: Metrics, base: Metrics, tasks: Sequence[TaskCard], shares: Mapping[tuple[str, str], float]) -> float:
    gains = gain(metrics, base, tasks)
    return math.fsum(share * gains[pair] for pair, share in shares.items()) if shares else math.nan


@dataclass(frozen=True)
class Estimate:
    """Δ of a row over its seeds.

    Attributes:
        values: Δ of every seed against the mean of the reference.
        own: mean and t interval over these values: the row's own noise, for comparing methods with each other.
        half: half-width with the reference's noise carried in: for comparing with single-task networks. NaN when
            either side has fewer than two seeds.
    """

    values: tuple[float, ...]
    own: Interval
    half: float


def estimate(
    rows: Sequence[Metrics], references: Sequence[Metrics], tasks: Sequence[TaskCard], definition: str, level: float = LEVEL
) -> Estimate:
    """Δ over seeds, with its interval.

    The variance of mean Δ is that of the row's seeds (exact: Δ is linear in them, correlations between metrics included)
    plus that of the reference's mean, linearised: ∂gain/∂b = ∓100 · x̄/b². Degrees of freedom by Welch and Satterthwaite.
    """
    base = baseline(references, tasks)
    shares = weights(definition, base, tasks)
    values = tuple(_weighted(row, base, tasks, shares) for row in rows)
    own = t_interval(values, level)
    if own.n < 2 or len(references) < 2 or not math.isfinite(own.mean):
        return Estimate(values, own, math.nan)
    effects = reference_effects(baseline(rows, tasks), references, tasks, definition)
    variances = _squared_error(values), _squared_error(effects)
    total = sum(variances)
    if total == 0:
        return Estimate(values, own, 0.0)
    freedom = total**2 / sum(v**2 / (n - 1) for v, n in zip(variances, (len(values), len(effects)), strict=True))
    return Estimate(values, own, t_quantile(freedom, level) * math.sqrt(total))


def reference_band(references: Sequence[Metrics], tasks: Sequence[TaskCard], definition: str, level: float = LEVEL) -> float:
    """Half-width of the reference's own noise around Δ = 0, in percent: one band, common to all rows. NaN for one seed."""
    base = baseline(references, tasks)
    shares = weights(definition, base, tasks)
    return t_interval([_weighted(row, base, tasks, shares) for row in references], level).half


def reference_effects(
    row: Metrics, references: Sequence[Metrics], tasks: Sequence[TaskCard], definition: str
) -> list[float]:
    """What each seed of the reference does to the Δ of `row` (means over its seeds), to first order, in percent."""
    base = baseline(references, tasks)
    means = {pair: value(base, *pair) for pair in weights("metric", base, tasks)}
    up = {(task.name, metric.name): metric.higher_is_better for task in tasks for metric in task.metrics}
    slopes = {
        pair: -100
        * _sign(up[pair])
        * share
        * value(row, *pair)
        * math.copysign(1, value(base, *pair))
        / value(base, *pair) ** 2
        for pair, share in weights(definition, base, tasks).items()
    }
    return [
        math.fsum(slope * (value(reference, *pair) - means[pair]) for pair, slope in slopes.items())
        for reference in references
    ]


def ranks(values: Mapping[str, float]) -> dict[str, int]:
    """Rank of every finite value, 1 = highest; equal values share the better rank; non-finite ones have none."""
    finite = {name: number for name, number in values.items() if math.isfinite(number)}
    ordered = sorted(finite.values(), reverse=True)
    first = {number: position for position, number in reversed(list(enumerate(ordered, start=1)))}
    return {name: first[number] for name, number in finite.items()}


def _sign(higher_is_better: bool) -> float:
    return 1.0 if higher_is_better else -1.0


def _ratio(metrics: Metrics, base: Metrics, task: str, metric: str) -> float:
    reference = value(base, task, metric)
    number = value(metrics, task, metric)
    if reference == 0 or not math.isfinite(reference) or not math.isfinite(number):
        return math.nan
    return (number - reference) / abs(reference)


def _squared_error(values: Sequence[float]) -> float:
    """Squared standard error of the mean."""
    mean = math.fsum(values) / len(values)
    return math.fsum((number - mean) ** 2 for number in values) / (len(values) - 1) / len(values)
