"""What decoder-focused methods share: first predictions from task features, and distillation between these features."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mtlbench.tasks import Task


class Distillation(nn.Module):
    """Multi-modal distillation with a spatial attention (PAD-Net's module C): every task takes from all others.

        f̃_t = f_t + Σ_{s≠t} σ(W^a_{ts} f_s) ⊙ (W_{ts} f_s)

    W^a and W are 3×3 convolutions without bias. The gate is computed from the source's features.

    Args:
        tasks: their names.
        channels: of the features.
    """

    def __init__(self, tasks: Sequence[str], channels: int) -> None:
        super().__init__()

        def from_others() -> nn.ModuleDict:
            return nn.ModuleDict(
                {
                    target: nn.ModuleDict(
                        {
                            source: nn.Conv2d(channels, channels, 3, padding=1, bias=False)
                            for source in tasks
                            if source != target
                        }
                    )
                    for target in tasks
                }
            )

        self.gate, self.take = from_others(), from_others()

    def forward(self, features: Mapping[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Task → features [B, C, H, W] of all tasks; returns the distilled ones of those in `tasks`."""
        found = {}
        for task in tasks:
            gates, takes = self.gate[task], self.take[task]
            messages = [torch.sigmoid(gates[source](features[source])) * takes[source](features[source]) for source in takes]  # type: ignore[index, union-attr]
            found[task] = features[task] + sum(messages) if messages else features[task]
        return found

    def owner(self, name: str) -> str:
        """The task that a parameter takes for, by the parameter's name in this module."""
        return name.split(".")[1]


def shipped(network: nn.Module) -> nn.Module:
    """The network without its first predictions (`first`): nothing reads them once they are trained."""
    copied = copy.copy(network)
    copied._modules = {name: module for name, module in network._modules.items() if name != "first"}
    return copied


class FirstPrediction(nn.Module):
    """A task's prediction from its features alone: a 1×1 convolution, after global pooling where the task is not dense."""

    def __init__(self, task: Task, channels: int) -> None:
        super().__init__()
        self.dense = task.dense
        self.logits = nn.Conv2d(channels, task.channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] → [B, channels, H, W], or [B, channels]."""
        return self.logits(features) if self.dense else self.logits(features.mean((2, 3), keepdim=True)).flatten(1)
