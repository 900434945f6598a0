"""Trees of shared units: tasks that have parted never meet again. Their numbers and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, TypedDict

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mtlbench.contract import MultiTaskNetwork, SharingPlan


class Frame(TypedDict):
    """What a network looked like from an epoch on.

    Attributes:
        epoch: counted over the whole trial.
        table: the sharing plan's.
        parameters: of trunk and heads.
        flops: of one image, forward, all tasks.
    """

    epoch: int
    table: list[list[int | None]]
    parameters: int
    flops: int


class Similarity(TypedDict):
    """How similar tasks are at one unit.

    Attributes:
        phase: number of the structural phase that measured it.
        epoch: when, counted over the whole trial.
        unit: name of the unit.
        tasks: in the order of the matrices.
        merged: groups of tasks that share the unit from then on.
        before, after: the similarity when the groups were chosen and at the end of the phase; None where not measured.
    """

    phase: int
    epoch: int
    unit: str
    tasks: list[str]
    merged: list[list[str]]
    before: list[list[float]]
    after: list[list[float]] | None


def nodes(plan: SharingPlan) -> int:
    """The tree's number of nodes: units of the network."""
    return sum(len(plan.variants(depth)) for depth in range(len(plan.depths)))


def columns(plan: SharingPlan) -> dict[str, float]:
    """Numbers of the leaderboard.

    Returns:
        groups: variants of the last unit: tasks that share everything but their heads count as one.
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


def table_of(plan: SharingPlan) -> list[list[int | None]]:
    """The plan's table as JSON."""
    return [list(row) for row in plan.table]


@torch.no_grad()
def frame(network: MultiTaskNetwork, plan: SharingPlan, epoch: int, without: nn.Module | None = None) -> Frame:
    """The network as it is from the given epoch on.

    Args:
        without: a module that is no part of the deployed network; its parameters are not counted.
    """
    training = network.training
    image = torch.zeros(1, 3, *network.config.image_size, device=network.mean.device)
    network.eval()
    counter = FlopCounterMode(display=False)
    with counter:
        network(image)
    network.train(training)
    left_out = {id(parameter) for parameter in without.parameters()} if without is not None else set()
    parameters = sum(parameter.numel() for parameter in network.parameters() if id(parameter) not in left_out)
    return {"epoch": epoch, "table": table_of(plan), "parameters": parameters, "flops": int(counter.get_total_flops())}


def picture(
    plan: SharingPlan,
    frames: Sequence[Frame],
    similarity: Sequence[Similarity] = (),
    measure: str = "CKA of the tasks' features",
) -> dict[str, Any]:
    """The artefact "merge_tree", of which the leaderboard draws a picture.

    Args:
        similarity: in the order of measurement.
        measure: what similarity is.
    """
    return {
        "tasks": list(plan.tasks),
        "units": list(plan.depths),
        "frames": list(frames),
        "similarity": list(similarity),
        "measure": measure,
    }
