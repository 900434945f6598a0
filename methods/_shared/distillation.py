"""What decoder-focused methods share: first predictions from task features, and distillation between these features."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mtlbench.contract import Architecture, Maps, Rows, resize
from mtlbench.tasks import Task

from .typed_modules import TypedModuleDict, TypedModuleList

Convolutions = TypedModuleDict[TypedModuleDict[nn.Conv2d]]
"""Target task → source task → a convolution of the source's features."""

FirstPredictions = TypedModuleDict[TypedModuleList["FirstPrediction"]]
"""Task → its first predictions, one per scale."""


class Distillation(nn.Module):
    """Multi-modal distillation with a spatial attention (PAD-Net's module C): every task receives from all others.

        f̃_t = f_t + Σ_{s≠t} σ(W^a_{ts} f_s) ⊙ (W_{ts} f_s)

    W^a (`gate`) and W (`message`) are 3×3 convolutions without bias. The gate is computed from the source's features.

    Args:
        tasks: their names.
        channels: of the features.
    """

    def __init__(self, tasks: Sequence[str], channels: int) -> None:
        super().__init__()

        def convolution_per_pair() -> Convolutions:
            return TypedModuleDict(
                {
                    target: TypedModuleDict(
                        {
                            source: nn.Conv2d(channels, channels, 3, padding=1, bias=False)
                            for source in tasks
                            if source != target
                        }
                    )
                    for target in tasks
                }
            )

        self.gate, self.message = convolution_per_pair(), convolution_per_pair()

    def forward(self, features: Mapping[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Task → features [B, C, H, W] of all tasks; returns the distilled ones of those in `tasks`."""
        distilled: dict[str, Tensor] = {}
        for task in tasks:
            gates, messages = self.gate[task], self.message[task]
            received: list[Tensor] = [
                torch.sigmoid(gates[source](features[source])) * message(features[source])
                for source, message in messages.items()
            ]
            distilled[task] = features[task] + sum(received) if received else features[task]
        return distilled

    def modules_of(self, task: str) -> list[nn.Module]:
        """The modules whose results one task alone receives."""
        return [self.gate[task], self.message[task]]


class FirstPrediction(nn.Module):
    """A task's prediction from its features alone: a 1×1 convolution, after global pooling where the task is not dense."""

    def __init__(self, task: Task, channels: int) -> None:
        super().__init__()
        self.dense = task.dense
        self.logits = nn.Conv2d(channels, task.channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] → [B, channels, H, W], or [B, channels]."""
        logits: Tensor = self.logits(features if self.dense else features.mean((2, 3), keepdim=True))
        return logits if self.dense else logits.flatten(1)


def predict_twice(
    network: Architecture,
    first: FirstPredictions,
    first_weight: float,
    features: Sequence[Mapping[str, Tensor]],
    distilled: Mapping[str, Maps],
    image: Tensor,
    rows: Rows,
) -> tuple[dict[str, Tensor], list[tuple[str, Tensor, float]]]:
    """What `predict_all` returns: final predictions, and the first ones as auxiliary predictions.

    Args:
        first: the first predictions' layers.
        first_weight: the weight of each of their losses.
        features: of all tasks, per scale.
        distilled: task → distilled features, one per scale; of the tasks to predict.
        image: the images that features are of.
        rows: the images that each task is predicted on; None for all.
    """

    def own_images(task: str, maps: Tensor) -> Tensor:
        return maps if rows is None else maps[rows[task]]

    predictions = {
        task: network.read_out(task, [own_images(task, scale) for scale in scales], image)
        for task, scales in distilled.items()
    }
    size = (image.shape[-2], image.shape[-1])
    auxiliary = []
    for task in distilled:
        for layer, scale in zip(first[task], features, strict=True):
            prediction: Tensor = layer(own_images(task, scale[task]))
            if network.tasks[task].dense:
                prediction = resize(prediction, size)
            auxiliary.append((task, prediction, first_weight))
    return predictions, auxiliary


def shipped(network: nn.Module) -> nn.Module:
    """The network without its first predictions (`first`): nothing reads them once they are trained."""
    shallow = copy.copy(network)
    shallow._modules = {name: module for name, module in network._modules.items() if name != "first"}
    return shallow
