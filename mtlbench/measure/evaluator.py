"""Evaluates a network on a split: predictions, task metrics, skill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mtlbench.contract import Batch
from mtlbench.data.split import Split
from mtlbench.measure.skill_scale import SkillScale
from mtlbench.records import Evaluation
from mtlbench.tasks.base import Task
from mtlbench.tasks.meter import Meter

Change = Callable[[Batch], Tensor]
"""A batch → the images that the network sees in place of the batch's own: float32 [B, 3, H, W] in [0, 1]."""

Scored = Iterator[tuple[Batch, dict[str, Tensor]]]
"""Batches with the network's predictions."""

ImageStatistics = dict[str, dict[str, np.ndarray]]
"""Task → statistic → one row per image of the split."""


@dataclass(frozen=True)
class Evaluator:
    """Evaluates networks on the splits of one dataset.

    Attributes:
        dataset: the dataset's name; with an image's id it decides what is random about a changed image.
        scale: the tasks, and what their skills are measured against.
        device: where networks and batches are.
        batch_size: images at once; no result depends on it beyond rounding.
        autocast: the context of forward passes.
    """

    dataset: str
    scale: SkillScale
    device: torch.device
    batch_size: int
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.scale.tasks

    def evaluate(self, network: nn.Module, split: Split, change: Change | None = None) -> Evaluation:
        """Metrics and skill of a deployed network on a split.

        Args:
            change: gives the images that the network sees in place of the split's own (a corruption); targets stay.
        """
        metrics, _ = score(self.tasks, self.predictions(network, split, change))
        return self.scale.evaluation(metrics, split)

    def evaluate_images(self, network: nn.Module, split: Split) -> tuple[Evaluation, ImageStatistics]:
        """The same, and every image's sufficient statistics."""
        metrics, images = score(self.tasks, self.predictions(network, split), keep_images=True)
        return self.scale.evaluation(metrics, split), images

    @torch.no_grad()
    def predictions(self, network: nn.Module, split: Split, change: Change | None = None) -> Scored:
        """Batches of a split with the network's predictions, float32, in evaluation mode."""
        was_training = network.training
        network.eval()
        try:
            for indices in torch.arange(len(split)).split(self.batch_size):
                batch = split.batch(indices, self.device)
                image = batch.image if change is None else change(batch)
                with self.autocast():
                    output = network(image, None, batch.rows)
                yield batch, {task: prediction.float() for task, prediction in output.items()}
        finally:
            network.train(was_training)


def score(
    tasks: Sequence[Task], scored: Scored, keep_images: bool = False
) -> tuple[dict[str, dict[str, float]], ImageStatistics]:
    """Metrics of a set, and (on request) every image's sufficient statistics."""
    meters = {task.name: Meter(task, keep_images=keep_images) for task in tasks}
    for batch, output in scored:
        for task in tasks:
            if len(output[task.name]):
                meters[task.name].update(output[task.name], batch.target(task.name))
    metrics = {name: meter.compute() for name, meter in meters.items()}
    images = {name: meter.images() for name, meter in meters.items()} if keep_images else {}
    return metrics, images


def image_ids(split: Split, batch: Batch) -> list[str]:
    """The ids of a batch's images."""
    return [split.ids[position] for position in batch.index.tolist()]


def condition_cell(evaluation: Evaluation) -> dict[str, object]:
    """An evaluation under a changed condition as a record keeps it: the constants' metrics are those of the clean images."""
    return evaluation.model_dump(include={"metrics", "skill", "mean_skill"})
