"""What methods that select or skip residual blocks share: from decisions to a plan, columns and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mtlbench.contract import SharingPlan

Decisions = dict[str, list[bool]]
"""Task → for every residual block, whether the task executes it."""


def plan_of(depths: Sequence[str], decisions: Decisions) -> SharingPlan:
    """The sharing plan: the stem for all tasks, then variant 0 of a block where it is selected and a skip where it is not.

    Args:
        depths: names of the stem and of the L blocks.
        decisions: L decisions per task.
    """
    rows: list[tuple[int | None, ...]] = [(0,) * len(decisions)]
    rows += [tuple(0 if selected else None for selected in row) for row in zip(*decisions.values(), strict=True)]
    return SharingPlan(tuple(depths), tuple(decisions), tuple(rows))


def columns(decisions: Decisions) -> dict[str, float]:
    """Numbers of the leaderboard: share of the task-blocks that are skipped; blocks that two tasks or more run, or any."""
    users = [sum(row) for row in zip(*decisions.values(), strict=True)]
    return {
        "sparsity": 1 - sum(users) / (len(decisions) * len(users)),
        "blocks shared": float(sum(count > 1 for count in users)),
        "blocks used": float(sum(count > 0 for count in users)),
    }


def picture(
    blocks: Sequence[str],
    decisions: Decisions,
    probability: Mapping[str, Sequence[float]],
    **more: object,
) -> dict[str, Any]:
    """The artefact "policy", of which the leaderboard draws a picture.

    Args:
        blocks: names of the residual blocks.
        decisions: what is executed.
        probability: of execution, from which the decisions were drawn.
        more: what else the artefact should hold (`history` is drawn too).
    """
    tasks = list(decisions)
    return {
        "tasks": tasks,
        "blocks": list(blocks),
        "probability": [[round(value, 4) for value in probability[task]] for task in tasks],
        "decision": [list(decisions[task]) for task in tasks],
        "correlation": correlation([probability[task] for task in tasks]),
        **more,
    }


def correlation(probability: Sequence[Sequence[float]]) -> list[list[float]]:
    """How alike the tasks' policies are: cosines of (π_k − ½) in [−1, 1]; 0 where a task has no preference at all."""
    centred = [[value - 0.5 for value in row] for row in probability]
    norms = [sum(value * value for value in row) ** 0.5 for row in centred]

    def cosine(i: int, j: int) -> float:
        if i == j:
            return 1.0
        size = norms[i] * norms[j]
        return sum(a * b for a, b in zip(centred[i], centred[j], strict=True)) / size if size > 0 else 0.0

    return [[round(cosine(i, j), 4) for j in range(len(centred))] for i in range(len(centred))]
