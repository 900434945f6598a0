"""How the three layouts of NYUv2 encode labels, depth and normals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mtlbench.contract import Key, Sample

from .._shared.arrays import Array
from .._shared.normals import decode_normals, unit_vectors
from .._shared.reading import require_range, resize_by_area, resize_nearest

IGNORE = 255
VAL_PART = 7
"""One part in seven of the official train is val."""
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


def depth(path: Path, stored: Array) -> Array:
    """Depth in metres, float32 [1, H, W]; 0 is invalid.

    Raises:
        BadSample: NaN, negative or beyond `FARTHEST`; names the file.
    """
    return require_range(path, stored, 0, FARTHEST, "depth in metres")[None].astype(np.float32)


def normals_from_bytes(code: Array) -> Array:
    """The PNGs of the AdaShare layout, uint8 [H, W, 3] → float32 [3, H, W], unit vectors or 0.

    White is masked. Channels are x (right), z (forward) and the upward axis, which was
    found by comparison with normals computed from depth; here they become x right, y down, z forward.
    """
    right, forward, up = decode_normals(code)
    return unit_vectors(np.stack([right, -up, forward]))


def resized(image: Image.Image, label: Array, metres: Array, vectors: Array, size: tuple[int, int]) -> Sample:
    """A sample of the given (height, width): the image by averaging, targets [..., H, W] by the nearest pixel."""
    return {
        "image": resize_by_area(image, *size),
        "segmentation": resize_nearest(label, *size),
        "depth": resize_nearest(metres, *size),
        "normals": resize_nearest(vectors, *size),
    }


def cut_val(train: Sequence[Key]) -> dict[str, Sequence[Key]]:
    """Val is cut from the end of the official train, in one piece, because neighbours are likely to show one scene."""
    kept = len(train) - len(train) // VAL_PART
    return {"train": train[:kept], "val": train[kept:]}
