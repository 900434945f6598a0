"""The expected cost of a branched network whose branches are drawn: BMTAS's price, differentiable in the probabilities.

Branches at a unit are a partition of the tasks: those that the branches before and the choices at this unit both leave
together. With q_l(κ) the probability that the choices at unit l alone make the partition κ,

    P_l(κ) = Σ_{κ' ∧ κ'' = κ} P_{l−1}(κ') q_l(κ'')        ∧ the common refinement; P_0: all tasks together.

The official code's recursion replaces κ' ∧ κ'' by κ'' where κ'' refines κ', and by single tasks otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

Labels = tuple[int, ...]
"""A partition: every task's group, named by the number of the group's first task."""


class ExpectedCost:
    """E[cost] of choices with given probabilities.

    Args:
        costs: c_l of one copy of every unit with choices.
        tasks: T.
        official: the official code's recursion.
    """

    def __init__(self, costs: Sequence[float], tasks: int, official: bool = False) -> None:
        draws = [canonical(draw) for draw in product(range(tasks), repeat=tasks)]
        partitions = sorted(set(draws))
        number = {partition: at for at, partition in enumerate(partitions)}
        apart = tuple(range(tasks))

        def result(before: Labels, drawn: Labels) -> Labels:
            both = canonical(tuple(zip(before, drawn, strict=True)))
            return both if not official or both == drawn else apart

        self.tasks, self.costs = tasks, list(costs)
        self.of_draw = torch.tensor([number[draw] for draw in draws])
        self.following = torch.tensor([[number[result(a, b)] for b in partitions] for a in partitions])
        self.branches = torch.tensor([float(len(set(partition))) for partition in partitions])
        self.together = number[(0,) * tasks]

    def __call__(self, probabilities: Tensor) -> Tensor:
        """Probabilities [T, L, copies] of every task's choice per unit → E[cost], a scalar.

        The number of copies is T.
        """
        device, count = probabilities.device, len(self.branches)
        branches, following = self.branches.to(probabilities), self.following.to(device).flatten()
        before = torch.zeros(count, dtype=probabilities.dtype, device=device)
        before[self.together] = 1.0
        expected = probabilities.new_zeros(())
        for unit, cost in enumerate(self.costs):
            drawn = probabilities.new_zeros(count).index_add(0, self.of_draw.to(device), self.joint(probabilities[:, unit]))
            before = probabilities.new_zeros(count).index_add(0, following, torch.outer(before, drawn).flatten())
            expected = expected + cost * (before * branches).sum()
        return expected

    def joint(self, rows: Tensor) -> Tensor:
        """The probability of every draw of all tasks: rows [T, copies] → [copies ^ T], the last task's fastest."""
        joint = rows.new_ones(1)
        for row in rows:
            joint = torch.outer(joint, row).flatten()
        return joint


def canonical(labels: Sequence[object]) -> Labels:
    """Group names → the number of each group's first task."""
    return tuple(list(labels).index(label) for label in labels)


@torch.no_grad()
def unit_flops(units: Sequence[nn.Module], size: tuple[int, int]) -> list[int]:
    """FLOPs of one image (height, width) in each of a trunk's units, counted without computing anything."""
    x = torch.zeros(1, 3, *size, device="meta")
    flops = []
    for unit in units:
        counter = FlopCounterMode(display=False)
        with counter:
            x = unit.to("meta")(x)
        flops.append(int(counter.get_total_flops()))
    return flops
