"""What methods that select or skip residual blocks have in common: from decisions to a plan, columns and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mtlbench.contract import SharingGraph, SharingPlan, Unit

Decisions = dict[str, list[bool]]
"""Task → for every residual block, whether the task executes it."""


def plan_of(depths: Sequence[str], decisions: Decisions) -> SharingPlan:
    """The sharing plan: the stem for everybody, then variant 0 of a block where it is selected and a skip where it is not.

    Args:
        depths: names of the stem and of the L blocks.
        decisions: L decisions a task.
    """
    rows: list[tuple[int | None, ...]] = [(0,) * len(decisions)]
    rows += [tuple(0 if one else None for one in row) for row in zip(*decisions.values(), strict=True)]
    return SharingPlan(tuple(depths), tuple(decisions), tuple(rows))


def as_gates(decisions: Decisions) -> dict[str, Tensor]:
    """Decisions as gates [L, 2] of zeros and ones: column 0 selects, column 1 skips."""
    return {task: torch.tensor([[float(one), float(not one)] for one in own]) for task, own in decisions.items()}


class MultiplyingGraph(SharingGraph):
    """Skips by multiplying with zero: every task runs every block, and BatchNorm mixes the statistics of all of them.

    Args:
        units: the stem and the L blocks.
        decisions: which blocks which task's features keep.
    """

    def __init__(self, units: Sequence[Unit], decisions: Decisions) -> None:
        names = [unit.name for unit in units]
        super().__init__(units, SharingPlan.shared(names, list(decisions)), path_statistics=False)
        self.decisions = decisions

    def forward(self, image: Tensor, tasks: Any = None, rows: Any = None, gates: Any = None, gated: Any = ()) -> Any:
        """As in `SharingGraph`, gated by the decisions whatever gates are given."""
        hard = {task: one.to(image.device) for task, one in as_gates(self.decisions).items()}
        return super().forward(image, tasks, rows, hard, range(1, len(self.units)))

    def owners(self) -> dict[str, frozenset[str]]:
        """By what the tasks keep, not by what they execute."""
        kept = self.skipping().owners()
        return {name: kept.get(name, tasks) for name, tasks in super().owners().items()}

    def skipping(self) -> SharingGraph:
        """A graph of the same modules that really skips; blocks that no task executes are not in it."""
        units = [Unit(one.name, partial(self.module, depth, 0), one.output) for depth, one in enumerate(self.units)]
        return SharingGraph(units, plan_of(self.plan.depths, self.decisions), path_statistics=False).train(self.training)


@contextmanager
def training_only(network: nn.Module, chosen: Iterable[nn.Parameter]) -> Iterator[None]:
    """Within the context the chosen parameters, which are frozen otherwise, are trainable, and all others are not."""
    switched = [one for one in network.parameters() if one.requires_grad] + list(chosen)
    try:
        for one in switched:
            one.requires_grad_(not one.requires_grad)
        yield
    finally:
        for one in switched:
            one.requires_grad_(not one.requires_grad)


def columns(decisions: Decisions) -> dict[str, float]:
    """Numbers of the leaderboard: share of the task-blocks that are skipped, blocks that two tasks or more run, or any."""
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
    **more: Any,
) -> dict[str, Any]:
    """The artefact "policy", which `mtlbench.leaderboard.policy_picture` draws.

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
