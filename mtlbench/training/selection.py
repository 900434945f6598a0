"""Which weights a trial ends with. It knows evaluations and weights, and no training.

Every independent part of the network (sets of tasks that no parameter connects) ends with the epoch of its best mean skill
on val. On request all epochs that could have been selected are kept, to measure test-set selection bias afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch

from mtlbench.contract import Architecture
from mtlbench.errors import UserError
from mtlbench.records import Evaluation
from mtlbench.training.checkpoints import CheckpointStore


class Selection:
    """The best epochs so far.

    Args:
        checkpoints: where weights are kept.
        keep_all: keep the weights of every epoch offered.

    Attributes:
        best: part of the network (its tasks, joined by "+") → (mean skill on val, epoch).
    """

    def __init__(self, checkpoints: CheckpointStore, keep_all: bool = False) -> None:
        self.checkpoints, self.keep_all = checkpoints, keep_all
        self.best: dict[str, tuple[float, int]] = {}

    @property
    def epochs(self) -> dict[str, int]:
        """Part of the network → the epoch its weights are from."""
        return {part: epoch for part, (_, epoch) in self.best.items()}

    def offer(self, network: Architecture, val: Evaluation, epoch: int, broken: Collection[str] = ()) -> None:
        """Keep the weights of every part that is better than before; the first of equals stays.

        Args:
            broken: tasks whose training loss was not finite; parts with one of them are not selected.
        """
        weights, owners = network.state_dict(), network.owners()
        for tasks in network.scored_parts():
            if not set(tasks).isdisjoint(broken):
                continue
            part = "+".join(tasks)
            skills = [val.skill[task] for task in tasks if task in val.skill]
            value = sum(skills) / len(skills) if skills else -1.0
            value = value if math.isfinite(value) else -1.0
            if part in self.best and value <= self.best[part][0]:
                continue
            self.best[part] = (value, epoch)
            # Buffers have no owner; they are recomputed for the selected weights, so any part's will do.
            own = {name: weight for name, weight in weights.items() if name not in owners or owners[name] & set(tasks)}
            self.checkpoints.save_best(part, epoch, own)
        if self.keep_all:
            self.checkpoints.save_epoch(epoch, {"structure": network.structure(), "network": weights})

    def load_into(self, network: Architecture, device: torch.device, title: str) -> None:
        """Put the best weights of every part in place.

        Raises:
            UserError: no epoch of the method's final structure was validated.
        """
        if not self.best:
            raise UserError(f"{title}: no epoch could be selected. Give the method more epochs.")
        weights = network.state_dict()
        for part, epoch in self.epochs.items():
            weights.update(self.checkpoints.load_best(part, epoch, device))
        network.load_state_dict(weights)
