"""How Cityscapes encodes labels and disparity in its PNGs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mtlbench.contract import BadSample

from .._shared.arrays import Array
from .._shared.normals import normals_from_depth
from .._shared.reading import some_values

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

FOCAL, CENTRE, FULL_SIZE = (2262.52, 2265.3017905988554), (1096.98, 513.137), (1024, 2048)
"""The calibration of one of the official cameras, taken for all: pixels at full size, height and width."""
FARTHEST = 80.0
"""Metres; beyond, a step of the disparity is metres wide and normals are noise."""

PARTS = ("background", "torso", "head", "arm", "leg", "window", "wheel", "light", "license plate", "chassis")
"""Parts of people (person, rider) and of vehicles (car, truck, bus); background is everything else."""
_FIRST_PART = {24: 1, 25: 1, 26: 5, 27: 5, 28: 5}
"""Label id of a class with parts → where its parts begin in `PARTS`."""
_PART_COUNT = {1: 4, 5: 5}


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
        values = some_values(ids[wrong]) or str(ids.dtype)
        raise BadSample(f"{path} holds label ids {values}, expected 8-bit ids 0 to {LAST_ID}")
    return ids


def surface_normals(inverse: Array) -> Array:
    """Normals [3, H, W] of an inverse-depth map [H, W] in 1/m that covers the full image; 0 beyond `FARTHEST`."""
    height, width = inverse.shape
    depth = np.where(inverse > 1 / FARTHEST, 1 / np.maximum(inverse, 1 / FARTHEST), 0)
    across, down = width / FULL_SIZE[1], height / FULL_SIZE[0]
    # A pixel's centre stays where it is in the image, not its number.
    centre = ((CENTRE[0] + 0.5) * across - 0.5, (CENTRE[1] + 0.5) * down - 0.5)
    return normals_from_depth(depth, (FOCAL[0] * across, FOCAL[1] * down), centre)


def part_labels(path: Path, uids: Array) -> Array:
    """Panoptic Parts' ids → `PARTS`, uint8 [H, W].

    An id is a class c (c ≤ 99), an instance (1000 c + i) or a part of one (100000 c + 100 i + p). People and vehicles whose
    part is not known (p = 0, or none given) are void, 255; bicycles, roads and all else are background.

    Raises:
        BadSample: ids of classes or parts that do not exist; names the file.
    """
    uids = uids.astype(np.int64)
    label = np.where(uids < 100, uids, np.where(uids < 100_000, uids // 1000, uids // 100_000))
    part = np.where(uids < 100_000, 0, uids % 100)
    parts = np.zeros(uids.shape, np.uint8)
    wrong = (uids < 0) | (label > LAST_ID)
    for label_id, first in _FIRST_PART.items():
        own = label == label_id
        parts[own] = np.where(part[own] == 0, IGNORE, first + part[own] - 1)
        wrong |= own & (part > _PART_COUNT[first])
    if wrong.any():
        raise BadSample(f"{path} holds the ids {some_values(uids[wrong])}, which name no class or part")
    return parts
