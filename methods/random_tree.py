"""Random trees of shared units: what a learned tree has to beat.

Which tasks share which unit is drawn at random, for a tree of given size; the network is then trained plainly. Beside a
method that learns its tree, give both the same `size` (the learned tree's column "tree size").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from mtlbench.contract import Architecture, Hyper, SharingGraph, SharingPlan, Uniform, derive_seed

from ._shared.trees import columns, frame, nodes, picture


class RandomTree(Architecture):
    """Tasks part at random depths, into random groups; nothing is learned about what to share."""

    family: ClassVar[str] = "control"

    size: float = Hyper(
        0.4,
        search=Uniform(0.0, 1.0),
        ge=0,
        le=1,
        help="size of the tree by its number of units: 0 hard sharing, 1 separate networks",
    )

    def build(self) -> None:
        units = self.stage_units()
        depths, tasks = [unit.name for unit in units], sorted(self.tasks)
        count = len(depths) + round(self.size * len(depths) * (len(tasks) - 1))
        generator = torch.Generator().manual_seed(derive_seed("random tree", self.config.seed))
        tree = random_tree(depths, tasks, count, generator)
        # The tree does not depend on the order of the tasks.
        table = tuple(tuple(row[tasks.index(task)] for task in self.tasks) for row in tree.table)
        self.graph = SharingGraph(units, SharingPlan(tree.depths, tuple(self.tasks), table))

    def extra(self) -> dict[str, float]:
        return {**columns(self.plan()), "units": float(nodes(self.plan()))}

    def artefacts(self) -> dict[str, Any]:
        return {"merge_tree": picture(self.plan(), [frame(self, self.plan(), 0)])}


def random_tree(depths: Sequence[str], tasks: Sequence[str], size: int, generator: torch.Generator) -> SharingPlan:
    """A random tree with `size` nodes, between len(depths) (hard sharing) and len(depths) · len(tasks) (separate).

    Starting from hard sharing, random groups are split into two random halves from random depths on. A split that gives
    more nodes than are left is drawn again; one at the last depth always fits.
    """
    plan = SharingPlan.shared(depths, tasks)
    if not len(depths) <= size <= len(depths) * len(tasks):
        raise ValueError(f"a tree of {len(tasks)} tasks and {len(depths)} units cannot have {size} nodes")
    while nodes(plan) < size:
        depth = int(torch.randint(len(depths), (), generator=generator))
        groups = [group for group in plan.groups(depth).values() if len(group) > 1]
        if not groups:
            continue
        group = groups[int(torch.randint(len(groups), (), generator=generator))]
        coins = torch.randint(2, (len(group),), generator=generator).tolist()
        parted = split(plan, depth, {task for task, coin in zip(group, coins, strict=True) if coin})
        if nodes(parted) <= size:
            plan = parted
    return plan


def split(plan: SharingPlan, depth: int, leaving: set[str]) -> SharingPlan:
    """The plan in which some tasks part from all others, from a depth on."""
    table = list(plan.table)
    for level in range(depth, len(table)):
        first: dict[tuple[object, bool], int] = {}
        entries = zip(plan.tasks, table[level], strict=True)
        table[level] = tuple(
            first.setdefault((entry, task in leaving), number) for number, (task, entry) in enumerate(entries)
        )
    return SharingPlan(plan.depths, plan.tasks, tuple(table))
