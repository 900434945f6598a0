"""Scores a network on images: task metrics, the reference constants' metrics, and skill."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from mtlbench.contract.batch import Batch
from mtlbench.data.split import Split
from mtlbench.records import Evaluation
from mtlbench.tasks import mean_skill, skill
from mtlbench.tasks.base import Task
from mtlbench.tasks.meter import Meter


class Referee:
    """Scores predictions against targets, on the scale of the reference constants.

    The constants are fitted on train once; their own metrics are computed once a split.

    Args:
        tasks: the dataset's tasks.
        train: the split that constants are fitted on.
    """

    def __init__(self, tasks: Sequence[Task], train: Split) -> None:
        self.tasks = tuple(tasks)
        self.constants = {task.name: task.fit_constant(train.chunks(task)) for task in self.tasks}
        self._metrics: dict[str, dict[str, float]] = {}

    def constant_metrics(self, split: Split, batch_size: int = 64) -> dict[str, float]:
        """Task → primary metric of its reference constant on the split."""
        if split.name not in self._metrics:
            meters = {task.name: Meter(task) for task in self.tasks}
            for indices in torch.arange(len(split)).split(batch_size):
                batch = split.batch(indices)
                for task in self.tasks:
                    target = batch.target(task.name)
                    if len(target):
                        constant = task.constant_prediction(self.constants[task.name], target)
                        meters[task.name].update(constant, target)
            self._metrics[split.name] = {task.name: meters[task.name].compute()[task.primary.name] for task in self.tasks}
        return self._metrics[split.name]

    def evaluation(self, metrics: dict[str, dict[str, float]], constant: Mapping[str, float]) -> Evaluation:
        """Metrics with their skill."""
        skills: dict[str, float] = {}
        for task in self.tasks:
            primary = task.primary
            value = skill(metrics[task.name][primary.name], constant[task.name], primary.perfect)
            if value is not None:
                skills[task.name] = value
        return Evaluation(metrics=metrics, constant=dict(constant), skill=skills, mean_skill=mean_skill(skills))


@torch.no_grad()
def predictions(
    network: nn.Module,
    split: Split,
    device: torch.device,
    batch_size: int,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    change: Callable[[Batch], Tensor] | None = None,
) -> Iterator[tuple[Batch, dict[str, Tensor]]]:
    """Batches of a split with the network's predictions, in evaluation mode.

    Args:
        change: gives the images that the network sees in place of the batch's own (a corruption); targets stay.
    """
    was_training = network.training
    network.eval()
    try:
        for indices in torch.arange(len(split)).split(batch_size):
            batch = split.batch(indices, device)
            image = batch.image if change is None else change(batch)
            with autocast():
                output = network(image, None, batch.rows)
            yield batch, {task: one.float() for task, one in output.items()}
    finally:
        network.train(was_training)


def score(
    tasks: Sequence[Task], scored: Iterable[tuple[Batch, dict[str, Tensor]]], keep_images: bool = False
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, np.ndarray]]]:
    """Metrics of a set, and (on request) every image's sufficient statistics."""
    meters = {task.name: Meter(task, keep_images=keep_images) for task in tasks}
    for batch, output in scored:
        for task in tasks:
            if len(output[task.name]):
                meters[task.name].update(output[task.name], batch.target(task.name))
    metrics = {name: meter.compute() for name, meter in meters.items()}
    images = {name: meter.images() for name, meter in meters.items()} if keep_images else {}
    return metrics, images
