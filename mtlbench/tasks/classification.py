"""Image classification: one class per image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtlbench.tasks.base import MetricInfo, Statistics, Task
from mtlbench.tasks.constants import count_values, require_targets
from mtlbench.tasks.reduce import full_precision, masked_mean, ratio


class Classification(Task):
    """Assign an image one of `channels` classes.

    Target: int16 scalar, the class index; -1 without a label. Prediction: logits [B, channels]. Accuracy is a fraction;
    an image whose largest logit is NaN is wrong. Reference: the most frequent class.
    """

    kind = "classification"
    dense = False
    dtype = "int16"
    invalid: ClassVar[float] = -1

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return (MetricInfo("accuracy", True, 1.0),)

    def target_shape(self, height: int, width: int) -> tuple[int, ...]:
        return ()

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy, mean over the labelled images of the batch."""
        values = F.cross_entropy(full_precision(prediction), target.long(), ignore_index=-1, reduction="none")
        return masked_mean(values, target != -1)

    def statistics(self, prediction: Tensor, target: Tensor) -> Statistics:
        """`valid` and `correct`: 0 or 1, int64 [B]."""
        best, predicted = prediction.max(1)
        valid = target != -1
        correct = valid & (predicted == target) & ~best.isnan()
        return {"valid": valid.long(), "correct": correct.long()}

    def summarise(self, totals: Mapping[str, Tensor]) -> dict[str, float]:
        return {"accuracy": ratio(totals["correct"], totals["valid"])}

    def valid(self, target: Tensor) -> Tensor:
        return target != -1

    def fit_constant(self, targets: Iterable[np.ndarray]) -> list[float]:
        """[index of the most frequent class]."""
        counts = count_values(targets, self.channels)
        require_targets(self, bool(counts.any()))
        return [float(counts.argmax())]

    def constant_prediction(self, constant: list[float], target: Tensor) -> Tensor:
        logits = torch.zeros(1, self.channels, device=target.device)
        logits[:, int(constant[0])] = 1
        return logits.expand(len(target), -1)
