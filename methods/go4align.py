"""GO4Align: group optimization for multi-task alignment (Shen et al., NeurIPS 2024, arXiv:2404.06486).

    γ_t = q_t Σ_s L_s / L_t,      q = softmax_t(−η Σ_k L_t(k));      descend Σ_t γ̄_{m(t)} L_t

Legend: the sum over k runs over the steps so far, this one included; m(t) the group of task t, by k-means on the numbers
γ_1 … γ_T; γ̄_m the mean of its members' γ. Losses in γ are constants.

Deviations from the authors' code: k-means is solved exactly (numbers on a line: contiguous groups, by dynamic programming;
there: an iterative solver from a random start, or a relaxation); in a batch without labels of a task q is taken over the
others, and its sum of losses stays.
"""

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Batch, Choice, Hyper, LogUniform, Publication, Strategy, TaskLosses

_LOWEST = 1e-6
"""Of the sum of losses: a loss below it counts as this much, so that its weight stays finite."""


class GO4Align(Strategy):
    """Weigh tasks inversely to their losses, with one weight for all tasks of a group."""

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Shen et al.", "NeurIPS", 2024, "GO4Align: Group Optimization for Multi-Task Alignment", arxiv="2404.06486"
    )
    compared_with: ClassVar[str] = "official code"
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    risk: Tensor
    group_count: int = Hyper(2, search=Choice((1, 2, 3)), ge=1, help="groups; with as many as tasks each has its own")
    step_size: float = Hyper(1e-4, search=LogUniform(1e-5, 1e-1), ge=0, help="η: how fast high losses lose weight")

    def setup(self) -> None:
        self.register_buffer("risk", torch.zeros(len(self.tasks), dtype=torch.float64))

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        if losses:
            values = torch.stack(list(losses.values()))
            weights = self.task_weights(list(losses), values.detach().double().to(self.risk.device))
            self.descend((weights.to(values) * values).sum())
        return losses

    def task_weights(self, tasks: list[str], values: Tensor) -> Tensor:
        """γ̄ of the tasks with these losses, float64 [T]; adds the losses to their sums."""
        present = [self.tasks.index(task) for task in tasks]
        self.risk[present] += values
        q = torch.softmax(-self.step_size * self.risk[present], 0)
        total = values.sum()
        gamma = q * total / values.clamp(min=max(_LOWEST * float(total), 1e-30))
        if not bool(gamma.isfinite().all()):
            return gamma
        for members in groups_on_a_line(gamma.tolist(), self.group_count):
            gamma[members] = gamma[members].mean()
        return gamma


def groups_on_a_line(values: list[float], count: int) -> list[list[int]]:
    """k-means of numbers: the positions of each group's members, for the least sum of squared distances to the means."""
    order = sorted(range(len(values)), key=values.__getitem__)

    def spread(start: int, stop: int) -> float:
        members = [values[at] for at in order[start:stop]]
        mean = sum(members) / len(members)
        return sum((value - mean) ** 2 for value in members)

    # best[stop]: the least cost of the first `stop` numbers in the groups so far, and where the groups begin.
    best: dict[int, tuple[float, tuple[int, ...]]] = {stop: (spread(0, stop), (0,)) for stop in range(1, len(values) + 1)}
    for _ in range(1, min(count, len(values))):
        best = {
            stop: min(
                (cost + spread(start, stop), (*starts, start)) for start, (cost, starts) in best.items() if start < stop
            )
            for stop in range(min(best) + 1, len(values) + 1)
        }
    _, starts = best[len(values)]
    return [order[start:stop] for start, stop in pairwise((*starts, len(values)))]
