"""Surface normals: computed from depth, or decoded from how they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from mtlbench.contract import BadSample

from .arrays import Array

JUMP = 0.05
"""Neighbours whose depths differ by more than this share of the smaller one lie on different surfaces."""

SHORTEST = 0.5
"""Stored vectors shorter than this are no normals: masked pixels, or averages of opposite directions."""
LONGEST = 1.5
"""In the 8-bit coding, white (a masked pixel) decodes to a vector of length √3."""


def normals_from_depth(depth: Array, focal: tuple[float, float], centre: tuple[float, float]) -> Array:
    """Surface normals of a depth map.

    Every pixel is projected back to its point in space; the normal is the cross product of the central differences along
    the rows and the columns. Pixels at the border, without depth, or whose neighbours are without depth or on another
    surface (`JUMP`) have none.

    Args:
        depth: [H, W], distance along the optical axis; not finite or <= 0 where unknown.
        focal: (f_x, f_y) in pixels.
        centre: (c_x, c_y) in pixels.

    Returns:
        float32 [3, H, W]: unit vectors (x right, y down, z forward), turned towards the camera; 0 where there is none.
    """
    known = np.isfinite(depth) & (depth > 0)
    z = np.where(known, depth, 1).astype(np.float64)
    height, width = z.shape
    v, u = np.mgrid[:height, :width]
    point = np.stack([(u - centre[0]) / focal[0] * z, (v - centre[1]) / focal[1] * z, z])
    across, down = point[:, 1:-1, 2:] - point[:, 1:-1, :-2], point[:, 2:, 1:-1] - point[:, :-2, 1:-1]
    normal = np.cross(across, down, axis=0)
    middle, valid = z[1:-1, 1:-1], known[1:-1, 1:-1].copy()
    for rows, columns in ((1, 0), (1, 2), (0, 1), (2, 1)):
        window = slice(rows, height - 2 + rows), slice(columns, width - 2 + columns)
        near = np.minimum(z[window], middle)
        valid &= known[window] & (np.abs(z[window] - middle) <= JUMP * near)
    length = np.linalg.norm(normal, axis=0)
    valid &= length > 0
    normal /= np.where(valid, length, 1)
    away = (normal * point[:, 1:-1, 1:-1]).sum(0) > 0
    result = np.zeros((3, height, width), np.float32)
    result[:, 1:-1, 1:-1] = np.where(valid, np.where(away, -normal, normal), 0)
    return result


def unit_vectors(vectors: Array) -> Array:
    """Vectors [3, ...] at unit length, float32; 0 where they are too short or too long to be normals."""
    length = np.linalg.norm(vectors, axis=0)
    valid = (length > SHORTEST) & (length < LONGEST)
    return np.where(valid, vectors / np.where(valid, length, 1), 0).astype(np.float32)


def optical_axis(normals: Array) -> int:
    """Which of the stored channels 1 and 2 lies along the optical axis: the one whose sign varies less.

    Every visible surface faces the camera, so along the optical axis all normals have the same sign, in every layout.

    Args:
        normals: [3, N].
    """
    balance = np.abs(normals.sum(1)) / np.maximum(np.abs(normals).sum(1), 1e-12)
    return 1 if balance[1] > balance[2] else 2


def optical_axis_of_files(read: Callable[[Path], Array], paths: Iterable[Path]) -> int:
    """`optical_axis` of the normals [3, ...] that `read` decodes from a few files; 2 when none of them can be read."""
    vectors = []
    for path in paths:
        with suppress(BadSample):  # the sample's own loading reports what is wrong with the file
            vectors.append(unit_vectors(read(path)).reshape(3, -1))
    return optical_axis(np.concatenate(vectors, 1)) if vectors else 2


def decode_normals(code: Array) -> Array:
    """8-bit codes [H, W, 3] → vectors float32 [3, H, W]: 0 to 255 of a channel stands for -1 to 1 of a component."""
    return code.transpose(2, 0, 1).astype(np.float32) * (2 / 255) - 1
