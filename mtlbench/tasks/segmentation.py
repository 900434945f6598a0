"""Semantic segmentation: one class per pixel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtlbench.errors import UserError
from mtlbench.tasks.base import MetricInfo, Statistics, Task
from mtlbench.tasks.constants import count_values, require_targets
from mtlbench.tasks.reduce import full_precision, image_histograms, masked_mean, ratio


class Segmentation(Task):
    """Assign every pixel one of `channels` classes.

    Target: uint8 [H, W], class indices; `ignore` marks pixels without a label. Prediction: logits [B, channels, H, W].
    Metrics are fractions. A class that no label holds is left out of the mean IoU; a class that is never predicted
    where it should be counts 0. A pixel whose largest logit is NaN is wrong. Reference: the most frequent class.

    Args:
        name: the task's name within its dataset.
        channels: number of classes.
        classes: their names, in order; None where they have none.
        ignore: label of pixels that neither loss nor metrics see.
        weight: loss weight published for the dataset.

    Raises:
        UserError: the names do not match the classes, or `ignore` is one of the classes or no uint8.
    """

    kind = "segmentation"
    dtype = "uint8"
    invalid: ClassVar[float] = 255

    def __init__(
        self, name: str, channels: int, classes: tuple[str, ...] | None = None, ignore: int = 255, weight: float = 1.0
    ) -> None:
        super().__init__(name, channels, weight)
        if classes is not None and len(classes) != channels:
            raise UserError(f"task {name!r} names {len(classes)} classes but has {channels} channels; give one name each.")
        if not channels <= ignore <= 255:
            raise UserError(f"task {name!r}: ignore = {ignore} must lie above its {channels} classes and fit uint8 (≤ 255).")
        self.classes = classes
        self.ignore = ignore
        self.invalid = ignore  # type: ignore[misc]  # the class holds the usual value, a task its own

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return (MetricInfo("miou", True, 1.0), MetricInfo("pixel_accuracy", True, 1.0))

    def target_shape(self, height: int, width: int) -> tuple[int, ...]:
        return (height, width)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy, mean over the labelled pixels of the batch."""
        # Unreduced, because CUDA has no deterministic kernel for the reduced form on maps.
        values = F.cross_entropy(full_precision(prediction), target.long(), ignore_index=self.ignore, reduction="none")
        return masked_mean(values, target != self.ignore)

    def statistics(self, prediction: Tensor, target: Tensor) -> Statistics:
        """`tp`, `fp`, `fn`: pixels per class, int64 [B, channels]."""
        best, predicted = prediction.max(1)
        predicted = torch.where(best.isnan(), self.channels, predicted)
        columns = self.channels + 1
        confusion = image_histograms(
            target.long() * columns + predicted, target != self.ignore, self.channels * columns
        ).reshape(-1, self.channels, columns)
        tp = confusion.diagonal(dim1=1, dim2=2)
        return {"tp": tp, "fp": confusion.sum(1)[:, :-1] - tp, "fn": confusion.sum(2) - tp}

    def summarise(self, totals: Mapping[str, Tensor]) -> dict[str, float]:
        tp, fp, fn = (totals[name].double() for name in ("tp", "fp", "fn"))
        labelled = tp + fn
        present = labelled > 0
        iou = tp[present] / (labelled + fp)[present]
        return {"miou": float(iou.mean()), "pixel_accuracy": ratio(tp.sum(), labelled.sum())}

    def valid(self, target: Tensor) -> Tensor:
        return (target != self.ignore).flatten(1).any(1)

    def fit_constant(self, targets: Iterable[np.ndarray]) -> list[float]:
        """[index of the most frequent class]."""
        counts = count_values(targets, self.channels)
        require_targets(self, bool(counts.any()))
        return [float(counts.argmax())]

    def constant_prediction(self, constant: list[float], target: Tensor) -> Tensor:
        logits = torch.zeros(1, self.channels, 1, 1, device=target.device)
        logits[:, int(constant[0])] = 1
        return logits.expand(len(target), -1, *target.shape[-2:])

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"classes": None if self.classes is None else list(self.classes)}
