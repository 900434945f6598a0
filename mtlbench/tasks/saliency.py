"""Saliency: is a pixel part of what a person looks at?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtlbench.tasks.base import MetricInfo, Statistics
from mtlbench.tasks.binary import BinaryMap, balanced_cross_entropy, score_histograms, true_false_positives


class Saliency(BinaryMap):
    """Mark the salient pixels.

    Target: uint8 [1, H, W], 1 salient, 0 not, 255 unlabelled. Prediction: one logit, [B, 1, H, W].
    Both metrics follow the PASCAL multi-task protocol (Maninis et al., CVPR 2019): over the score thresholds 0.2, 0.25, …,
    0.9, `miou` is the largest mean over images of the Jaccard index (1 where label and prediction are both empty), `max_f`
    the largest F-measure (β² = 1) of precision and recall averaged over images (0 where undefined). A pixel is positive
    at a threshold <= its score. Reference: everything is salient.
    """

    kind = "saliency"

    def __init__(self, name: str, weight: float = 1.0) -> None:
        super().__init__(name, 1, weight)

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return (MetricInfo("miou", True, 1.0), MetricInfo("max_f", True, 1.0))

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Class-balanced binary cross-entropy (weights from the batch), divided by all labelled pixels of the batch."""
        return balanced_cross_entropy(prediction, target, positive_weight=None)

    def statistics(self, prediction: Tensor, target: Tensor) -> Statistics:
        """`images`: 1 if labelled, int64 [B]; `jaccard`, `precision`, `recall` at every threshold, float64 [B, 15]."""
        counts = score_histograms(prediction, target, steps=20, first=4, last=18)
        tp, fp = true_false_positives(counts["positives"], counts["negatives"])
        salient = counts["positives"].sum(1, keepdim=True)
        labelled = self.valid(target)
        union = (fp + salient).double()
        jaccard = torch.where(union > 0, tp / union.clamp(min=1), labelled[:, None].double())
        return {
            "images": labelled.long(),
            "jaccard": jaccard,
            "precision": tp.double() / (tp + fp).clamp(min=1),
            "recall": tp.double() / salient.clamp(min=1),
        }

    def summarise(self, totals: Mapping[str, Tensor]) -> dict[str, float]:
        images = totals["images"].double()
        jaccard, precision, recall = (totals[name] / images for name in ("jaccard", "precision", "recall"))
        # 0 where precision and recall are both 0; NaN (0 images) stays NaN.
        f = 2 * precision * recall / (precision + recall).clamp(min=1e-300)
        return {"miou": float(jaccard.max()), "max_f": float(f.max())}

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"thresholds": "0.20:0.05:0.90"}
