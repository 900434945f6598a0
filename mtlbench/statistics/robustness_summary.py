"""What the cells of a robustness evaluation add up to: pure functions of the dictionary that a record keeps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Robustness = Mapping[str, Any]
"""`Result.robustness` of a record; see `mtlbench.measure.robustness.evaluate_robustness`."""


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


def summarise(robustness: Robustness, clean_skill: float) -> dict[str, Any]:
    """`summary` (name → number) and `worst` (the corruption under which skill is lowest), from cells and attacks.

    A number whose cells were not evaluated is left out: quick suites have no frost to leave out. Retention is NaN where
    the clean network is no better than a constant.

    Args:
        clean_skill: mean skill on the clean test images.
    """
    summary: dict[str, float] = {}
    found: dict[str, Any] = {"summary": summary}
    by_corruption = {name: mean_skill(robustness, [name]) for name in robustness["cells"]}
    if by_corruption:
        everything = mean_skill(robustness, by_corruption)
        summary["mean_skill"] = everything
        if "frost" in by_corruption:
            summary["mean_skill_without_frost"] = mean_skill(robustness, [name for name in by_corruption if name != "frost"])
        kept = [one["name"] for one in robustness["corruptions"] if one["keeps_geometry"]]
        if kept:
            summary["mean_skill_geometry"] = mean_skill(robustness, kept)
        summary["retention"] = everything / clean_skill if clean_skill > 0 else math.nan
        found["worst"] = min(by_corruption, key=lambda name: (_lowest_first(by_corruption[name]), name))
        summary["worst_skill"] = by_corruption[found["worst"]]
    for radius, attacks in robustness.get("pgd", {}).get("attacks", {}).items():
        if "all" in attacks:
            summary[f"pgd_{radius}"] = attacks["all"]["mean_skill"]
    return found


def mean_skill(robustness: Robustness, corruptions: Iterable[str], task: str | None = None) -> float:
    """Mean over all cells of the given corruptions: of the tasks' mean skill, or of one task's; NaN without any."""
    return _mean(
        cell["mean_skill"] if task is None else cell["skill"].get(task, math.nan)
        for name in corruptions
        for cell in robustness["cells"][name].values()
    )


def skill_at(robustness: Robustness, severity: int, task: str | None = None) -> float:
    """Mean over all corruptions at one severity: of the tasks' mean skill, or of one task's."""
    cells = [cells[str(severity)] for cells in robustness["cells"].values()]
    return _mean(cell["mean_skill"] if task is None else cell["skill"].get(task, math.nan) for cell in cells)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def _lowest_first(number: float) -> float:
    return number if math.isfinite(number) else -math.inf
