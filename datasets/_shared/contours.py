"""Semantic contours, drawn from a label map."""

from __future__ import annotations

import numpy as np

from .arrays import Array


def contours(labels: Array) -> Array:
    """Pixels in whose 3×3 neighbourhood two labels meet: dilation and erosion of the label map differ.

    Void counts as a label of its own, as published: some labelings separate all objects by a line of void.

    Args:
        labels: uint8 [H, W].

    Returns:
        uint8 [1, H, W]: 1 on a contour, 0 off it.
    """
    height, width = labels.shape
    around = np.pad(labels, 1, mode="edge")
    windows = np.stack([around[i : i + height, j : j + width] for i in range(3) for j in range(3)])
    return (windows.max(0) != windows.min(0)).astype(np.uint8)[None]
