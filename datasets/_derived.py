"""Surface normals (from depth, or as they are stored) and contours of labels."""

from __future__ import annotations

import numpy as np

from mtlbench.datasets._files import Array

JUMP = 0.05
"""Neighbours whose depths differ by more than this share of the smaller one lie on different surfaces."""

SHORTEST = 0.5
"""Stored vectors shorter than this are no normals: masked pixels, or averages of opposite directions."""
LONGEST = 1.5
"""In the 8-bit coding, white (a masked pixel) decodes to a vector of length √3."""


def normals_from_depth(depth: Array, focal: tuple[float, float], centre: tuple[float, float]) -> Array:
    """Surface normals of a depth map.

    Every pixel is moved back to its point in space; the normal is the cross product of the central differences along the
    rows and the columns. Pixels at the border, without depth, or whose neighbours are without depth or on another surface
    (`JUMP`) have none.

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


def contours(labels: Array) -> Array:
    """Pixels in whose 3x3 neighbourhood two labels meet: dilation and erosion of the label map differ.

    Void counts as a label of its own, as published: some labelings part all objects by a line of void.

    Args:
        labels: uint8 [H, W].

    Returns:
        uint8 [1, H, W]: 1 on a contour, 0 off it.
    """
    height, width = labels.shape
    around = np.pad(labels, 1, mode="edge")
    windows = np.stack([around[i : i + height, j : j + width] for i in range(3) for j in range(3)])
    return (windows.max(0) != windows.min(0)).astype(np.uint8)[None]


def unit(vectors: Array) -> Array:
    """Vectors [3, ...] at unit length, float32; 0 where they are too short or too long to be normals."""
    length = np.linalg.norm(vectors, axis=0)
    valid = (length > SHORTEST) & (length < LONGEST)
    return np.where(valid, vectors / np.where(valid, length, 1), 0).astype(np.float32)


def optical_axis(normals: Array) -> int:
    """Which of the stored channels 1 and 2 lies along the optical axis: that whose sign is the more one-sided.

    What a camera sees is turned towards it, so along the optical axis all normals have the same sign, in every layout.

    Args:
        normals: [3, N].
    """
    one_sided = np.abs(normals.sum(1)) / np.maximum(np.abs(normals).sum(1), 1e-12)
    return 1 if one_sided[1] > one_sided[2] else 2
