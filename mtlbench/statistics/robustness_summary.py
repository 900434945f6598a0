"""A robustness evaluation summed up: pure functions of the cells and attacks that a record keeps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from mtlbench.records import CorruptionScores, Robustness, Scores


@dataclass(frozen=True)
class SummaryColumn:
    """How to show one number of a summary: its heading, which way is better (+1 or -1), its unit and one line of help."""

    title: str
    better: int
    unit: str
    help: str


SUMMARY: Mapping[str, SummaryColumn] = {
    "mean_skill": SummaryColumn("corrupted skill", 1, "skill", "mean skill over all corruptions and severities"),
    "mean_skill_without_frost": SummaryColumn(
        "corrupted skill, no frost*", 1, "skill", "the same without frost, whose ice is generated"
    ),
    "mean_skill_geometry": SummaryColumn(
        "corrupted skill, geometry kept", 1, "skill", "the same over corruptions that leave labels under their pixels"
    ),
    "retention": SummaryColumn("retention", 1, "", "corrupted skill / clean skill"),
    "worst_skill": SummaryColumn(
        "worst corruption", 1, "skill", "skill under the corruption that hurts most, mean over severities"
    ),
}
"""The numbers of `summarise`, in the order tables show them; `pgd_<radius>` (skill, attack on all tasks) follow."""


class _Numbers(TypedDict):
    summary: dict[str, float]


class Summary(_Numbers, total=False):
    """Keys of `Robustness` that follow from the others: `summary`, and `worst` where something was corrupted."""

    worst: str


def summarise(robustness: Robustness | Mapping[str, object], clean_skill: float) -> Summary:
    """`summary` (name → number) and `worst` (the corruption under which skill is lowest), from cells and attacks.

    A number whose cells were not evaluated is left out: quick suites have no frost to leave out. Retention is NaN where
    the clean network is no better than a constant.

    Args:
        robustness: what was evaluated, as a model or as its JSON.
        clean_skill: mean skill on the clean test images.
    """
    evaluated = Robustness.model_validate(robustness)
    summary: dict[str, float] = {}
    result: Summary = {"summary": summary}
    by_corruption = {name: mean_skill(evaluated, [name]) for name in evaluated.cells}
    if by_corruption:
        everything = mean_skill(evaluated, by_corruption)
        summary["mean_skill"] = everything
        if "frost" in by_corruption:
            summary["mean_skill_without_frost"] = mean_skill(evaluated, [name for name in by_corruption if name != "frost"])
        kept = [corruption.name for corruption in evaluated.corruptions if corruption.keeps_geometry]
        if kept:
            summary["mean_skill_geometry"] = mean_skill(evaluated, kept)
        summary["retention"] = everything / clean_skill if clean_skill > 0 else math.nan
        worst = min(by_corruption, key=lambda name: (_lowest_first(by_corruption[name]), name))
        result["worst"] = worst
        summary["worst_skill"] = by_corruption[worst]
    if evaluated.pgd is not None:
        for radius, attacks in evaluated.pgd.attacks.items():
            if "all" in attacks:
                summary[f"pgd_{radius}"] = attacks["all"].mean_skill
    return result


def mean_skill(robustness: CorruptionScores, corruptions: Iterable[str], task: str | None = None) -> float:
    """Mean over all cells of the given corruptions: of the tasks' mean skill, or of one task's; NaN without any."""
    return _mean(skill_of(scores, task) for name in corruptions for scores in robustness.cells[name].values())


def skill_at(robustness: CorruptionScores, severity: int, task: str | None = None) -> float:
    """Mean over all corruptions at one severity: of the tasks' mean skill, or of one task's."""
    return _mean(skill_of(cells[str(severity)], task) for cells in robustness.cells.values())


def skill_of(scores: Scores, task: str | None = None) -> float:
    """The tasks' mean skill, or one task's; NaN where the task has none."""
    return scores.mean_skill if task is None else scores.skill.get(task, math.nan)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def _lowest_first(number: float) -> float:
    return number if math.isfinite(number) else -math.inf
