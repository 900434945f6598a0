"""Convex solids and where a ray is inside one.

World coordinates: x right, y down, z forward along the street, in metres; the ground is y = 0.

Every solid is a box, an upright elliptic cylinder or an ellipsoid, turned about the vertical by its yaw. Each is the
intersection of slabs and at most one quadric, so a ray meets it in the intersection of intervals (`interval`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Kind(IntEnum):
    """Shape of a solid."""

    BOX = 0
    CYLINDER = 1
    ELLIPSOID = 2


@dataclass
class Solids:
    """Convex solids, one row each; filled by `add`, read as arrays after `freeze`.

    Attributes:
        kind: `Kind`.
        centre, half: float [N, 3], centre and half extents (m) along the solid's own axes.
        yaw: float [N], turn about the vertical (rad); the solid's own z axis points to world (sin yaw, 0, cos yaw).
        label: semantic class.
        instance: object the solid is a part of; parts of one object have one label.
        material: texture and colours, as the shading knows them.
        colour: float [N, 3], base albedo in [0, 1].
        style: float [N, 3], three numbers in [0, 1) that vary the texture.
    """

    kind: Any = field(default_factory=list)
    centre: Any = field(default_factory=list)
    half: Any = field(default_factory=list)
    yaw: Any = field(default_factory=list)
    label: Any = field(default_factory=list)
    instance: Any = field(default_factory=list)
    material: Any = field(default_factory=list)
    colour: Any = field(default_factory=list)
    style: Any = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.kind)

    def add(self, **row: Any) -> None:
        """Append one solid; every attribute is named."""
        for name, value in row.items():
            getattr(self, name).append(value)

    def freeze(self) -> Solids:
        """The same solids as arrays (float64 and int64)."""
        return Solids(*(np.array(getattr(self, f.name)) for f in fields(self)))

    def keep(self, rows: Array) -> Solids:
        """The chosen rows of frozen solids."""
        return Solids(*(getattr(self, f.name)[rows] for f in fields(self)))

    def corners(self) -> Array:
        """World corners of every solid's bounding box, [N, 8, 3]."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        own = self.half[:, None] * signs
        c, s = np.cos(self.yaw)[:, None], np.sin(self.yaw)[:, None]
        turned = np.stack([c * own[..., 0] + s * own[..., 2], own[..., 1], c * own[..., 2] - s * own[..., 0]], -1)
        return turned + self.centre[:, None]


def interval(kind: int, half: Any, origin: Any, direction: Any) -> tuple[Array, Array]:
    """Ray parameters between which rays are inside a solid centred at 0; entry ≥ exit (or NaN) for a miss.

    Args:
        kind: `Kind`.
        half: three half extents.
        origin, direction: three components each, scalars or arrays that broadcast, in the solid's own axes.
    """
    entry: Any = None
    leave: Any = None
    for axis in range(3) if kind == Kind.BOX else (1,) if kind == Kind.CYLINDER else ():
        inverse = 1 / direction[axis]
        middle, reach = -origin[axis] * inverse, abs(half[axis] * inverse)
        entry = middle - reach if entry is None else np.maximum(entry, middle - reach)
        leave = middle + reach if leave is None else np.minimum(leave, middle + reach)
    if kind == Kind.BOX:
        return entry, leave
    axes = (0, 2) if kind == Kind.CYLINDER else (0, 1, 2)
    p = [origin[axis] / half[axis] for axis in axes]
    e = [direction[axis] / half[axis] for axis in axes]
    a = sum(y * y for y in e)
    middle = -sum(x * y for x, y in zip(p, e, strict=True)) / a
    # Distance at closest approach rather than the textbook discriminant, which cancels for thin distant poles in float32.
    room = (1 - sum((x + middle * y) ** 2 for x, y in zip(p, e, strict=True))) / a
    reach = np.sqrt(np.maximum(room, 0))
    if kind == Kind.ELLIPSOID:
        return middle - reach, middle + reach
    return np.maximum(entry, middle - reach), np.minimum(leave, middle + reach)
