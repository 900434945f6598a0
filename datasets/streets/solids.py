"""Convex solids and where a ray is inside one.

World coordinates: x right, y down, z forward along the street, in metres; the ground is y = 0.

Every solid is a box, an upright elliptic cylinder or an ellipsoid, turned about the vertical by its yaw. Each is the
intersection of slabs and at most one quadric, so a ray meets it in the intersection of intervals (`interval`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum

import numpy as np

from .._shared.arrays import Array

Triple = tuple[float, float, float]
Components = Sequence[float] | Sequence[Array] | Array
"""Three components, each a number or an array; those of one call broadcast against each other."""


class Kind(IntEnum):
    """Shape of a solid."""

    BOX = 0
    CYLINDER = 1
    ELLIPSOID = 2


@dataclass
class Solids:
    """Convex solids, one row each.

    Attributes:
        kind: int64 [N], `Kind`.
        centre, half: float64 [N, 3], centre and half extents (m) along the solid's own axes.
        yaw: float64 [N], turn about the vertical (rad); the solid's own z axis points to world (sin yaw, 0, cos yaw).
        label: int64 [N], semantic class.
        instance: int64 [N], the object that the solid is a part of; parts of one object have one label.
        material: int64 [N], texture and colours, as the shading knows them.
        colour: float64 [N, 3], base albedo in [0, 1].
        style: float64 [N, 3], three numbers in [0, 1) that vary the texture.
    """

    kind: Array
    centre: Array
    half: Array
    yaw: Array
    label: Array
    instance: Array
    material: Array
    colour: Array
    style: Array

    def __len__(self) -> int:
        return len(self.kind)

    def keep(self, rows: Array) -> Solids:
        """The chosen rows (bool or int)."""
        return Solids(*(getattr(self, column.name)[rows] for column in fields(self)))

    def corners(self) -> Array:
        """World corners of every solid's bounding box, [N, 8, 3]."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        own = self.half[:, None] * signs
        c, s = np.cos(self.yaw)[:, None], np.sin(self.yaw)[:, None]
        turned = np.stack([c * own[..., 0] + s * own[..., 2], own[..., 1], c * own[..., 2] - s * own[..., 0]], -1)
        return turned + self.centre[:, None]


@dataclass(frozen=True)
class Solid:
    """One row of `Solids`."""

    kind: Kind
    centre: Triple
    half: Triple
    yaw: float
    label: int
    instance: int
    material: int
    colour: Triple
    style: Triple


@dataclass
class SolidList:
    """Solids that are added one by one, and then read as arrays."""

    solids: list[Solid] = field(default_factory=list)

    def add(self, solid: Solid) -> None:
        """Append one solid."""
        self.solids.append(solid)

    def arrays(self) -> Solids:
        """All solids, in the order in which they were added."""
        return Solids(*(np.array([getattr(solid, column.name) for solid in self.solids]) for column in fields(Solid)))


def interval(kind: int, half: Components, origin: Components, direction: Components) -> tuple[Array, Array]:
    """Ray parameters between which rays are inside a solid centred at 0; entry ≥ exit (or NaN) for a miss.

    Args:
        kind: `Kind`.
        half: the half extents.
        origin, direction: of the rays, in the solid's own axes.
    """
    if kind == Kind.BOX:
        (entry_x, exit_x), (entry_y, exit_y), (entry_z, exit_z) = (_slab(a, half, origin, direction) for a in range(3))
        return np.maximum(np.maximum(entry_x, entry_y), entry_z), np.minimum(np.minimum(exit_x, exit_y), exit_z)
    entry, leave = _quadric((0, 2) if kind == Kind.CYLINDER else (0, 1, 2), half, origin, direction)
    if kind == Kind.ELLIPSOID:
        return entry, leave
    entry_y, exit_y = _slab(1, half, origin, direction)
    return np.maximum(entry_y, entry), np.minimum(exit_y, leave)


def _slab(axis: int, half: Components, origin: Components, direction: Components) -> tuple[Array, Array]:
    """Where rays enter and leave the space between the two planes that bound a solid along an axis."""
    inverse = np.asarray(1 / direction[axis])
    middle, reach = -origin[axis] * inverse, abs(half[axis] * inverse)
    return middle - reach, middle + reach


def _quadric(axes: tuple[int, ...], half: Components, origin: Components, direction: Components) -> tuple[Array, Array]:
    """Where rays enter and leave the elliptic cylinder or ellipsoid with these axes; NaN or equal for a miss."""
    p = [np.asarray(origin[axis] / half[axis]) for axis in axes]
    e = [np.asarray(direction[axis] / half[axis]) for axis in axes]
    a = sum(y * y for y in e)
    middle = -sum(x * y for x, y in zip(p, e, strict=True)) / a
    # Distance at closest approach rather than the textbook discriminant, which cancels for thin distant poles in float32.
    room = (1 - sum((x + middle * y) ** 2 for x, y in zip(p, e, strict=True))) / a
    reach = np.sqrt(np.maximum(room, 0))
    return middle - reach, middle + reach
