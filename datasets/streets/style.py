"""The words of the street generator: semantic classes, materials, and the kinds of town."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

KERB = 0.14
"""Height of the pavement above the road (m)."""


Colour = tuple[float, float, float]
"""Red, green, blue albedo in [0, 1]."""


class Label(IntEnum):
    """Semantic classes."""

    ROAD = 0
    SIDEWALK = 1
    BUILDING = 2
    POLE = 3
    VEGETATION = 4
    PERSON = 5
    VEHICLE = 6
    SKY = 7


class Material(IntEnum):
    """Textures that the shading knows."""

    ROAD = 0
    PAVING = 1
    FACADE = 2
    METAL = 3
    SIGN = 4
    LEAVES = 5
    BARK = 6
    GRASS = 7
    CLOTH = 8
    SKIN = 9
    PAINT = 10
    GLASS = 11
    RUBBER = 12


LABEL_OF = {
    Material.ROAD: Label.ROAD,
    Material.PAVING: Label.SIDEWALK,
    Material.FACADE: Label.BUILDING,
    Material.METAL: Label.POLE,
    Material.SIGN: Label.POLE,
    Material.LEAVES: Label.VEGETATION,
    Material.BARK: Label.VEGETATION,
    Material.GRASS: Label.VEGETATION,
    Material.CLOTH: Label.PERSON,
    Material.SKIN: Label.PERSON,
    Material.PAINT: Label.VEHICLE,
    Material.GLASS: Label.VEHICLE,
    Material.RUBBER: Label.VEHICLE,
}


@dataclass(frozen=True)
class Style:
    """A kind of town: ranges (low, high) in metres unless said otherwise, and probabilities.

    Attributes:
        road: half width of the road.
        walk: width of the pavement.
        setback: from the pavement's edge to the house fronts; a setback above 1.5 m is lawn.
        frontage, tall, gap: width along the street, height, and distance of the houses.
        trees, parked: probability that a place for a tree, a parked car is taken.
        walls, leaves: palettes of albedos.
        marking: colour of the road's middle line.
        asphalt: grey level of the road.
        windows: range of the share of a wall that is window.
        palms: trees are bare trunks with a flat crown.
    """

    road: tuple[float, float]
    walk: tuple[float, float]
    setback: tuple[float, float]
    frontage: tuple[float, float]
    tall: tuple[float, float]
    gap: tuple[float, float]
    trees: float
    parked: float
    walls: tuple[Colour, ...]
    leaves: tuple[Colour, ...]
    marking: Colour = (0.75, 0.75, 0.72)
    asphalt: tuple[float, float] = (0.09, 0.2)
    windows: tuple[float, float] = (0.35, 0.6)
    palms: bool = False


_BRICK = ((0.42, 0.2, 0.14), (0.55, 0.45, 0.32), (0.62, 0.58, 0.5), (0.36, 0.33, 0.3), (0.6, 0.42, 0.22), (0.3, 0.36, 0.42))
_PLASTER = ((0.7, 0.66, 0.56), (0.66, 0.5, 0.36), (0.5, 0.26, 0.2), (0.75, 0.74, 0.72), (0.45, 0.52, 0.42), (0.68, 0.6, 0.3))
_GREEN = ((0.1, 0.2, 0.05), (0.16, 0.24, 0.07), (0.07, 0.15, 0.06), (0.28, 0.22, 0.06), (0.3, 0.13, 0.05))

TOWN = Style((4.2, 7.0), (2.0, 4.0), (0.0, 1.0), (8, 22), (8, 24), (0, 3), 0.35, 0.5, _BRICK, _GREEN)
SUBURB = Style((3.6, 5.2), (1.4, 2.4), (2.0, 7.0), (8, 14), (4, 9), (2, 12), 0.6, 0.35, _PLASTER, _GREEN)
BOULEVARD = Style((6.5, 9.5), (3.5, 6.0), (0.0, 2.5), (14, 34), (14, 40), (0, 8), 0.5, 0.3, _BRICK + _PLASTER, _GREEN)
STYLES = (TOWN, SUBURB, BOULEVARD)
"""The towns of train, val and test."""
COAST = Style(
    (5.5, 8.5), (2.5, 5.0), (0.0, 4.0), (10, 40), (3.5, 45), (0, 14), 0.45, 0.4,
    ((0.85, 0.78, 0.68), (0.8, 0.55, 0.42), (0.45, 0.62, 0.66), (0.86, 0.84, 0.8), (0.75, 0.7, 0.4), (0.25, 0.32, 0.38)),
    ((0.2, 0.28, 0.08), (0.26, 0.3, 0.12)), marking=(0.75, 0.5, 0.05), asphalt=(0.2, 0.34), windows=(0.6, 0.9), palms=True,
)  # fmt: skip
"""The other town of the shifted test set: pale walls, glass towers beside flat shops, palms, yellow lines."""
