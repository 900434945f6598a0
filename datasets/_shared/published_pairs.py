"""MultiMNIST as published code composes it: which pairs are drawn, where the second digit lies, and how the canvas shrinks.

Facts of three code bases, all of a 36-pixel canvas with the second digit 6 pixels further down and to the right than the
first (so that two rows and columns at the end stay black), the brighter pixel showing, shrunk to 28 pixels:

    Sener and Koltun (isl-org/MultiObjectiveOptimization): every digit once at the left, in order, with a partner drawn from
        all; nearest neighbour; 60,000 train and 10,000 test compositions, and no val (epochs are looked at on test).
    Kurin et al. (yobibyte/unitary-scalarization-dmtl): the same on the first 50,000 training digits, on the last 10,000 as
        val, and on test.
    PaMaL (nik-dim/pamal): both digits drawn, never the same one twice in a pair; bicubic, on floats; 60,000 compositions of
        which 10,000 are val, at random, so that val shares digits with train.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from PIL import Image

from .arrays import Array
from .random_stream import random_stream
from .reading import resize_nearest
from .two_digits import SPLITS, Compositions, Pool, overlaid

Pairing = Literal["even", "left_in_order", "both_random"]
Interpolation = Literal["nearest", "bicubic"]


@dataclass(frozen=True)
class PublishedPairs(Compositions):
    """Compositions whose right picture may lie off the corner, on a canvas that may be shrunk.

    Attributes:
        offset: how far the right picture lies below and to the right of the left one, in pixels.
        shrink: side of the images in pixels after shrinking the canvas; 0: the canvas as it is.
        interpolation: how the canvas is shrunk.
    """

    offset: int = 0
    shrink: int = 0
    interpolation: Interpolation = "nearest"

    def _canvas(self, left: Array, right: Array) -> Array:
        canvas = overlaid(self.size, left, right, self.offset)
        return shrunk(canvas, self.shrink, self.interpolation) if self.shrink else canvas


def shrunk(canvas: Array, side: int, interpolation: Interpolation) -> Array:
    """A square uint8 picture at another size; bicubic values are rounded and clipped to 0 … 255."""
    if interpolation == "nearest":
        return resize_nearest(canvas, side, side)
    return np.asarray(Image.fromarray(canvas).resize((side, side), Image.Resampling.BICUBIC))


def draw_pairs(
    pairing: Pairing, pools: Mapping[str, tuple[Pool, Pool]], counts: Mapping[str, int], seed: int
) -> dict[str, Array]:
    """int [counts[split], 2] by split: rows of the left and the right pool, for the pairings that are not "even".

    Depends on the seed, the counts and the pools' sizes alone.
    """
    pairs = {}
    for number, split in enumerate(SPLITS):
        rng = random_stream(seed, number, 1)
        left, right = (len(pool.labels) for pool in pools[split])
        pairs[split] = _pairs(rng, pairing, left, right, counts[split])
    return pairs


def _pairs(rng: Generator, pairing: Pairing, left: int, right: int, count: int) -> Array:
    second = rng.integers(0, right, count)
    if pairing == "left_in_order":
        return np.stack([np.arange(count) % left, second], 1)
    first = rng.integers(0, left, count)
    # A pair of one and the same picture is drawn again. Its number in the pool tells, since both sides have one pool;
    # where they have two, this forbids pairs of equal numbers, which is as good.
    while left > 1 and right > 1 and (equal := first == second).any():
        first[equal] = rng.integers(0, left, equal.sum())
    return np.stack([first, second], 1)
