"""Δ against single-task networks under the same corruption, in percent; higher is better.

    gain(m) = ± 100 · (Σ_c x_mc − Σ_c b_mc) / |Σ_c b_mc|        c: the cells (corruption x severity), m: a metric

A ratio of sums over cells. A mean over cells of each cell's own Δ would be decided by the few cells where the reference
has collapsed: there b_mc is close to 0 and its ratio can be anything. Tasks and metrics are then averaged by one of the
three definitions of `mtlbench.statistics.delta`, whose treatment of undefined cases and of seeds holds here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mtlbench.records import Robustness, TaskInfo
from mtlbench.statistics import delta as deltas
from mtlbench.statistics.intervals import LEVEL


def corrupted_metrics(robustness: Robustness, corruptions: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Task → metric → its mean over cells. In a ratio the number of cells cancels: means serve as sums.

    Args:
        corruptions: use their cells only; default all. A metric that is not finite in a cell is not finite here.
    """
    names = list(robustness.cells) if corruptions is None else corruptions
    cells = [scores.metrics for name in names for scores in robustness.cells[name].values()]
    if not cells:
        return {}
    return {
        task: {name: math.fsum(metrics[task][name] for metrics in cells) / len(cells) for name in first}
        for task, first in cells[0].items()
    }


def corrupted_delta(
    rows: Sequence[Robustness],
    references: Sequence[Robustness],
    tasks: Sequence[TaskInfo],
    definition: str = "task",
    corruptions: Sequence[str] | None = None,
    level: float = LEVEL,
) -> deltas.Estimate:
    """Δ of a method under corruption over its seeds, with the reference's noise carried into the interval.

    Args:
        rows: of the method's records, one per seed; `references`: of those of the single-task networks.
        corruptions: over these cells only (those that keep the geometry, for example); default all.

    Raises:
        ValueError: the records were not evaluated under the same corruptions and severities.
    """
    if not same_cells([*rows, *references]):
        raise ValueError("Δ under corruption compares networks under the same corruptions and severities only")
    metrics, base = (
        [corrupted_metrics(robustness, corruptions) for robustness in records] for records in (rows, references)
    )
    return deltas.estimate(metrics, deltas.Reference(base, tasks), definition, level)


def same_cells(records: Sequence[Robustness | None]) -> bool:
    """Whether all were evaluated under the same corruptions and severities, and under some at all."""
    evaluated = {
        frozenset((name, severity) for name, cells in robustness.cells.items() for severity in cells)
        if robustness is not None
        else frozenset[tuple[str, str]]()
        for robustness in records
    }
    return len(evaluated) == 1 and frozenset() not in evaluated
