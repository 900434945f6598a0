"""Boundaries: is a pixel on an edge (of objects, of classes, of texture)?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtlbench.errors import UserError
from mtlbench.tasks.base import MetricInfo, Statistics
from mtlbench.tasks.binary import BinaryMap, balanced_cross_entropy, score_histograms, true_false_positives


class Boundaries(BinaryMap):
    """Mark the pixels on a boundary.

    Target: uint8 [1, H, W], 1 on a boundary, 0 off it, 255 unlabelled. Prediction: one logit, [B, 1, H, W].
    `max_f` is the largest F-measure (β² = 1) over the score thresholds 0.01, 0.02, …, 0.99, of precision and recall
    pooled over the set; pixels match exactly, without the tolerance of thinned-contour benchmarks. A pixel is positive
    at a threshold <= its score. NaN where no pixel is on a boundary. Reference: everything is a boundary.

    Args:
        name: the task's name within its dataset.
        positive_weight: weight of boundary pixels in the loss, in (0, 1); the others get the rest. None takes each
            batch's share of pixels off boundaries.
        weight: loss weight published for the dataset.

    Raises:
        UserError: `positive_weight` is out of range.
    """

    kind = "boundaries"

    def __init__(self, name: str, positive_weight: float | None = 0.95, weight: float = 1.0) -> None:
        super().__init__(name, 1, weight)
        if positive_weight is not None and not 0 < positive_weight < 1:
            raise UserError(
                f"task {name!r}: positive_weight = {positive_weight} must lie in (0, 1), or be None (batch ratio)."
            )
        self.positive_weight = positive_weight

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return (MetricInfo("max_f", True, 1.0),)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Class-balanced binary cross-entropy, divided by all labelled pixels of the batch."""
        return balanced_cross_entropy(prediction, target, self.positive_weight)

    def statistics(self, prediction: Tensor, target: Tensor) -> Statistics:
        """`positives`, `negatives`: histograms of scores over the thresholds, int64 [B, 100]."""
        return score_histograms(prediction, target, steps=100, first=1, last=99)

    def summarise(self, totals: Mapping[str, Tensor]) -> dict[str, float]:
        positives = totals["positives"]
        tp, fp = true_false_positives(positives, totals["negatives"])
        # 2PR / (P + R) = 2 TP / (2 TP + FP + FN), and TP + FN are all positive pixels.
        boundary = positives.sum()
        f = 2 * tp.double() / (tp + fp + boundary)
        return {"max_f": float(f.max()) if boundary else float("nan")}

    def describe(self) -> dict[str, Any]:
        weight = "batch ratio" if self.positive_weight is None else self.positive_weight
        return super().describe() | {"positive_weight": weight, "thresholds": "0.01:0.01:0.99"}
