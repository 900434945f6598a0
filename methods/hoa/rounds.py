"""The rounds of HOA's search: in each of them every task is trained in exactly one network, of two tasks or of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mtlbench.contract import Batch, Pass, Phase, Strategy, TaskLosses, detached

from .._shared.partitions import Group


def rounds(tasks: int) -> list[list[Group]]:
    """T partitions of the tasks, in which every pair and every single task is a group once (a round-robin tournament)."""
    if tasks == 1:
        return [[(0,)]]
    players = list(range(tasks)) + ([tasks] if tasks % 2 else [])  # whoever meets the additional one is alone
    result: list[list[Group]] = [] if tasks % 2 else [[(task,) for task in range(tasks)]]
    for _ in range(len(players) - 1):
        half = len(players) // 2
        pairs = [sorted(pair) for pair in zip(players[:half], reversed(players[half:]), strict=True)]
        result.append(sorted(tuple(task for task in pair if task < tasks) for pair in pairs))
        players = [players[0], players[-1], *players[1:-1]]
    return result


class Round(Phase):
    """Train the networks of one round, and measure their losses on held-out images at its end.

    Args:
        number: of the round.
        held_out: share of the training images that are not trained on.
        enter: makes the network that of a round.
        record: called with every task's loss.
    """

    def __init__(
        self,
        number: int,
        epochs: int,
        strategy: Strategy,
        held_out: float,
        enter: Callable[[int], None],
        record: Callable[[dict[str, float]], None],
    ) -> None:
        super().__init__(f"round {number + 1}", epochs, strategy, selectable=False)
        self.number, self.held_out, self.enter, self.record = number, held_out, enter, record
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def begin(self) -> None:
        self.enter(self.number)
        self.strategy.reset()

    def passes(self, epoch: int) -> list[Pass]:
        self.sums, self.counts = {}, {}
        return [
            Pass(self.strategy.step, (0.0, 1 - self.held_out), "training", self.strategy.updates_per_step()),
            Pass(self.measure, (1 - self.held_out, 1.0), "held-out", updates=0),
        ]

    @torch.no_grad()
    def measure(self, batch: Batch) -> TaskLosses:
        """The losses on a batch; nothing moves."""
        network = self.strategy.network
        network.eval()
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.train()
        losses = detached(self.strategy.losses(batch))
        network.train()
        for task, loss in losses.items():
            self.sums[task] = self.sums.get(task, torch.zeros_like(loss)) + loss
            self.counts[task] = self.counts.get(task, 0) + 1
        return {}

    def end_epoch(self, epoch: int, losses: dict[str, float]) -> dict[str, Any]:
        super().end_epoch(epoch, losses)
        if epoch + 1 == self.epochs:
            # A task without labels on the held-out images has no say.
            means = {task: float(total) / self.counts[task] for task, total in self.sums.items()}
            self.record({task: means.get(task, 1.0) for task in self.strategy.tasks})
        return {}
