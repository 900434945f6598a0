"""A trained network on a set of images, to be evaluated again and again while the images change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mtlbench.contract.batch import Batch
from mtlbench.data.split import Split
from mtlbench.measure.evaluation import Referee, predictions, score
from mtlbench.records import Evaluation

if TYPE_CHECKING:
    from mtlbench.running.trial import Trial

Change = Callable[[Batch], Tensor]
"""A batch → the images that the network sees in place of the batch's own: float32 [B, 3, H, W] in [0, 1]."""


@dataclass(frozen=True)
class Subject:
    """What stays the same while conditions change.

    Attributes:
        network: the deployed network.
        split: the images and their clean targets.
        referee: scores predictions.
        dataset: the dataset's name; with an image's id it decides what is random about the image.
        batch_size: images at once; no result depends on it beyond rounding.
        autocast: the context of forward passes.
    """

    network: nn.Module
    split: Split
    referee: Referee
    dataset: str
    device: torch.device
    batch_size: int
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext

    @classmethod
    def of(cls, trial: Trial, split: str) -> Subject:
        """The deployed network of a trial on one of its splits."""
        return cls(
            network=trial.network.deploy(),
            split=trial.data.splits[split],
            referee=trial.referee,
            dataset=trial.spec.data.name,
            device=trial.device,
            batch_size=trial.evaluation_batch(),
            autocast=trial.autocast,
        )

    def evaluate(self, change: Change | None = None) -> Evaluation:
        """One pass over the split; targets are always the clean ones."""
        scored = predictions(self.network, self.split, self.device, self.batch_size, self.autocast, change)
        metrics, _ = score(self.referee.tasks, scored)
        return self.referee.evaluation(metrics, self.referee.constant_metrics(self.split))

    def ids(self, batch: Batch) -> list[str]:
        """The ids of a batch's images."""
        return [self.split.ids[position] for position in batch.index.tolist()]


def reading(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as the cells of a record keep it: the constants' metrics are those of the clean images."""
    return evaluation.model_dump(include={"metrics", "skill", "mean_skill"})
