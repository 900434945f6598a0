"""Properties of datasets: what training and evaluation make of their targets."""

from __future__ import annotations

import math

import numpy as np
import torch

from mtlbench.conformance.dataset_subject import DatasetSubject
from mtlbench.conformance.json_values import require_json
from mtlbench.conformance.suite import Failed
from mtlbench.contract import Augmentation
from mtlbench.data.augment import augment, random_crop_and_flip
from mtlbench.data.sample_validation import range_problem, unlabelled_target
from mtlbench.tasks import Task, skill
from mtlbench.tasks.meter import Meter

DRAWS = 3
"""How many times the samples are augmented."""


def unlabelled(subject: DatasetSubject) -> None:
    """A target that holds the invalid value everywhere counts as no label: it is accepted, and its loss is 0."""
    height, width = subject.dataset.image_size
    for task in subject.dataset.tasks:
        target = unlabelled_target(task, height, width)
        if not task.from_image and (problem := range_problem(task, target)):
            raise Failed(f"{task.name}: the target without a label is refused: it {problem}")
        batch = torch.from_numpy(np.stack([target, target]))
        if task.valid(batch).any():
            raise Failed(f"{task.name}: valid() takes a target without a label for a labelled one")
        prediction = torch.randn(_output_shape(task, 2, height, width), requires_grad=True)
        loss = task.loss(prediction, batch)
        if not loss.requires_grad or float(loss.detach()) != 0:
            raise Failed(f"{task.name}: the loss without a label is {float(loss.detach())}; expected 0, with a graph")


def losses(subject: DatasetSubject) -> None:
    """Losses on loaded targets are finite numbers with finite gradients."""
    split, batch = subject.split("train"), subject.batch("train")
    for task in subject.labelled_tasks(split):
        target = batch.target(task.name)
        shape = _output_shape(task, len(target), *subject.dataset.image_size)
        prediction = torch.randn(shape, requires_grad=True)
        loss = task.loss(prediction, target)
        if loss.shape != () or not math.isfinite(float(loss.detach())):
            raise Failed(f"{task.name}: the loss is {loss.detach().tolist()}; expected one finite number")
        if not loss.requires_grad:
            raise Failed(f"{task.name}: the loss does not depend on the prediction")
        loss.backward()
        if prediction.grad is None or not prediction.grad.isfinite().all() or not prediction.grad.any():
            raise Failed(f"{task.name}: the gradient of the loss is 0 or not finite")


def reference_constant(subject: DatasetSubject) -> None:
    """The reference constant can be fitted on train, and has skill 0."""
    split, batch = subject.split("train"), subject.batch("train")
    for task in subject.labelled_tasks(split):
        target, size = batch.target(task.name), subject.dataset.image_size
        constant = task.fit_constant(split.chunks(task))
        require_json(f"{task.name}: fit_constant()", constant)
        prediction = task.constant_prediction(constant, target)
        expected = _output_shape(task, len(target), *size)
        if tuple(prediction.shape) != expected:
            raise Failed(f"{task.name}: constant_prediction() has shape {list(prediction.shape)}, expected {list(expected)}")
        meter = Meter(task)
        meter.update(prediction, target)
        metrics = meter.compute()
        if list(metrics) != [metric.name for metric in task.metrics]:
            raise Failed(f"{task.name}: summarise() gives {', '.join(metrics)}, not the metrics that the task names")
        value = metrics[task.primary.name]
        if not math.isfinite(value):
            raise Failed(f"{task.name}: the constant's {task.primary.name} is {value}")
        own_skill = skill(value, value, task.primary.perfect)
        if own_skill not in (0.0, None):  # None: so few labels that a constant predicts them perfectly
            raise Failed(f"{task.name}: the constant has skill {own_skill}, expected 0")


def augmentation(subject: DatasetSubject) -> None:
    """Zoomed, cropped and mirrored images stay images, and their targets stay valid."""
    batch, dataset = subject.batch("train"), subject.dataset
    zooms = tuple(sorted({*dataset.augmentation.zooms, 0.75, 1.0, 1.5}))
    for epoch in range(DRAWS):
        change = random_crop_and_flip(Augmentation(zooms, flip=True), 0, epoch, batch.index.numpy())
        changed = augment(batch, dataset.tasks, change, dataset.mean)
        if not (changed.image.isfinite().all() and changed.image.min() >= 0 and changed.image.max() <= 1 + 1e-6):
            raise Failed("an augmented image leaves [0, 1]")
        for task in dataset.tasks:
            target = changed.targets[task.name]
            if target.shape != batch.targets[task.name].shape or target.dtype != batch.targets[task.name].dtype:
                raise Failed(f"{task.name}: augmented() changes the shape or data type of targets")
            problems = (range_problem(task, each.numpy()) for each in target if not task.from_image)
            if problem := next(filter(None, problems), None):
                raise Failed(f"{task.name}: an augmented target {problem}")


def _output_shape(task: Task, count: int, height: int, width: int) -> tuple[int, ...]:
    """Shape of a network's output for a task."""
    return (count, task.channels, height, width) if task.dense else (count, task.channels)
