"""The streaming metric of a task: one `Meter` per task and split, exact at set level."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from mtlbench.tasks.base import Task
from mtlbench.tasks.reduce import full_precision
from mtlbench.tasks.setlevel import Measured, SetLevel


class Meter(Metric):
    """Accumulates a task's statistics over batches, on the device of the predictions; `compute` gives its metrics.

    States are sums in float64 and int64 (`dist_reduce_fx="sum"`), and concatenations for what a task keeps of every
    image, so the metrics of a set do not depend on how it was cut into batches or spread over processes. `update` never
    waits for the device.

    Args:
        task: any task.
        keep_images: keep the statistics of every image for `images`.
    """

    full_state_update = False

    def __init__(self, task: Task, keep_images: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task = task
        self.keep_images = keep_images
        empty = _unlabelled(task)
        self._summed = (*empty.images, *empty.sums)
        self._kept = {name: value[:0] for name, value in empty.kept.items()}
        self._images = {name: value[:0] for name, value in empty.images.items()}
        for name, value in empty.images.items():
            self.add_state(f"sum_{name}", torch.zeros_like(value[0]), dist_reduce_fx="sum")
            if keep_images:
                self.add_state(f"image_{name}", [], dist_reduce_fx="cat")
        for name, value in empty.sums.items():
            self.add_state(f"sum_{name}", torch.zeros_like(value), dist_reduce_fx="sum")
        for name in empty.kept:
            self.add_state(f"kept_{name}", [], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            prediction: raw outputs, [B, channels, h, w] for dense tasks, [B, channels] otherwise. Maps of another size than
                the target's are resized to it (bilinear, corners not aligned): metrics hold at the labels' resolution.
            target: stored targets, [B, *target_shape], on the same device.
        """
        if self.device != prediction.device:
            self.to(prediction.device)
        measured = _measure(self.task, _resized(self.task, full_precision(prediction), target), target)
        for name, value in measured.images.items():
            self._add(name, value.sum(0))
            if self.keep_images:
                getattr(self, f"image_{name}").append(value)
        for name, value in measured.sums.items():
            self._add(name, value)
        for name, value in measured.kept.items():
            getattr(self, f"kept_{name}").append(value)

    def compute(self) -> dict[str, float]:
        """The metrics of everything seen so far, by name; NaN where undefined."""
        totals = {name: getattr(self, f"sum_{name}").cpu() for name in self._summed}
        kept = {name: _joined(getattr(self, f"kept_{name}"), empty) for name, empty in self._kept.items()}
        return self.task.summarise(totals | kept)

    def images(self) -> dict[str, np.ndarray]:
        """Statistics of every image, [N, ...] in the order seen; integers in the smallest type that holds them.

        Raises:
            RuntimeError: the meter was made without `keep_images`.
        """
        if not self.keep_images:
            raise RuntimeError("this Meter kept no image; make it with Meter(task, keep_images=True)")
        joined = {name: _joined(getattr(self, f"image_{name}"), empty) for name, empty in self._images.items()}
        return {name: _compact(value.numpy()) for name, value in joined.items()}

    def _add(self, name: str, value: Tensor) -> None:
        # Not in place: torchmetrics hands out references to states when it caches and restores them.
        setattr(self, f"sum_{name}", getattr(self, f"sum_{name}") + value)


def _measure(task: Task, prediction: Tensor, target: Tensor) -> Measured:
    if isinstance(task, SetLevel):
        return task.measure(prediction, target)
    return Measured(task.statistics(prediction, target))


def _resized(task: Task, prediction: Tensor, target: Tensor) -> Tensor:
    if not task.dense or prediction.shape[-2:] == target.shape[-2:]:
        return prediction
    return F.interpolate(prediction, size=target.shape[-2:], mode="bilinear", align_corners=False)


def _unlabelled(task: Task) -> Measured:
    """What one image without labels measures: zeros, in the shapes and types of the task's statistics."""
    size = (1, 1) if task.dense else ()
    target = torch.from_numpy(np.full((1, *task.target_shape(1, 1)), task.invalid, np.dtype(task.dtype)))
    measured = _measure(task, torch.zeros(1, task.channels, *size), target)
    names = [*measured.images, *measured.sums, *measured.kept]
    if len(set(names)) != len(names):
        raise ValueError(f"{task!r} measures two things by one name among {sorted(names)}")
    return measured


def _joined(parts: list[Tensor] | Tensor, empty: Tensor) -> Tensor:
    """All batches of a list state (a tensor once processes were synchronised), on the CPU."""
    return dim_zero_cat(parts).cpu() if len(parts) else empty


def _compact(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f" or not values.size:
        return values
    return values.astype(np.result_type(np.min_scalar_type(values.min()), np.min_scalar_type(values.max())))
