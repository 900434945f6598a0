"""L_align: what makes the next units of a group alike while tasks are learned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mtlbench.contract import Batch, TaskLosses

from .similarity import alignment_loss
from .task_tree import Group, TaskTree


class Alignment:
    """Adds L_align of every group to the losses of its members, in equal parts.

    Args:
        tree: whose groups are aligned.
        weight: λ.

    Attributes:
        active: whether the present phase aligns.
        measured: the values of L_align since the epoch's start.
    """

    def __init__(self, tree: TaskTree, weight: float) -> None:
        self.tree, self.weight = tree, weight
        self.active = False
        self.measured: list[Tensor] = []

    def groups(self) -> list[Group]:
        """The groups that are aligned now."""
        return self.tree.groups if self.active and self.weight > 0 else []

    def add_to(self, losses: TaskLosses, pooled: Mapping[str, Tensor], batch: Batch) -> TaskLosses:
        """The losses with L_align.

        Args:
            losses: of the batch's labelled tasks.
            pooled: unit's key → globally averaged output [B, C] in the run that gave the losses.
        """
        tree, losses = self.tree, dict(losses)
        for unit, tasks in self.groups():
            members = [task for task in tasks if task in losses]
            if len(members) < 2:
                continue
            if batch.rows is None:
                features = [pooled[tree.key(unit, task)] for task in members]
            else:  # The tasks have images of their own, and only common ones can be compared.
                done: dict[str, Tensor] = {}
                image = tree.network.normalised(batch.image)
                features = [tree.output(image, unit, task, done).float().mean((2, 3)) for task in members]
            with torch.autocast(batch.image.device.type, enabled=False):
                loss = self.weight * alignment_loss(features)
            self.measured.append(loss.detach())
            for task in members:
                losses[task] = losses[task] + loss / len(members)
        return losses
