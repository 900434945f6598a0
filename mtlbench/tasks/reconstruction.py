"""Reconstruction: the image itself (auto-encoding)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mtlbench.tasks.base import MetricInfo, Statistics, Task
from mtlbench.tasks.constants import require_targets
from mtlbench.tasks.reduce import full_precision, image_counts, image_sums, masked_mean, ratio


class Reconstruction(Task):
    """Reproduce the image that the network saw, before it was corrupted.

    Target: float32 [3, H, W] in [0, 1] (uint8 images are divided by 255); a value that is NaN is invalid, such as
    padding. Prediction: [B, 3, H, W], used as it is. `mse` is pooled over all values of the set, on the scale of [0, 1];
    no PSNR beside it, which would say the same twice. Reference: the mean colour.
    """

    kind = "reconstruction"
    from_image = True
    dtype = "float32"
    invalid: ClassVar[float] = float("nan")

    def __init__(self, name: str, weight: float = 1.0) -> None:
        super().__init__(name, 3, weight)

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return (MetricInfo("mse", False, 0.0),)

    def target_shape(self, height: int, width: int) -> tuple[int, ...]:
        return (3, height, width)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Squared difference (MSE) on the scale of [0, 1], mean over the valid values of the batch."""
        target = _unit_scale(target)
        valid = target.isfinite()
        return masked_mean(torch.where(valid, full_precision(prediction) - target, 0).square(), valid)

    def statistics(self, prediction: Tensor, target: Tensor) -> Statistics:
        """`valid` values (three per pixel) and the sum of their `sq_err`, [B]."""
        target = _unit_scale(target)
        valid = target.isfinite()
        return {
            "valid": image_counts(valid),
            "sq_err": image_sums((full_precision(prediction) - target).square(), valid),
        }

    def summarise(self, totals: Mapping[str, Tensor]) -> dict[str, float]:
        return {"mse": ratio(totals["sq_err"], totals["valid"])}

    def valid(self, target: Tensor) -> Tensor:
        return _unit_scale(target).isfinite().flatten(1).any(1)

    def fit_constant(self, targets: Iterable[np.ndarray]) -> list[float]:
        """[red, green, blue]: the mean colour in [0, 1]."""
        total, count = np.zeros(3), np.zeros(3, np.int64)
        for chunk in targets:
            valid = np.isfinite(chunk)
            total += np.sum(chunk, axis=(0, 2, 3), dtype=np.float64, where=valid) / (255 if chunk.dtype == np.uint8 else 1)
            count += valid.sum((0, 2, 3))
        require_targets(self, bool(count.all()))
        return [float(value) for value in total / count]

    def constant_prediction(self, constant: list[float], target: Tensor) -> Tensor:
        colour = torch.tensor(constant, dtype=torch.float32, device=target.device)
        return colour.reshape(1, 3, 1, 1).expand(target.shape)


def _unit_scale(image: Tensor) -> Tensor:
    return image.float() / 255 if image.dtype == torch.uint8 else image
