"""Linear filters written as a few shifted additions.

On one thread, `conv2d` with one channel in and one out is 5-20 times slower than adding shifted views, and its result may
depend on the batch size; the additions below do the same for every image whatever its batch.
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

PadMode = Literal["replicate", "reflect", "symmetric"]
Tap = tuple[int, int, float]
"""(row, column, weight): the weight of the pixel that lies `row` below and `column` to the right."""


def to_uint8(x: Tensor) -> Tensor:
    """Clip to 0 … 255 and truncate, as the reference does. Consumes `x`. Through int16, which is three times faster."""
    return x.clamp_(0, 255).to(torch.int16).to(torch.uint8)


def pad(x: Tensor, before: int, after: int, dim: int, mode: PadMode) -> Tensor:
    """Extend one dimension: `replicate` aaa|abc, `reflect` dcb|abcd (edge not repeated), `symmetric` cba|abc."""
    size = x.shape[dim]
    skip = 1 if mode == "reflect" else 0
    parts = [x]
    if before:
        if mode == "replicate":
            parts.insert(0, x.narrow(dim, 0, 1).expand(*_with(x.shape, dim, before)))
        else:
            parts.insert(0, x.narrow(dim, skip, before).flip(dim))
    if after:
        if mode == "replicate":
            parts.append(x.narrow(dim, size - 1, 1).expand(*_with(x.shape, dim, after)))
        else:
            parts.append(x.narrow(dim, size - after - skip, after).flip(dim))
    return torch.cat(parts, dim) if len(parts) > 1 else x


def _with(shape: torch.Size, dim: int, size: int) -> list[int]:
    sizes = list(shape)
    sizes[dim] = size
    return sizes


@lru_cache(maxsize=64)
def gaussian_weights(sigma: float, truncate: float) -> tuple[float, ...]:
    """A normalised Gaussian, cut at `truncate` standard deviations."""
    radius = int(truncate * sigma + 0.5)
    weights = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(-radius, radius + 1)]
    total = sum(weights)
    return tuple(w / total for w in weights)


def gaussian(x: Tensor, sigma: float | tuple[float, float], mode: PadMode = "replicate", truncate: float = 4.0) -> Tensor:
    """Gaussian blur of float [..., H, W]; `sigma` for both axes or (rows, columns)."""
    rows, columns = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    x = _correlate(x, gaussian_weights(rows, truncate), x.ndim - 2, mode)
    return _correlate(x, gaussian_weights(columns, truncate), x.ndim - 1, mode)


def box(x: Tensor, radius: int, mode: PadMode = "reflect") -> Tensor:
    """The mean over a square of side 2 · radius + 1 of float [..., H, W]."""
    weights = (1 / (2 * radius + 1),) * (2 * radius + 1)
    return _correlate(_correlate(x, weights, x.ndim - 2, mode), weights, x.ndim - 1, mode)


def _correlate(x: Tensor, weights: tuple[float, ...], dim: int, mode: PadMode) -> Tensor:
    radius, size = len(weights) // 2, x.shape[dim]
    padded = pad(x, radius, radius, dim, mode)
    out = padded.narrow(dim, 0, size) * weights[0]
    for i, weight in enumerate(weights[1:], start=1):
        out.add_(padded.narrow(dim, i, size), alpha=weight)
    return out


def correlate_symmetric(x: Tensor, kernel: list[list[float]]) -> Tensor:
    """Correlate float [..., H, W] with a kernel that is symmetric in both axes, at reflected borders.

    Args:
        kernel: the lower right quadrant, [R+1][R+1]; element [i][j] weighs the pixels ±i rows and ±j columns away.

    A disc is nearly constant inside, so we sum over its *changes*: with A_j = Σ_i K[i][j] · (row i up + row i down), the
    difference A_j - A_{j+1} has a term only where the kernel changes between columns j and j+1. A disc of radius 10 takes
    about 75 additions instead of 441.
    """
    reach, height, width = len(kernel) - 1, x.shape[-2], x.shape[-1]
    padded = pad(pad(x, reach, reach, x.ndim - 2, "reflect"), reach, reach, x.ndim - 1, "reflect")
    pairs = [padded.narrow(-2, reach, height)]
    pairs += [padded.narrow(-2, reach - i, height) + padded.narrow(-2, reach + i, height) for i in range(1, reach + 1)]
    column_sum = torch.zeros_like(pairs[0])
    out = torch.zeros_like(x)
    for j in range(reach, -1, -1):
        for i in range(reach + 1):
            change = kernel[i][j] - (kernel[i][j + 1] if j < reach else 0.0)
            if abs(change) > 1e-6:  # a tenth of that changes no grey level
                column_sum.add_(pairs[i], alpha=change)
        out.add_(column_sum.narrow(-1, reach - j, width))
        if j:
            out.add_(column_sum.narrow(-1, reach + j, width))
    return out


def motion_taps(radius: int, sigma: float, degrees: float) -> list[Tap]:
    """A one-sided Gaussian streak of 2 · radius + 1 pixels that starts at the pixel itself, at an angle."""
    width = 2 * radius + 1
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(width)]
    total, angle = sum(weights), math.radians(degrees)
    return [
        (math.ceil(i * math.sin(angle) - 0.5), math.ceil(i * math.cos(angle) - 0.5), weight / total)
        for i, weight in enumerate(weights)
    ]


def correlate_taps(x: Tensor, taps: Iterable[Tap]) -> Tensor:
    """The weighted sum of shifted copies of float [..., H, W], at replicated borders."""
    taps = list(taps)
    height, width = x.shape[-2:]
    up, down = -min(0, *(t[0] for t in taps)), max(0, *(t[0] for t in taps))
    left, right = -min(0, *(t[1] for t in taps)), max(0, *(t[1] for t in taps))
    padded = pad(pad(x, up, down, x.ndim - 2, "replicate"), left, right, x.ndim - 1, "replicate")
    out = torch.zeros_like(x)
    for row, column, weight in taps:
        out.add_(padded.narrow(-2, up + row, height).narrow(-1, left + column, width), alpha=weight)
    return out
