"""Random numbers of an image that depend on nothing drawn before: a hash of (seed, stream, epoch, image).

No generator is advanced anywhere, so the numbers do not depend on the batch size, on what else was drawn, on how often a
method passes over the data, or on where a resumed run took up again: two methods with one seed see the same images in the
same order with the same augmentation. The hash chains the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

ORDER, PART, AUGMENTATION, LABELS = range(4)
"""Streams: draws for different purposes are independent of each other."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(state: NDArray[np.uint64], word: ArrayLike) -> NDArray[np.uint64]:
    """Absorb one 64-bit word into the state (broadcasting); arithmetic is modulo 2⁶⁴."""
    z = (state ^ np.asarray(word).astype(np.uint64)) + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def bits(seed: int, stream: int, epoch: int, images: ArrayLike, draws: int = 1) -> NDArray[np.uint64]:
    """Uniform 64-bit words [n, draws] for n images (positions in their split)."""
    state = np.zeros((1, 1), np.uint64)
    for word in (seed, stream, epoch):
        state = _mix(state, np.uint64(word % 2**64))
    state = _mix(state, np.asarray(images, np.int64)[:, None])
    return _mix(state, np.arange(draws)[None, :])


def uniform(seed: int, stream: int, epoch: int, images: ArrayLike, draws: int = 1) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), float64 [n, draws]: the upper 53 bits of `bits`."""
    return (bits(seed, stream, epoch, images, draws) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def shuffled(seed: int, epoch: int, images: Tensor) -> Tensor:
    """The given images (int64 [n]) in the epoch's order: the order that they have in a shuffle of the whole split."""
    keys = bits(seed, ORDER, epoch, images.numpy())[:, 0]
    return images[torch.from_numpy(np.argsort(keys, kind="stable"))]


def permutation(seed: int, epoch: int, n: int) -> Tensor:
    """The order in which an epoch visits a split of n images: int64 [n]."""
    return shuffled(seed, epoch, torch.arange(n))


def part(seed: int, n: int, start: float, stop: float) -> Tensor:
    """A fixed random part of a split of n images, the same in every epoch: int64, ascending.

    Args:
        start, stop: fractions, 0 ≤ start ≤ stop ≤ 1. Parts that meet (0 to 0.8, 0.8 to 1) are disjoint and complete.
    """
    if not 0 <= start <= stop <= 1:
        raise ValueError(f"a part runs from start to stop with 0 <= start <= stop <= 1, not from {start} to {stop}")
    order = np.argsort(bits(seed, PART, 0, np.arange(n))[:, 0], kind="stable")
    return torch.from_numpy(np.sort(order[round(start * n) : round(stop * n)]))
