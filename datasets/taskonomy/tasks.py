"""Two kinds of task that Taskonomy's published encodings need: log-depth, and maps of a bounded magnitude."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mtlbench.contract import UserError
from mtlbench.tasks import (
    Depth,
    MetricInfo,
    Statistics,
    Task,
    full_precision,
    image_counts,
    image_sums,
    masked_mean,
    ratio,
)

LOG_RANGE = math.log(2**16)


class LogDepth(Depth):
    """Depth on a logarithmic scale: log(1 + raw) / log 2^16 of a 16-bit raw depth; 0 is invalid.

    All errors are on that scale, also `rel_err` and `deltaK`.
    """

    kind = "log_depth"

    def augmented(self, target: Tensor, zoom: Tensor, flipped: Tensor) -> Tensor:
        """A zoom by s divides the raw depth by s."""
        raw = torch.expm1(target * LOG_RANGE) / zoom.to(target.dtype).reshape(-1, 1, 1, 1)
        return torch.where(zoom.reshape(-1, 1, 1, 1) == 1, target, torch.log1p(raw) / LOG_RANGE)


class Magnitude(Task):
    """Predict a map of numbers in [-1, 1], such as a filter's response.

    Target: float32 [1, H, W]; NaN is invalid. Prediction: [B, 1, H, W]. `abs_err` is pooled over the valid pixels of the
    set. Reference: the training median, to 1/2048.
    """

    kind = "magnitude"
    dtype = "float32"
    invalid: ClassVar[float] = float("nan")
    _BINS: ClassVar[int] = 2048

    def __init__(self, name: str, weight: float = 1.0) -> None:
        super().__init__(name, 1, weight)

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return (MetricInfo("abs_err", False, 0.0),)

    def target_shape(self, height: int, width: int) -> tuple[int, ...]:
        return (1, height, width)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Absolute difference (L1), mean over the valid pixels of the batch."""
        valid = target.isfinite()
        return masked_mean(torch.where(valid, full_precision(prediction) - target, 0).abs(), valid)

    def statistics(self, prediction: Tensor, target: Tensor) -> Statistics:
        """`valid` pixels and the sum of their `abs_err`, [B]."""
        valid = target.isfinite()
        return {
            "valid": image_counts(valid),
            "abs_err": image_sums((full_precision(prediction) - target).abs(), valid),
        }

    def summarise(self, totals: Mapping[str, Tensor]) -> dict[str, float]:
        return {"abs_err": ratio(totals["abs_err"], totals["valid"])}

    def valid(self, target: Tensor) -> Tensor:
        return target.isfinite().flatten(1).any(1)

    def fit_constant(self, targets: Iterable[np.ndarray]) -> list[float]:
        """[median of all valid training pixels].

        Raises:
            UserError: there is no valid pixel.
        """
        counts = np.zeros(self._BINS, np.int64)
        for chunk in targets:
            counts += np.histogram(chunk[np.isfinite(chunk)], bins=self._BINS, range=(-1, 1))[0]
        if not counts.any():
            raise UserError(f"task {self.name!r}: no training image has a label of it. Leave the task out.")
        middle = int(np.searchsorted(counts.cumsum(), counts.sum() / 2))
        # The outermost bins stand for the ends themselves: most pixels of an edge map are exactly -1.
        return [-1.0 if middle == 0 else 1.0 if middle == self._BINS - 1 else (middle + 0.5) * 2 / self._BINS - 1]

    def constant_prediction(self, constant: list[float], target: Tensor) -> Tensor:
        return torch.full_like(target, constant[0])

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"range": [-1, 1]}
