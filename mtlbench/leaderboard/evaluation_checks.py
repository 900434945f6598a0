"""Whether an evaluation in a record can be true: metrics in range, skills that follow from them, every task measured."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mtlbench.records import CorruptionScores, Evaluation, Robustness, Scores, TaskInfo

TOLERANCE = 1e-6

SIGNED = frozenset({"correlation", "pearson", "spearman", "cosine", "cos", "kappa", "mcc", "r2"})
"""Metrics whose perfect value is 1 and that can be negative all the same; others of that kind are fractions."""


def evaluation_problems(name: str, evaluation: Evaluation, tasks: list[TaskInfo]) -> Iterator[str]:
    for task in tasks:
        metrics = evaluation.metrics.get(task.name)
        if metrics is None:
            yield f"{name}: task {task.name} has no metrics"
            continue
        for metric in task.metrics:
            where = f"{name}: {task.name}.{metric.name}"
            value = metrics.get(metric.name)
            if value is None:
                yield f"{where} is missing"
            elif math.isinf(value):
                yield f"{where} is infinite"
            elif (value - metric.perfect) * (1 if metric.higher_is_better else -1) > TOLERANCE * max(
                1.0, abs(metric.perfect)
            ):
                yield f"{where} = {value:g} is better than perfect ({metric.perfect:g})"
            elif value < -TOLERANCE and metric.higher_is_better and metric.perfect in (1, 100) and metric.name not in SIGNED:
                yield f"{where} = {value:g} is negative, and a fraction cannot be"
        yield from _skill(name, evaluation, task)
    yield from mean_of_skills_problems(name, evaluation)


def mean_of_skills_problems(name: str, evaluation: Evaluation) -> Iterator[str]:
    """Skills in their range, and their mean: all that curves are drawn from, of which records have many points."""
    skills = evaluation.skill.values()
    mean = sum(skills) / len(skills) if skills else math.nan
    if not _equal(mean, evaluation.mean_skill):
        yield f"{name}: mean_skill is {evaluation.mean_skill:g}, but the tasks' skills have the mean {mean:g}"
    if skills and not -1 - TOLERANCE <= min(skills) <= max(skills) <= 1 + TOLERANCE:
        yield f"{name}: skills from {min(skills):g} to {max(skills):g}, expected −1 to 1"


def _skill(name: str, evaluation: Evaluation, task: TaskInfo) -> Iterator[str]:
    """Skill against the metric it comes from: (c − m)/(c − p), −1 for a metric that is not finite, and at worst."""
    value = evaluation.metrics[task.name].get(task.primary, math.nan)
    perfect = next((metric.perfect for metric in task.metrics if metric.name == task.primary), math.nan)
    constant = evaluation.constant.get(task.name, math.nan)
    if constant == perfect or not math.isfinite(constant):
        expected = None
    elif not math.isfinite(value):
        expected = -1.0
    else:
        expected = max(-1.0, (constant - value) / (constant - perfect))
    given = evaluation.skill.get(task.name)
    if (given is None) != (expected is None) or (given is not None and expected is not None and not _equal(given, expected)):
        yield f"{name}: skill of {task.name} is {_shown(given)}, but its metrics give {_shown(expected)}"


def robustness_problems(robustness: Robustness, tasks: list[TaskInfo]) -> Iterator[str]:
    """Every cell and attack is of the record's tasks and metrics."""
    metrics = {task.name: {metric.name for metric in task.metrics} for task in tasks}
    scored = [*_cells("robustness", robustness)]
    if robustness.val is not None:
        scored += _cells("robustness.val", robustness.val)
    if robustness.pgd is not None:
        for radius, attacks in robustness.pgd.attacks.items():
            scored += [(f"robustness: PGD {radius} on {task}", scores) for task, scores in attacks.items()]
    for where, scores in scored:
        given = {task: set(values) for task, values in scores.metrics.items()}
        if given != metrics or not scores.skill.keys() <= metrics.keys():
            yield f"{where}: its tasks and metrics are not those of the record"


def _cells(name: str, corruptions: CorruptionScores) -> Iterator[tuple[str, Scores]]:
    for corruption, by_severity in corruptions.cells.items():
        for severity, scores in by_severity.items():
            yield f"{name}: {corruption} at severity {severity}", scores


def _equal(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _shown(value: float | None) -> str:
    return "left out" if value is None else f"{value:.6g}"
