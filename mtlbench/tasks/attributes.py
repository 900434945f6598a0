"""Binary attributes: several yes-or-no questions about an image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtlbench.errors import UserError
from mtlbench.tasks.base import MetricInfo, Task
from mtlbench.tasks.constants import require_targets
from mtlbench.tasks.reduce import full_precision, masked_mean
from mtlbench.tasks.setlevel import Measured, SetLevel


class Attributes(SetLevel, Task):
    """Decide `channels` binary attributes of an image.

    Target: int8 [channels], 0 or 1; -1 without a label. Prediction: logits [B, channels]; a logit > 0 means yes.
    Each metric is a fraction: the mean over attributes of its value on the whole set. Attributes without a label are
    left out; of balanced accuracy, an attribute's classes that do not occur; of F1 and average precision, attributes
    without a positive label. Reference: each attribute's majority label (no, where they are equal).

    Args:
        name: the task's name within its dataset.
        channels: number of attributes.
        names: their names, in order; None where they have none.
        weight: loss weight published for the dataset.

    Raises:
        UserError: the names do not match the channels.
    """

    kind = "attributes"
    dense = False
    dtype = "int8"
    invalid: ClassVar[float] = -1

    def __init__(self, name: str, channels: int, names: tuple[str, ...] | None = None, weight: float = 1.0) -> None:
        super().__init__(name, channels, weight)
        if names is not None and len(names) != channels:
            raise UserError(f"task {name!r} names {len(names)} attributes but has {channels} channels; give one name each.")
        self.names = names

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return tuple(MetricInfo(name, True, 1.0) for name in ("accuracy", "balanced_accuracy", "f1", "ap"))

    def target_shape(self, height: int, width: int) -> tuple[int, ...]:
        return (self.channels,)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Binary cross-entropy, mean over all labels of the batch."""
        valid = target != -1
        logits = torch.where(valid, full_precision(prediction), 0)
        labels = (target == 1).to(logits.dtype)
        return masked_mean(F.binary_cross_entropy_with_logits(logits, labels, reduction="none"), valid)

    def measure(self, prediction: Tensor, target: Tensor) -> Measured:
        """Per image `tp`, `fp`, `fn`, `tn`: 0 or 1, int64 [B, channels]; kept for the average precision: `scores`, `labels`.

        Scores are the logits, NaN as the lowest of all (and as a no).
        """
        scores = full_precision(prediction).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
        yes, positive, negative = scores > 0, target == 1, target == 0
        masks = {"tp": yes & positive, "fp": yes & negative, "fn": ~yes & positive, "tn": ~yes & negative}
        return Measured({name: mask.long() for name, mask in masks.items()}, kept={"scores": scores, "labels": target})

    def summarise(self, totals: Mapping[str, Tensor]) -> dict[str, float]:
        """`ap` is NaN from per-image sums alone: it needs the set's `scores` and `labels`, [N, channels]."""
        tp, fp, fn, tn = (totals[name].double() for name in ("tp", "fp", "fn", "tn"))
        recalls = torch.stack([tp / (tp + fn), tn / (tn + fp)])
        f1 = torch.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), torch.nan)
        ap = average_precision(totals["scores"], totals["labels"]) if "scores" in totals else f1.new_full((), torch.nan)
        return {
            "accuracy": float(((tp + tn) / (tp + fp + fn + tn)).nanmean()),
            "balanced_accuracy": float(recalls.nanmean(0).nanmean()),
            "f1": float(f1.nanmean()),
            "ap": float(ap.nanmean()),
        }

    def valid(self, target: Tensor) -> Tensor:
        return (target != -1).any(1)

    def fit_constant(self, targets: Iterable[np.ndarray]) -> list[float]:
        """The majority label of each attribute, 0 or 1."""
        excess = np.zeros(self.channels, np.int64)
        any_valid = False
        for chunk in targets:
            excess += (chunk == 1).sum(0) - (chunk == 0).sum(0)
            any_valid = any_valid or bool((chunk != -1).any())
        require_targets(self, any_valid)
        return [float(more > 0) for more in excess]

    def constant_prediction(self, constant: list[float], target: Tensor) -> Tensor:
        labels = torch.tensor(constant, dtype=torch.float32, device=target.device)
        return (2 * labels - 1).expand(len(target), -1)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"names": None if self.names is None else list(self.names)}


def average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    """Exact average precision of each column: Σ (R_k - R_{k-1}) P_k over its distinct scores, highest first.

    Args:
        scores: [N, A], no NaN.
        labels: [N, A], 0 or 1; -1 is left out.

    Returns:
        float64 [A]; NaN for a column without a positive label.
    """
    count, columns = scores.shape
    if not count:
        return scores.new_full((columns,), torch.nan, dtype=torch.float64)
    order = scores.argsort(dim=0, descending=True, stable=True)
    scores, labels = scores.gather(0, order), labels.gather(0, order)
    positive = (labels == 1).double()
    precision = positive.cumsum(0) / (labels != -1).double().cumsum(0).clamp(min=1)
    # Equal scores pass a threshold together, so each takes the precision behind the last of its equals.
    rows = torch.arange(count, device=scores.device)[:, None].expand(-1, columns)
    last = torch.ones_like(scores, dtype=torch.bool)
    last[:-1] = scores[:-1] != scores[1:]
    end = torch.where(last, rows, count).flip(0).cummin(0).values.flip(0)
    return (positive * precision.gather(0, end)).sum(0) / positive.sum(0)
