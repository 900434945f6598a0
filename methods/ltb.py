"""LTB: learning to branch (Guo, Lee and Ulbricht, ICML 2020, arXiv:2006.01895).

Every unit of the trunk has one node per task. Each node chooses one node of the unit before as its parent, and each task's
head one node of the last unit; nodes that no task descends from are pruned, which leaves a tree.

    x_j = Σ_i g_{ji} y_i                         what node j reads: a mixture of all outputs y_i of the unit before
    g_j = softmax((A_j + G) / τ)                 its relaxed choice, G Gumbel(0, 1) noise          (`SearchedTree.relax`)
    parent(j) = argmax_i A_{ji}                  once the tree is learned                          (`paths`)
    τ(p) = τ_0 / √(1 + 999 p)                    p the progress of the search

Legend: i, j nodes, T per unit; y_i output of node i; A_j learned logits; τ temperature.

Choices and deviations (no official code is known; compared with LibMTL's implementation):
    Units. The stem and stages; units="blocks" lets nodes choose at every residual block.
    Choices. As in LibMTL they are hard in the forward pass, with the gradient of the soft ones, warm-up weighs all parents
    alike, and τ falls with the root of the epoch: the curve of 1,000 epochs, stretched to the search. In LibMTL parents are
    summed in warm-up; here averaged, so that features keep their scale.
    Heads. A head chooses among all nodes of the last unit. In LibMTL it reads the node of its number, so that no two tasks
    could ever share the last stage.
    Logits. They learn on a part of train of their own, by Adam, and the strategy steps on the rest: it may be any strategy.
    LibMTL trains both on the same loss. LibMTL also never fixes the tree; here the likely tree is retrained, as published.
    Multi-scale heads. The map of an earlier stage is the mixture of that stage's nodes that the task descends from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mtlbench.contract import Hyper, Maps, Publication, SharingPlan

from ._shared.tree_search import SearchedTree


class LearningToBranch(SearchedTree):
    """Every node of the trunk learns which node before it to read; the most likely tree is trained anew."""

    publication: ClassVar[Publication | None] = Publication(
        "Guo et al.", "ICML", 2020, "Learning to Branch for Multi-Task Learning", arxiv="2006.01895"
    )
    compared_with: ClassVar[str] = "LibMTL"

    temperature: float = Hyper(50.0, gt=0, help="τ at the start of the search")
    gates_are: Literal["soft", "straight_through"] = Hyper(
        "straight_through", help="mixtures, or hard choices with their gradient"
    )

    def choices(self) -> int:
        return len(self.depths)  # one per unit after the first, and the head's

    def start_plan(self) -> SharingPlan:
        return SharingPlan.private(self.depths, list(self.tasks))

    def start_gates(self) -> dict[str, Tensor] | None:
        return {task: torch.full_like(logits, 1 / len(self.tasks)) for task, logits in self.logits.items()}

    def temperature_at(self, progress: float) -> float:
        return self.temperature / (1 + 999 * progress) ** 0.5

    def relaxed(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        assert self.graph is not None and self.gates is not None
        gates = torch.stack(list(self.gates.values()), 1)  # [choice, child, parent]
        count = len(self.tasks)
        outputs: list[list[Tensor]] = []
        for depth in range(len(self.depths)):
            inputs = [image] * count if depth == 0 else [mixture(row, outputs[-1]) for row in gates[depth - 1]]
            outputs.append([self.graph.module(depth, node)(inputs[node]) for node in range(count)])
        # Row t: how far task t descends from each node of a unit; the last one holds the heads' own choices.
        descent = [gates[-1]]
        for depth in reversed(range(len(self.depths) - 1)):
            descent.insert(0, descent[0] @ gates[depth])
        read = [depth for depth, unit in enumerate(self.parts_of_trunk) if unit.output]
        numbers = {task: number for number, task in enumerate(self.tasks)}
        return {task: [mixture(descent[depth][numbers[task]], outputs[depth]) for depth in read] for task in tasks}

    def paths(self) -> dict[str, list[int]]:
        parents = [logits.argmax(-1).tolist() for logits in self.logits.values()]  # [child][choice]
        paths = {}
        for number, task in enumerate(self.tasks):
            path = [parents[number][-1]]
            for choice in reversed(range(len(self.depths) - 1)):
                path.insert(0, parents[path[0]][choice])
            paths[task] = path
        return paths


def mixture(weights: Tensor, outputs: Sequence[Tensor]) -> Tensor:
    """Σ_i g_i y_i of outputs [B, C, H, W]."""
    first, *others = (weight * output for weight, output in zip(weights, outputs, strict=True))
    return sum(others, first)
