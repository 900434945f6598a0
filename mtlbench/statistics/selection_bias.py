"""Test-set selection bias of one trial: what reporting its best epoch on test would have claimed.

    bias    the best epoch on test, minus the epoch that val selected: in skill, and in Δ (task-averaged)
    regret  test Δ of the epoch with the best Δ on val, minus that of the epoch with the best skill on val: what a trial
            would have gained had its selection known the single-task networks (it does not: Δ needs other trials)

Independent parts of a network are chosen independently, as in selection. A reference has a bias, too: Δ is claimed against
it as it is ranked, and against the reference selected on test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mtlbench.records import Record, TaskInfo
from mtlbench.records.epochs_on_test import EpochsOnTest
from mtlbench.statistics import delta as deltas
from mtlbench.statistics.delta import Metrics

MEASURES = (
    "skill",
    "best_skill",
    "best_skill_per_task",
    "skill_bias",
    "delta",
    "best_delta",
    "best_delta_both",
    "delta_bias",
    "regret",
)
"""Names of what `selection_bias` measures; those of Δ only where there is a reference.

`best_…`: of the best epoch on test; `best_skill_per_task`: each task at its own best epoch; `best_delta_both`: against the
reference at its best epoch on test, too.
"""

_Values = TypeVar("_Values")


@dataclass(frozen=True)
class Baselines:
    """Metrics of the single-task networks, mean over seeds.

    Attributes:
        test, val: at the epochs that val selected.
        best: on test, at the epochs with the highest Δ there; empty where these are not known.
    """

    test: Metrics
    val: Metrics
    best: Metrics

    @classmethod
    def of(cls, references: Sequence[Record], epochs: Mapping[str, EpochsOnTest], tasks: Sequence[TaskInfo]) -> Baselines:
        """Of the records of a reference.

        Args:
            epochs: record id → its epochs on test, where they were evaluated.
        """
        test = deltas.baseline([record.result.test.metrics for record in references], tasks)
        val = deltas.baseline([record.result.val.metrics for record in references], tasks)
        best = [_best_on_test(record, epochs[record.id], test, tasks) for record in references if record.id in epochs]
        return cls(test, val, deltas.baseline(best, tasks) if best else {})


def selection_bias(
    record: Record, epochs: EpochsOnTest, tasks: Sequence[TaskInfo], baselines: Baselines | None
) -> dict[str, float]:
    """Every measure of one trial (see `MEASURES`)."""
    skills = {epoch: evaluation.skill for epoch, evaluation in epochs.test.items()}
    ranked = record.result.test
    chosen = _choose(record, skills, lambda skill, part: _mean([skill[task] for task in part if task in skill]))
    best = _mean([skills[chosen[task]][task] for task in ranked.skill])
    per_task = _mean([max(skill[task] for skill in skills.values()) for task in ranked.skill])
    measures = {
        "skill": ranked.mean_skill,
        "best_skill": best,
        "best_skill_per_task": per_task,
        "skill_bias": best - ranked.mean_skill,
    }
    if baselines is None:
        return measures
    delta = deltas.delta(ranked.metrics, baselines.test, tasks)
    best_delta = deltas.delta(_best_on_test(record, epochs, baselines.test, tasks), baselines.test, tasks)
    measures |= {"delta": delta, "best_delta": best_delta, "delta_bias": best_delta - delta}
    if baselines.best:
        both = _best_on_test(record, epochs, baselines.best, tasks)
        measures["best_delta_both"] = deltas.delta(both, baselines.best, tasks)
    val = {
        point.epoch: point.val.metrics
        for point in record.result.curve
        if point.val is not None and point.epoch in epochs.test
    }
    by_delta = _choose(record, val, lambda metrics, part: _share(metrics, baselines.val, tasks, part))
    measures["regret"] = deltas.delta(_test_metrics(epochs, by_delta), baselines.test, tasks) - delta
    return measures


def _best_on_test(record: Record, epochs: EpochsOnTest, base: Metrics, tasks: Sequence[TaskInfo]) -> Metrics:
    """The test metrics of the epoch with the highest Δ on test."""
    metrics = {epoch: evaluation.metrics for epoch, evaluation in epochs.test.items()}
    return _test_metrics(epochs, _choose(record, metrics, lambda values, part: _share(values, base, tasks, part)))


def _choose(
    record: Record, epochs: Mapping[int, _Values], value: Callable[[_Values, tuple[str, ...]], float]
) -> dict[str, int]:
    """Task → the epoch at which its part of the network has the highest value; the first of equals, NaN never."""
    chosen: dict[str, int] = {}
    for name in record.result.selected:
        part = tuple(name.split("+"))
        values = {epoch: value(evaluation, part) for epoch, evaluation in sorted(epochs.items())}
        best = max(values, key=lambda epoch: values[epoch] if math.isfinite(values[epoch]) else -math.inf)
        chosen |= dict.fromkeys(part, best)
    return chosen


def _share(metrics: Metrics, base: Metrics, tasks: Sequence[TaskInfo], part: Sequence[str]) -> float:
    """What some of the tasks add to Δ."""
    gains = deltas.gain(metrics, base, tasks)
    return math.fsum(share * gains[pair] for pair, share in deltas.weights("task", base, tasks).items() if pair[0] in part)


def _test_metrics(epochs: EpochsOnTest, chosen: Mapping[str, int]) -> Metrics:
    return {task: epochs.test[epoch].metrics[task] for task, epoch in chosen.items()}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
