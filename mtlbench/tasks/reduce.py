"""Reductions that every kind of task shares: masked means for losses, per-image sums and histograms for statistics.

None of them reads a value back to the host, and none picks elements by a boolean mask: what is masked is replaced, so
that an invalid element can hold anything (NaN and infinity included) without touching a sum or a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is that already: losses and metrics never run in half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of `values` where `valid` (same shape, bool); 0 with a graph where nothing is valid."""
    return torch.where(valid, values, 0).sum() / valid.sum().clamp(min=1)


def image_counts(mask: Tensor) -> Tensor:
    """How many elements of each image are set: bool [B, N, ...] to int64 [B]."""
    return mask.flatten(1).sum(1)


def image_sums(values: Tensor, valid: Tensor) -> Tensor:
    """Sum over the valid elements of each image, added up in float64: [B, N, ...] to [B]."""
    return torch.where(valid, values, 0).flatten(1).sum(1, dtype=torch.float64)


def histogram(index: Tensor, valid: Tensor, bins: int) -> Tensor:
    """Count the valid entries of `index` (integers in [0, bins), any shape): int64 [bins]."""
    # Invalid entries fall into one more bin, which is cut off: selecting by mask would wait for the device.
    index = torch.where(valid, index, bins).flatten()
    if index.device.type == "cpu":
        return torch.bincount(index, minlength=bins + 1)[:bins]
    # On an accelerator bincount reads the largest index back to size its result.
    return torch.zeros(bins + 1, dtype=torch.int64, device=index.device).scatter_add_(0, index, torch.ones_like(index))[
        :bins
    ]


def image_histograms(index: Tensor, valid: Tensor, bins: int) -> Tensor:
    """One histogram per image: `index` and `valid` [B, ...] to int64 [B, bins]."""
    batch = len(index)
    offset = torch.arange(batch, device=index.device).mul_(bins).reshape(-1, *[1] * (index.ndim - 1))
    return histogram(index + offset, valid, batch * bins).reshape(batch, bins)


def ratio(numerator: Tensor | float, denominator: Tensor | float) -> float:
    """numerator / denominator as a number; NaN where the denominator is 0."""
    below = float(denominator)
    return float(numerator) / below if below else float("nan")
