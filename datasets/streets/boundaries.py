"""Occlusion boundaries, from what the rays of neighbouring pixels hit."""

from __future__ import annotations

import numpy as np

from .._shared.arrays import Array
from .rays import Hits


def occlusion_edges(hits: Hits, instance: Array, size: tuple[int, int]) -> Array:
    """Boundary pixels, bool [H, W].

    Two pixels that share a side are parted when they see different objects (each stretch of pavement, the road, the sky and
    every house, car, person, tree and pole is one object), or one object at places that do not join: each of the two points
    is further than a tenth of its z-depth from the tangent plane of the other. Of two parted pixels the one with the smaller
    z-depth is a boundary pixel: edges belong to what is in front, and are one pixel wide.

    Args:
        hits: of all pixels, P = H · W.
        instance: int [P], the object that each pixel sees.
        size: (height, width).
    """
    depth, instance = hits.depth.reshape(size), instance.reshape(size)
    point, normal = hits.point.reshape(3, *size), hits.normal.reshape(3, *size)
    edge = np.zeros(size, bool)
    for axis in (0, 1):
        before = (slice(None),) * axis
        here, there = (*before, slice(None, -1)), (*before, slice(1, None))
        vector_here, vector_there = (slice(None), *here), (slice(None), *there)
        step = point[vector_there] - point[vector_here]
        off_here = np.abs((step * normal[vector_here]).sum(0))
        off_there = np.abs((step * normal[vector_there]).sum(0))
        apart = (off_here > 0.1 * depth[here]) & (off_there > 0.1 * depth[there])
        parted = (instance[here] != instance[there]) | apart
        edge[here] |= parted & (depth[here] <= depth[there])
        edge[there] |= parted & (depth[there] <= depth[here])
    return edge
