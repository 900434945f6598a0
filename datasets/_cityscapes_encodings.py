"""How Cityscapes encodes labels and disparity in its PNGs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mtlbench.datasets._files import Array

from mtlbench.contract.dataset import BadSample

IGNORE = 255

CLASSES = {
    "road": (7, "flat"),
    "sidewalk": (8, "flat"),
    "building": (11, "construction"),
    "wall": (12, "construction"),
    "fence": (13, "construction"),
    "pole": (17, "object"),
    "traffic light": (19, "object"),
    "traffic sign": (20, "object"),
    "vegetation": (21, "nature"),
    "terrain": (22, "nature"),
    "sky": (23, "sky"),
    "person": (24, "human"),
    "rider": (25, "human"),
    "car": (26, "vehicle"),
    "truck": (27, "vehicle"),
    "bus": (28, "vehicle"),
    "train": (31, "vehicle"),
    "motorcycle": (32, "vehicle"),
    "bicycle": (33, "vehicle"),
}
"""The classes that the official benchmark evaluates, in order of their training ids: label id in the PNGs, category."""
CATEGORIES = ("flat", "construction", "object", "nature", "sky", "human", "vehicle")
LAST_ID = 33

BASELINE_TIMES_FOCAL = 0.209313 * 2262.52
"""Metres times pixels: depth in metres is this by disparity in pixels."""


def label_table(classes: int) -> Array:
    """Label id (0 to 255) → class (19) or category (7), uint8; `IGNORE` for what the benchmark does not evaluate."""
    table = np.full(256, IGNORE, np.uint8)
    for train_id, (label_id, category) in enumerate(CLASSES.values()):
        table[label_id] = train_id if classes == 19 else CATEGORIES.index(category)
    return table


def inverse_depth(raw: Array) -> Array:
    """Raw disparity p (0 to 65535) → inverse depth in 1/m, float32; 0 (invalid) for p = 0 and p = 1.

    p = 0 marks missing pixels; otherwise disparity is (p - 1) / 256 pixels, so p = 1 is infinitely far.
    """
    disparity = np.maximum(raw.astype(np.float64) - 1, 0) / 256
    return (disparity / BASELINE_TIMES_FOCAL).astype(np.float32)


def require_known_ids(path: Path, ids: Array) -> Array:
    """The label ids, if they are ids of Cityscapes.

    Raises:
        BadSample: they are not.
    """
    wrong = (ids > LAST_ID) & (ids != IGNORE)
    if ids.dtype != np.uint8 or wrong.any():
        values = ", ".join(map(str, np.unique(ids[wrong])[:5])) or str(ids.dtype)
        raise BadSample(f"{path} holds label ids {values}, expected 8-bit ids 0 to {LAST_ID}")
    return ids
