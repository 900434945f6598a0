"""Surface normals: one direction per pixel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mtlbench.tasks.base import MetricInfo, Task
from mtlbench.tasks.constants import require_targets
from mtlbench.tasks.reduce import full_precision, histogram, image_counts, image_histograms, image_sums, masked_mean, ratio
from mtlbench.tasks.setlevel import Measured, SetLevel

_SHORTEST = 1e-6
"""Targets shorter than this have no direction: they are invalid."""
_LOSS_SHORTEST = 1e-4
"""Predictions shorter than this are not stretched to unit length in the loss, which bounds its gradient."""
_COARSE = 180
_FINE_STEP = 180 / 2**18
_WITHIN = {"within_11": 11.25, "within_22": 22.5, "within_30": 30.0}


class Normals(SetLevel, Task):
    """Predict the surface normal of each pixel.

    Target: float32 [3, H, W], unit vectors (x to the right, y down or up, z along the optical axis; a dataset chooses the
    signs of y and z); the zero vector marks invalid pixels. Prediction: [B, 3, H, W], of any length: both are
    normalised in loss and metrics, and pixels are masked by the norm of the target.
    Metrics pool the angles of all valid pixels: mean and median in degrees, fractions strictly within 11.25°, 22.5°
    and 30°. A zero prediction is 90° off. Reference: the normalised mean direction.
    """

    kind = "normals"
    dtype = "float32"
    invalid: ClassVar[float] = 0.0

    def __init__(self, name: str, weight: float = 1.0) -> None:
        super().__init__(name, 3, weight)

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return (
            MetricInfo("mean_angle", False, 0.0, "°"),
            MetricInfo("median_angle", False, 0.0, "°"),
            *(MetricInfo(name, True, 1.0) for name in _WITHIN),
        )

    def target_shape(self, height: int, width: int) -> tuple[int, ...]:
        return (3, height, width)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """One minus the cosine between prediction and target, mean over the valid pixels of the batch."""
        valid = _valid(target)
        # Masked before the division: behind it, a gradient of 0 could meet an infinite derivative.
        predicted = torch.where(valid[:, None], full_precision(prediction), 1)
        actual = torch.where(valid[:, None], target, 1)
        lengths = _dot(predicted, predicted).clamp(min=_LOSS_SHORTEST**2) * _dot(actual, actual)
        cosine = _dot(predicted, actual) * lengths.rsqrt()
        return masked_mean(1 - cosine, valid)

    def measure(self, prediction: Tensor, target: Tensor) -> Measured:
        """Angles of every image, and the histogram that the median of the set comes from.

        Per image: `valid` pixels and the sum of their `angle` in degrees, [B]; pixels `within` each limit, [B, 3];
        `angles`, a histogram with bins of 1°, [B, 180]. Per set: `fine_angles`, 2^18 + 1 bins around multiples of
        180° / 2^18. An angle that is NaN makes the mean NaN and counts as 180° elsewhere.
        """
        valid = _valid(target)
        angle = _angle(full_precision(prediction), target)
        counted = angle.nan_to_num(nan=180.0)
        return Measured(
            images={
                "valid": image_counts(valid),
                "angle": image_sums(angle, valid),
                "within": torch.stack([image_counts(valid & (counted < limit)) for limit in _WITHIN.values()], 1),
                "angles": image_histograms(counted.long().clamp(max=_COARSE - 1), valid, _COARSE),
            },
            sums={"fine_angles": histogram((counted / _FINE_STEP).round().long(), valid, 2**18 + 1)},
        )

    def summarise(self, totals: Mapping[str, Tensor]) -> dict[str, float]:
        """The median is good to 4e-4° from `fine_angles`, to 1° from per-image statistics alone."""
        pixels = totals["valid"]
        if "fine_angles" in totals:
            median = _median_bin(totals["fine_angles"]) * _FINE_STEP
        else:
            median = _median_bin(totals["angles"]) + 0.5
        return {
            "mean_angle": ratio(totals["angle"], pixels),
            "median_angle": median,
            **{name: ratio(count, pixels) for name, count in zip(_WITHIN, totals["within"], strict=True)},
        }

    def valid(self, target: Tensor) -> Tensor:
        return _valid(target).flatten(1).any(1)

    def fit_constant(self, targets: Iterable[np.ndarray]) -> list[float]:
        """[x, y, z]: the mean of all valid training normals, normalised; towards z where they cancel out."""
        total = torch.zeros(3, dtype=torch.float64)
        any_valid = False
        for chunk in targets:
            normals = torch.from_numpy(np.ascontiguousarray(chunk))
            valid = _valid(normals)
            unit = torch.where(valid[:, None], _unit(normals), 0)
            total += unit.sum((0, 2, 3), dtype=torch.float64)
            any_valid = any_valid or bool(valid.any())
        require_targets(self, any_valid)
        length = float(total.norm())
        return (total / length).tolist() if length > 0 else [0.0, 0.0, 1.0]

    def constant_prediction(self, constant: list[float], target: Tensor) -> Tensor:
        return target.new_tensor(constant).reshape(1, 3, 1, 1).expand_as(target)

    def augmented(self, target: Tensor, zoom: Tensor, flipped: Tensor) -> Tensor:
        """Mirroring negates x; a zoom by s, which divides depth by s, turns n to (x, y, s·z), renormalised."""
        s = zoom.to(target.dtype).reshape(-1, 1, 1)
        mirror = 1 - 2 * flipped.to(target.dtype).reshape(-1, 1, 1)
        mirrored = torch.stack([target[:, 0] * mirror, target[:, 1], target[:, 2]], 1)
        turned = torch.stack([mirrored[:, 0], mirrored[:, 1], mirrored[:, 2] * s], 1)
        # An image that is not zoomed keeps its normals to the bit.
        return torch.where(s[:, None] == 1, mirrored, _unit(turned))

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"mask": "norm of the target"}


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Dot product of [B, 3, H, W] vectors, [B, H, W]: by components, since reducing a strided axis is 20 times slower."""
    (ax, ay, az), (bx, by, bz) = a.unbind(1), b.unbind(1)
    return ax * bx + ay * by + az * bz


def _unit(vectors: Tensor) -> Tensor:
    """[B, 3, H, W] vectors at length 1; the zero vector stays what it is."""
    return vectors / _dot(vectors, vectors).sqrt().clamp(min=_SHORTEST)[:, None]


def _valid(target: Tensor) -> Tensor:
    """Bool [B, H, W]; NaN fails both comparisons."""
    square = _dot(target, target)
    return (square > _SHORTEST**2) & (square < torch.inf)


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle between [B, 3, H, W] vectors of any length, in degrees [B, H, W]; 90 where one has no length.

    atan2 of cross and dot product, because the arc cosine in float32 is off by 0.02° near 0.
    """
    (ax, ay, az), (bx, by, bz) = a.unbind(1), b.unbind(1)
    dot = _dot(a, b)
    x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    cross = (x * x + y * y + z * z).sqrt()
    angle = torch.rad2deg(torch.atan2(cross, dot))
    return torch.where((cross == 0) & (dot == 0), 90.0, angle)


def _median_bin(counts: Tensor) -> float:
    """Bin of the median, the mean of two where the count is even; NaN for an empty histogram."""
    below = counts.cumsum(0)
    total = int(below[-1])
    if not total:
        return float("nan")
    middle = torch.tensor([(total - 1) // 2, total // 2], device=counts.device)
    return float(torch.searchsorted(below, middle, right=True).double().mean())
