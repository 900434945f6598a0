"""Trees of shared units: tasks that have parted never meet again. Numbers, pictures and random trees of that kind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch

from mtlbench.contract import Architecture, SharingPlan
from mtlbench.measure.cost import count_flops


def merged(plan: SharingPlan, depth: int, group: Sequence[str]) -> SharingPlan:
    """The plan with one variant for the tasks of a group at a depth: that of the group's first task."""
    members = [plan.tasks.index(task) for task in group]
    row = list(plan.table[depth])
    for member in members:
        row[member] = row[min(members)]
    return SharingPlan(plan.depths, plan.tasks, (*plan.table[:depth], tuple(row), *plan.table[depth + 1 :]))


def nodes(plan: SharingPlan) -> int:
    """The tree's number of nodes: units of the network."""
    return sum(len(plan.variants(depth)) for depth in range(len(plan.depths)))


def columns(plan: SharingPlan) -> dict[str, float]:
    """Numbers of the leaderboard.

    Returns:
        groups: tasks with nothing but a head of their own count together: variants of the last unit.
        tree size: 0 for hard sharing, 1 for separate networks, by the number of nodes.
        shared pairs: how many of all pairs of tasks share a unit, mean over units; 1 for hard sharing.
    """
    depths, tasks = len(plan.depths), len(plan.tasks)
    pairs = list(combinations(range(tasks), 2))
    shared = sum(row[i] == row[j] for row in plan.table for i, j in pairs)
    return {
        "groups": float(len(plan.variants(depths - 1))),
        "tree size": (nodes(plan) - depths) / (depths * (tasks - 1)) if pairs else 0.0,
        "shared pairs": shared / (len(pairs) * depths) if pairs else 1.0,
    }


@torch.no_grad()
def frame(network: Architecture, epoch: int) -> dict[str, Any]:
    """One picture of the strip: the network as it is from the given epoch on, with its parameters and an image's FLOPs."""
    plan, training = network.plan(), network.training
    image = torch.zeros(1, 3, *network.config.image_size, device=network.mean.device)
    network.eval()
    flops = count_flops(lambda: network(image))
    network.train(training)
    # Of the network as deployed: units that are still to replace others are no part of it.
    parameters = sum(one.numel() for name, one in network.named_parameters() if not name.startswith("fusions."))
    return {"epoch": epoch, "table": [list(row) for row in plan.table], "parameters": parameters, "flops": flops}


def picture(
    plan: SharingPlan,
    frames: Sequence[dict[str, Any]],
    similarity: Sequence[dict[str, Any]] = (),
    measure: str = "CKA of the tasks' features",
) -> dict[str, Any]:
    """The artefact "merge_tree", which `mtlbench.leaderboard.tree_picture` draws. `measure`: what similarity is."""
    return {
        "tasks": list(plan.tasks),
        "units": list(plan.depths),
        "frames": list(frames),
        "similarity": list(similarity),
        "measure": measure,
    }


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
    for at in range(depth, len(table)):
        first: dict[tuple[object, bool], int] = {}
        entries = zip(plan.tasks, table[at], strict=True)
        table[at] = tuple(first.setdefault((entry, task in leaving), number) for number, (task, entry) in enumerate(entries))
    return SharingPlan(plan.depths, plan.tasks, tuple(table))
