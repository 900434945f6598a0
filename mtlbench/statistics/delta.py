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
from functools import cached_property
from typing import NamedTuple

from mtlbench.records import TaskInfo
from mtlbench.statistics.intervals import LEVEL, Interval, t_interval, t_quantile

Metrics = Mapping[str, Mapping[str, float]]
"""Task → metric → value."""

DEFINITIONS = ("task", "metric", "primary")
"""The task-averaged one sorts."""


def baseline(references: Sequence[Metrics], tasks: Sequence[TaskInfo]) -> dict[str, dict[str, float]]:
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


def undefined(base: Metrics, tasks: Sequence[TaskInfo]) -> list[tuple[str, str]]:
    """The (task, metric) pairs that no Δ can use, because the reference is 0 or not finite."""
    return [
        (task.name, metric.name)
        for task in tasks
        for metric in task.metrics
        if not math.isfinite(number := value(base, task.name, metric.name)) or number == 0
    ]


def weights(definition: str, base: Metrics, tasks: Sequence[TaskInfo]) -> dict[tuple[str, str], float]:
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


def gain(metrics: Metrics, base: Metrics, tasks: Sequence[TaskInfo]) -> dict[tuple[str, str], float]:
    """(task, metric) → relative improvement over the reference in percent; NaN where the reference is 0 or not finite."""
    return {
        (task.name, metric.name): 100
        * _sign(metric.higher_is_better)
        * _ratio(value(metrics, task.name, metric.name), value(base, task.name, metric.name))
        for task in tasks
        for metric in task.metrics
    }


def delta(metrics: Metrics, base: Metrics, tasks: Sequence[TaskInfo], definition: str = "task") -> float:
    """Δ of one row in percent; NaN when no metric has a reference."""
    return Reference([base], tasks).delta(metrics, definition)


@dataclass(frozen=True)
class Reference:
    """Single-task networks over their seeds: what Δ is measured against, worked out once for all rows.

    Attributes:
        seeds: the metrics of each.
    """

    seeds: Sequence[Metrics]
    tasks: Sequence[TaskInfo]

    @cached_property
    def base(self) -> dict[str, dict[str, float]]:
        """The mean over seeds (see `baseline`)."""
        return baseline(self.seeds, self.tasks)

    @cached_property
    def _terms(self) -> dict[str, list[_Term]]:
        signs = {(task.name, metric.name): _sign(metric.higher_is_better) for task in self.tasks for metric in task.metrics}
        return {
            definition: [
                _Term(*pair, share, signs[pair], value(self.base, *pair))
                for pair, share in weights(definition, self.base, self.tasks).items()
            ]
            for definition in DEFINITIONS
        }

    def delta(self, row: Metrics, definition: str) -> float:
        """Δ of one row in percent; NaN when no metric has a reference."""
        terms = self._terms[definition]
        gains = (term.share * (100 * term.sign * _ratio(value(row, term.task, term.metric), term.base)) for term in terms)
        return math.fsum(gains) if terms else math.nan

    def effects(self, row: Metrics, definition: str) -> list[float]:
        """What each seed does to the Δ of `row` (means over its seeds), to first order, in percent.

        Linearised in the mean b of the seeds: ∂gain/∂b = ∓100 · x/b² · sign(b).
        """
        slopes = [
            (
                term,
                -100
                * term.sign
                * term.share
                * value(row, term.task, term.metric)
                * math.copysign(1, term.base)
                / term.base**2,
            )
            for term in self._terms[definition]
        ]
        return [
            math.fsum(slope * (value(seed, term.task, term.metric) - term.base) for term, slope in slopes)
            for seed in self.seeds
        ]

    def band(self, definition: str, level: float = LEVEL) -> float:
        """Half-width of its own noise around Δ = 0, in percent: one band, common to all rows. NaN for one seed."""
        return t_interval([self.delta(seed, definition) for seed in self.seeds], level).half


class _Term(NamedTuple):
    """One metric of a weighted sum of gains."""

    task: str
    metric: str
    share: float
    sign: float
    base: float


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


def estimate(rows: Sequence[Metrics], reference: Reference, definition: str, level: float = LEVEL) -> Estimate:
    """Δ over seeds, with its interval.

    The variance of mean Δ is that of the row's seeds (exact: Δ is linear in them, correlations between metrics included)
    plus that of the reference's mean (`Reference.effects`). Degrees of freedom by Welch and Satterthwaite.
    """
    values = tuple(reference.delta(row, definition) for row in rows)
    own = t_interval(values, level)
    if own.n < 2 or len(reference.seeds) < 2 or not math.isfinite(own.mean):
        return Estimate(values, own, math.nan)
    effects = reference.effects(baseline(rows, reference.tasks), definition)
    variances = _squared_error(values), _squared_error(effects)
    total = sum(variances)
    if total == 0:
        return Estimate(values, own, 0.0)
    freedom = total**2 / sum(v**2 / (n - 1) for v, n in zip(variances, (len(values), len(effects)), strict=True))
    return Estimate(values, own, t_quantile(freedom, level) * math.sqrt(total))


def ranks(values: Mapping[str, float]) -> dict[str, int]:
    """Rank of every finite value, 1 = highest; equal values share the better rank; non-finite ones have none."""
    finite = {name: number for name, number in values.items() if math.isfinite(number)}
    ordered = sorted(finite.values(), reverse=True)
    first = {number: position for position, number in reversed(list(enumerate(ordered, start=1)))}
    return {name: first[number] for name, number in finite.items()}


def _sign(higher_is_better: bool) -> float:
    return 1.0 if higher_is_better else -1.0


def _ratio(number: float, reference: float) -> float:
    if reference == 0 or not math.isfinite(reference) or not math.isfinite(number):
        return math.nan
    return (number - reference) / abs(reference)


def _squared_error(values: Sequence[float]) -> float:
    """Squared standard error of the mean."""
    mean = math.fsum(values) / len(values)
    return math.fsum((number - mean) ** 2 for number in values) / (len(values) - 1) / len(values)
