"""How the three layouts of NYUv2 encode labels, depth and normals."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mtlbench.contract.dataset import BadSample
from mtlbench.datasets._derived import unit
from mtlbench.datasets._files import Array, require_finite, require_range

IGNORE = 255
FARTHEST = 20.0
"""Metres; larger values are no depths of an indoor Kinect frame."""

FOCAL, CENTRE = (518.857901, 519.469611), (325.582449, 253.736166)
"""The colour camera's calibration at 640×480, as published with the dataset's toolbox."""

CLASSES_40 = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter"),
    *("blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes", "ceiling", "books"),
    *("refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person", "night stand"),
    *("toilet", "sink", "lamp", "bathtub", "bag", "other structure", "other furniture", "other prop"),
)
CLASSES_13 = (
    *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv", "wall"),
    "window",
)


def labels(path: Path, stored: Array, classes: int) -> Array:
    """Class indices [H, W] as uint8; -1 and 255 are void.

    Raises:
        BadSample: other values; names the file.
    """
    whole = np.rint(require_finite(path, stored)).astype(np.int64)
    wrong = (whole != stored) | (whole < -1) | ((whole >= classes) & (whole != IGNORE))
    if wrong.any():
        values = ", ".join(f"{value:g}" for value in np.unique(stored[wrong])[:5])
        raise BadSample(f"{path} holds labels {values}, expected 0 to {classes - 1}, or -1 or 255 (void)")
    return np.where(whole < 0, IGNORE, whole).astype(np.uint8)


def depth(path: Path, stored: Array) -> Array:
    """Depth in metres, float32 [1, H, W]; 0 is invalid.

    Raises:
        BadSample: NaN, negative or beyond `FARTHEST`; names the file.
    """
    return require_range(path, stored, 0, FARTHEST, "depth in metres")[None].astype(np.float32)


def normals_from_bytes(code: Array) -> Array:
    """The PNGs of the AdaShare layout, uint8 [H, W, 3] → float32 [3, H, W], unit vectors or 0.

    A channel holds 255 (n + 1) / 2; white is masked. Channels are x (right), z (forward) and the upward axis, which was
    found by comparison with normals computed from depth; here they become x right, y down, z forward.
    """
    right, forward, up = code.transpose(2, 0, 1).astype(np.float32) * (2 / 255) - 1
    return unit(np.stack([right, -up, forward]))
