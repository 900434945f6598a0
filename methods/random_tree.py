"""Random trees of shared units: what a learned tree has to beat.

Which tasks share which unit is drawn at random, for a tree of given size; the network is then trained plainly. Beside a
method that learns its tree, give both the same `size` (the learned tree's column "tree size").
"""

from __future__ import annotations

from typing import Any

import torch

from mtlbench.contract import Architecture, Hyper, SharingGraph, SharingPlan, Uniform
from mtlbench.contract.run import derive_seed
from mtlbench.methods._shared_tree import columns, frame, nodes, picture, random_tree


class RandomTree(Architecture):
    """Tasks part at random depths, into random groups; nothing is learned about what to share."""

    size: float = Hyper(
        0.4,
        search=Uniform(0.0, 1.0),
        check="0 <= v <= 1",
        help="size of the tree by its number of units: 0 hard sharing, 1 separate networks",
    )

    def build(self) -> None:
        units = self.stage_units()
        depths, tasks = [unit.name for unit in units], sorted(self.tasks)
        count = len(depths) + round(self.size * len(depths) * (len(tasks) - 1))
        generator = torch.Generator().manual_seed(derive_seed("random tree", self.config.seed))
        drawn = random_tree(depths, tasks, count, generator)
        # The tree does not depend on the order of the tasks.
        table = tuple(tuple(row[tasks.index(task)] for task in self.tasks) for row in drawn.table)
        self.graph = SharingGraph(units, SharingPlan(drawn.depths, tuple(self.tasks), table))

    def extra(self) -> dict[str, float]:
        return {**columns(self.plan()), "units": float(nodes(self.plan()))}

    def artefacts(self) -> dict[str, Any]:
        return {"merge_tree": picture(self.plan(), [frame(self, 0)])}
