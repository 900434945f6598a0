"""What stands where in a street: solids drawn at random from a style.

A straight street runs along world z, the road's middle is x = 0. Both sides have a kerb, trees, poles, parked cars and
houses; people walk on the pavement and cross; often a side street cuts through, or a building closes the view.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, pi

import numpy as np
from numpy.random import Generator

from .._shared.arrays import Array
from . import objects
from .objects import Builder
from .solids import Kind, Solids
from .style import KERB, Colour, Material, Style

BEGIN, END = -12.0, 130.0
"""The street's extent along z (m); the camera stands near 0."""


@dataclass
class Street:
    """A street: its solids, the places of its lamps [K, 3], and what a camera must know.

    Attributes:
        road: half width of the road (m).
        walk: width of the pavement (m).
        crossing: z-range of the side street, (inf, inf) where there is none.
    """

    solids: Solids
    lamps: Array
    style: Style
    road: float
    walk: float
    crossing: tuple[float, float]


def build(rng: Generator, style: Style) -> Street:
    """A random street of a style."""
    b = Builder(rng, style)
    road, walk = b.between(style.road), b.between(style.walk)
    crossing = (inf, inf)
    if b.chance(0.55):
        start = b.between((9, 50))
        crossing = (start, start + b.between((7, 12)))
    closed = b.between((45, 110)) if b.chance(0.45) else inf
    _ground(b, road, walk, crossing, closed)
    lamps: list[tuple[float, float, float]] = []
    for side in (-1, 1):
        setback = b.between(style.setback)
        if setback > 1.5:
            _lawn(b, side, road + walk, setback, crossing, closed)
        _houses(b, side, road + walk + setback, crossing, closed)
        lamps += _kerbside(b, side, road, walk, crossing, closed)
    _traffic(b, road, crossing, closed)
    _people(b, road, walk, crossing, closed)
    return Street(b.solids.arrays(), np.array(lamps).reshape(-1, 3), style, road, walk, crossing)


def _stretches(crossing: tuple[float, float], closed: float) -> list[tuple[float, float]]:
    """The z-ranges of the street outside its side street."""
    end = min(END, closed)
    if crossing[1] >= end:
        return [(BEGIN, end)]
    return [(BEGIN, crossing[0]), (crossing[1], end)]


def _slab(
    b: Builder, material: Material, x: tuple[float, float], z: tuple[float, float], top: float, colour: Colour
) -> None:
    """A flat piece of ground, one object, with its top at `top` metres above the road."""
    b.begin()
    centre = (sum(x) / 2, 0.5 - top, sum(z) / 2)
    b.put(Kind.BOX, material, centre, (abs(x[1] - x[0]) / 2, 0.5, (z[1] - z[0]) / 2), colour)


def _ground(b: Builder, road: float, walk: float, crossing: tuple[float, float], closed: float) -> None:
    grey = b.between(b.style.asphalt)
    _slab(b, Material.ROAD, (-150, 150), (-30, 170), 0.0, b.tint((grey, grey, grey), 0.06))
    pave = b.tint((0.34, 0.32, 0.3), 0.25)
    for side in (-1, 1):
        for z in _stretches(crossing, closed):
            _slab(b, Material.PAVING, (side * road, side * 90), z, KERB, pave)
    if isfinite(closed):
        _slab(b, Material.PAVING, (-90, 90), (closed + 9, closed + 60), KERB, pave)
        _house(b, (b.between((-6, 6)), closed + 20), (b.between((14, 30)), 8))


def _lawn(b: Builder, side: int, edge: float, setback: float, crossing: tuple[float, float], closed: float) -> None:
    green = b.pick(((0.14, 0.24, 0.06), (0.2, 0.26, 0.1), (0.26, 0.24, 0.1)))
    hedge = b.chance(0.5)
    for z in _stretches(crossing, closed):
        if z[1] - z[0] < 6:
            continue
        _slab(b, Material.GRASS, (side * edge, side * 80), (z[0] + 0.5, z[1] - 2.5), KERB + 0.03, green)
        if hedge:
            b.begin()
            tall = b.between((0.35, 0.8))
            centre = (side * (edge + 0.5), -KERB - tall, (z[0] + z[1]) / 2)
            b.put(Kind.BOX, Material.LEAVES, centre, (0.4, tall, (z[1] - z[0]) / 2 - 2.5), b.pick(b.style.leaves))


def _house(b: Builder, place: tuple[float, float], half: tuple[float, float]) -> None:
    """A building centred at (x, z) with half extents along x and z; some carry a smaller storey on top."""
    b.begin()
    tall = b.between(b.style.tall)
    wall = b.pick(b.style.walls)
    b.put(Kind.BOX, Material.FACADE, (place[0], -tall / 2, place[1]), (half[0], tall / 2, half[1]), wall)
    if b.chance(0.4):
        more = b.between((1, 2.5))
        shrink = b.between((0.5, 0.85))
        b.put(
            Kind.BOX, Material.FACADE, (place[0], -tall - more, place[1]), (half[0] * shrink, more, half[1] * shrink), wall
        )


def _houses(b: Builder, side: int, front: float, crossing: tuple[float, float], closed: float) -> None:
    for begin, end in _stretches(crossing, closed):
        z = begin + b.between((0, 3))
        while z < end - 5:
            long = min(b.between(b.style.frontage), end - z - 1)
            deep, back = b.between((8, 14)), b.between((0, 1.2))
            if long > 4:
                _house(b, (side * (front + back + deep / 2), z + long / 2), (deep / 2, long / 2))
            z += long + max(0.0, b.between(b.style.gap) - 1)


def _kerbside(b: Builder, side: int, road: float, walk: float, crossing: tuple[float, float], closed: float
              ) -> list[tuple[float, float, float]]:  # fmt: skip
    """Lamps, signs, trees along one kerb, and cars parked at it; returns the places of the lamps."""
    lamps = []
    step = b.between((14, 24))
    for begin, end in _stretches(crossing, closed):
        z = begin + b.between((2, step))
        while z < min(end - 1, 65):
            lamps.append(objects.lamp(b, side * (road + 0.45), z, -side))
            z += step
        z = begin + b.between((4, 8))
        while z < min(end - 2, 65):
            if b.chance(b.style.trees):
                objects.tree(b, side * (road + min(1.2, walk / 2)), z)
            elif b.chance(0.3):
                objects.sign(b, side * (road + 0.4), z)
            z += 8
    if isfinite(crossing[0]) and b.chance(0.7):
        objects.traffic_light(b, side * (road + 0.35), crossing[0] - 0.7)
    full = b.between((0, 2 * b.style.parked))
    z = BEGIN + b.between((8, 12))
    while z < min(closed, 60):
        if b.chance(full) and not crossing[0] - 4.5 < z < crossing[1] + 4:
            objects.car(b, side * (road - 1.15), z, 0.0 if side > 0 else pi)
        z += b.between((5.2, 7.5))
    return lamps


def _traffic(b: Builder, road: float, crossing: tuple[float, float], closed: float) -> None:
    for side in (-1, 1):
        z = b.between((7, 26))
        for _ in range(b.choose((0, 1, 2))):
            if z < closed - 4:
                make = objects.bus if b.chance(0.14) else objects.car
                make(b, side * max(1.3, 0.36 * road) + b.between((-0.3, 0.3)), z, 0.0 if side > 0 else pi)
            z += b.between((11, 25))
    if isfinite(crossing[0]) and b.chance(0.4):
        middle = sum(crossing) / 2
        objects.car(b, b.between((-12, 12)), middle + b.between((-1.5, 1.5)), b.choose((-1, 1)) * pi / 2)


def _people(b: Builder, road: float, walk: float, crossing: tuple[float, float], closed: float) -> None:
    for _ in range(3 + int(9 * b.uniform())):
        z = 4 + 32 * b.uniform() ** 1.5
        side = b.choose((-1, 1))
        if b.chance(0.25):
            objects.person(b, b.between((-road, road)), max(z, 6.0), 0.0)
        elif not crossing[0] < z < crossing[1] and z < closed:
            objects.person(b, side * (road + b.between((0.2, max(0.6, walk - 0.3)))), z, KERB)
