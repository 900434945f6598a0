"""The handwritten digits that come with scikit-learn: 1,797 pictures of 8×8 pixels, real, and nothing to download."""

from __future__ import annotations

from functools import cache

import numpy as np
from sklearn.datasets import load_digits

from .arrays import Array

SOURCE = (
    "E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49; "
    "its test part, as embedded in scikit-learn"
)
LICENCE = "digits: CC BY 4.0"

SIDE = 24
"""A digit's side in pixels when it is enlarged three times."""

SPLITS = {"train": (0, 1100), "val": (1100, 1397), "test": (1397, 1797)}
"""Split → first and one past last of its pictures: consecutive runs of the source, whose order says nothing of writers."""


@cache
def digits() -> tuple[Array, Array]:
    """Pictures float64 [1797, 8, 8] in [0, 1], bright on black, and their labels int64 [1797]."""
    source = load_digits()
    return source.images / 16, source.target


def split_rule() -> str:
    """How the pictures are split, in words."""
    runs = ", ".join(f"{split} {first}-{stop - 1}" for split, (first, stop) in SPLITS.items())
    return f"by source picture, in the source's order (who wrote them is not known): {runs}"


def enlarge(images: Array) -> Array:
    """Pictures [..., 8, 8] to [..., 24, 24], bilinear between pixel centres (constant beyond the outermost ones)."""
    place = ((np.arange(SIDE) + 0.5) * 8 / SIDE - 0.5).clip(0, 7)
    weights = np.clip(1 - np.abs(place[:, None] - np.arange(8)), 0, 1)
    return weights @ images @ weights.T
