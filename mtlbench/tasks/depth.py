"""Depth or inverse depth: one positive number per pixel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mtlbench.tasks.base import MetricInfo, Statistics, Task
from mtlbench.tasks.constants import positive_median, require_targets
from mtlbench.tasks.reduce import full_precision, image_counts, image_sums, masked_mean, ratio

_DELTAS = (1.25, 1.25**2, 1.25**3)


class Depth(Task):
    """Predict each pixel's depth, or its inverse (also a disparity).

    Target: float32 [1, H, W]; finite values > 0 are valid, everything else is not. Prediction: [B, 1, H, W], in the
    target's unit. Errors are pooled over the valid pixels of a set: `abs_err` and `rmse` in `unit`, `rel_err` as a
    fraction of the target, `deltaK` the fraction of pixels with max(p/t, t/p) < 1.25^K, where p <= 0 never counts.
    Reference: the training median.

    Args:
        name: the task's name within its dataset.
        inverse: True when targets are inverse depth, which a zoom multiplies; a zoom divides depth.
        unit: unit of the targets, such as "m" or "1/m"; shown with the errors.
        weight: loss weight published for the dataset.
    """

    kind = "depth"
    dtype = "float32"
    invalid: ClassVar[float] = 0.0

    def __init__(self, name: str, inverse: bool = False, unit: str = "", weight: float = 1.0) -> None:
        super().__init__(name, 1, weight)
        self.inverse = inverse
        self.unit = unit

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return (
            MetricInfo("abs_err", False, 0.0, self.unit),
            MetricInfo("rel_err", False, 0.0),
            MetricInfo("rmse", False, 0.0, self.unit),
            *(MetricInfo(f"delta{k}", True, 1.0) for k in (1, 2, 3)),
        )

    def target_shape(self, height: int, width: int) -> tuple[int, ...]:
        return (1, height, width)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Absolute difference (L1), mean over the valid pixels of the batch."""
        return masked_mean((full_precision(prediction) - target).abs(), _valid(target))

    def statistics(self, prediction: Tensor, target: Tensor) -> Statistics:
        """`valid` pixels, sums of `abs_err`, `rel_err` and `sq_err`, each [B]; pixels within 1.25^k, `delta` [B, 3]."""
        valid = _valid(target)
        prediction = full_precision(prediction)
        error = (prediction - target).abs()
        # One ratio says both: p/t < d and t/p < d, for p > 0, exactly when 1/d < p/t < d. NaN fails every comparison.
        quotient = prediction / target
        within = [valid & (quotient < delta) & (quotient * delta > 1) for delta in _DELTAS]
        return {
            "valid": image_counts(valid),
            "abs_err": image_sums(error, valid),
            "rel_err": image_sums(error / target, valid),
            "sq_err": image_sums(error.square(), valid),
            "delta": torch.stack([image_counts(mask) for mask in within], 1),
        }

    def summarise(self, totals: Mapping[str, Tensor]) -> dict[str, float]:
        pixels = totals["valid"]
        return {
            "abs_err": ratio(totals["abs_err"], pixels),
            "rel_err": ratio(totals["rel_err"], pixels),
            "rmse": ratio(totals["sq_err"], pixels) ** 0.5,
            **{f"delta{k}": ratio(totals["delta"][k - 1], pixels) for k in (1, 2, 3)},
        }

    def valid(self, target: Tensor) -> Tensor:
        return _valid(target).flatten(1).any(1)

    def fit_constant(self, targets: Iterable[np.ndarray]) -> list[float]:
        """[median of all valid training pixels], to 3e-5 of its size."""
        median = positive_median(targets)
        require_targets(self, median > 0)
        return [median]

    def constant_prediction(self, constant: list[float], target: Tensor) -> Tensor:
        return torch.full_like(target, constant[0])

    def augmented(self, target: Tensor, zoom: Tensor, flipped: Tensor) -> Tensor:
        """Depth divided by the zoom, inverse depth multiplied by it; invalid stays invalid."""
        factor = zoom.to(target.dtype).reshape(-1, 1, 1, 1)
        return target * factor if self.inverse else target / factor

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"inverse": self.inverse, "unit": self.unit, "mask": "finite and > 0"}


def _valid(target: Tensor) -> Tensor:
    # NaN fails both comparisons.
    return (target > 0) & (target < torch.inf)
