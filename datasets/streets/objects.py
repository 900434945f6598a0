"""The things in a street, each made of a few solids: vehicles, people, trees, poles."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, sin
from typing import TypeVar

from numpy.random import Generator

from .solids import Kind, Solid, SolidList, Triple
from .style import KERB, LABEL_OF, Colour, Material, Style

_T = TypeVar("_T")

_PAINT = (
    (0.7, 0.7, 0.7), (0.05, 0.05, 0.06), (0.3, 0.31, 0.33), (0.45, 0.04, 0.04), (0.04, 0.1, 0.35), (0.75, 0.74, 0.7),
    (0.05, 0.2, 0.12), (0.65, 0.4, 0.05), (0.2, 0.4, 0.5),
)  # fmt: skip
_CLOTH = (
    (0.5, 0.05, 0.06), (0.05, 0.08, 0.3), (0.04, 0.04, 0.05), (0.6, 0.55, 0.45), (0.65, 0.5, 0.05), (0.08, 0.3, 0.14),
    (0.5, 0.2, 0.4), (0.7, 0.7, 0.7), (0.2, 0.45, 0.6),
)  # fmt: skip
_SKIN = ((0.6, 0.4, 0.3), (0.4, 0.24, 0.16), (0.2, 0.12, 0.08), (0.7, 0.5, 0.4))


class Builder:
    """Adds objects made of solids to a street, with all their randomness."""

    def __init__(self, rng: Generator, style: Style) -> None:
        self.style = style
        self.solids = SolidList()
        self.instance = -1
        self._rng = rng
        self._drawn: list[float] = []

    def uniform(self) -> float:
        """A number in [0, 1); drawn in blocks, since one call of a generator costs as much as a hundred numbers."""
        if not self._drawn:
            self._drawn = self._rng.random(1024).tolist()
        return self._drawn.pop()

    def between(self, bounds: tuple[float, float]) -> float:
        """A uniform draw from [low, high)."""
        return bounds[0] + (bounds[1] - bounds[0]) * self.uniform()

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform() < probability

    def choose(self, among: Sequence[_T]) -> _T:
        """One of several things."""
        return among[int(self.uniform() * len(among))]

    def tint(self, colour: Colour, spread: float = 0.15) -> Colour:
        """A colour near the given one."""
        red, green, blue = (min(0.95, max(0.02, c * self.between((1 - spread, 1 + spread)))) for c in colour)
        return red, green, blue

    def pick(self, palette: Sequence[Colour]) -> Colour:
        """A colour near one of a palette."""
        return self.tint(self.choose(palette))

    def begin(self) -> None:
        """Start a new object: the solids added next belong to it."""
        self.instance += 1
        self.look = (self.uniform(), self.uniform(), self.uniform())

    def put(self, kind: Kind, material: Material, centre: Triple, half: Triple, colour: Colour, yaw: float = 0.0) -> None:
        """Add one solid to the current object."""
        label = LABEL_OF[material]
        self.solids.add(Solid(kind, centre, half, yaw, label, self.instance, material, colour, self.look))


def _boxes(
    b: Builder,
    x: float,
    z: float,
    yaw: float,
    parts: list[tuple[Material, tuple[float, float, float, float, float], Colour]],
) -> None:
    """Boxes of one object: (material, (forward offset, bottom height, half width, half height, half length), colour)."""
    for material, (ahead, bottom, wide, tall, long), colour in parts:
        centre = (x + ahead * sin(yaw), -bottom - tall, z + ahead * cos(yaw))
        b.put(Kind.BOX, material, centre, (wide, tall, long), colour, yaw)


def car(b: Builder, x: float, z: float, yaw: float) -> None:
    """A car or a van at (x, z), heading along `yaw`."""
    b.begin()
    paint = b.pick(_PAINT)
    van = b.chance(0.2)
    long, wide = b.between((1.9, 2.4)), b.between((0.82, 0.95))
    waist = b.between((0.85, 1.0)) + 0.2 * van
    roof = b.between((0.26, 0.34)) + 0.25 * van
    ahead, cabin = (-0.1 * long, 0.62 * long) if not van else (-0.08 * long, 0.88 * long)
    dark = (0.02, 0.02, 0.022)
    yaw += b.between((-0.04, 0.04))
    _boxes(b, x, z, yaw, [
        (Material.PAINT, (0, 0.24, wide, (waist - 0.24) / 2, long), paint),
        (Material.GLASS, (ahead, waist, wide - 0.1, roof, cabin), paint),
        (Material.RUBBER, (0.62 * long, 0, wide + 0.02, 0.31, 0.3), dark),
        (Material.RUBBER, (-0.62 * long, 0, wide + 0.02, 0.31, 0.3), dark),
    ])  # fmt: skip


def bus(b: Builder, x: float, z: float, yaw: float) -> None:
    """A bus or a lorry at (x, z), heading along `yaw`."""
    b.begin()
    paint = b.pick(_PAINT)
    long, tall = b.between((3.5, 5.5)), b.between((1.15, 1.4))
    body = Material.GLASS if b.chance(0.6) else Material.PAINT
    dark = (0.02, 0.02, 0.022)
    _boxes(b, x, z + long, yaw, [
        (body, (0, 0.35, 1.22, tall, long), paint),
        (Material.RUBBER, (0.65 * long, 0, 1.24, 0.45, 0.45), dark),
        (Material.RUBBER, (-0.6 * long, 0, 1.24, 0.45, 0.45), dark),
    ])  # fmt: skip


def person(b: Builder, x: float, z: float, ground: float) -> None:
    """A person standing at (x, z) on ground `ground` metres above the road."""
    b.begin()
    scale, yaw = b.between((0.8, 1.12)), b.between((0, pi))
    legs, coat = b.pick(_CLOTH), b.pick(_CLOTH)
    wide = b.between((0.24, 0.32)) * scale
    stride = b.between((0.1, 0.26)) * scale
    base = -ground
    b.put(Kind.BOX, Material.CLOTH, (x, base - 0.42 * scale, z), (wide * 0.6, 0.42 * scale, stride), legs, yaw)
    torso = (wide, 0.34 * scale, 0.17 * scale)
    b.put(Kind.CYLINDER, Material.CLOTH, (x, base - 1.13 * scale, z), torso, coat, yaw)
    head = (0.13 * scale, 0.16 * scale, 0.14 * scale)
    b.put(Kind.ELLIPSOID, Material.SKIN, (x, base - 1.6 * scale, z), head, b.pick(_SKIN), yaw)


def tree(b: Builder, x: float, z: float) -> None:
    """A tree at (x, z) on the pavement."""
    b.begin()
    bark = b.tint((0.2, 0.15, 0.1), 0.3)
    leaves = b.pick(b.style.leaves)
    if b.style.palms:
        tall = b.between((4.5, 8))
        b.put(Kind.CYLINDER, Material.BARK, (x, -tall / 2, z), (0.17, tall / 2, 0.17), bark)
        b.put(Kind.ELLIPSOID, Material.LEAVES, (x, -tall, z), (b.between((1.2, 1.9)), 0.55, b.between((1.2, 1.9))), leaves)
        return
    tall, thick, size = b.between((2.0, 3.4)), b.between((0.12, 0.26)), b.between((1.1, 2.1))
    b.put(Kind.CYLINDER, Material.BARK, (x, -tall / 2 - 0.3, z), (thick, tall / 2 + 0.3, thick), bark)
    for _ in range(b.choose((1, 2, 3))):
        right, up, ahead = (size * b.between((-0.5, 0.5)) for _ in range(3))
        half = (size * b.between((0.65, 1.1)), size * b.between((0.65, 1.1)), size * b.between((0.65, 1.1)))
        b.put(Kind.ELLIPSOID, Material.LEAVES, (x + right, -tall - 0.7 * size - abs(up), z + ahead), half, leaves)


def lamp(b: Builder, x: float, z: float, inwards: int) -> tuple[float, float, float]:
    """A street lamp whose arm reaches over the road (`inwards` is the sign of x towards it); returns the light's place."""
    b.begin()
    tall, thick, arm = b.between((4.5, 7.0)), b.between((0.09, 0.14)), b.between((0.6, 1.1))
    metal = b.tint((0.16, 0.17, 0.17), 0.5)
    b.put(Kind.CYLINDER, Material.METAL, (x, -tall / 2, z), (thick, tall / 2, thick), metal)
    b.put(Kind.BOX, Material.METAL, (x + inwards * arm, -tall, z), (arm, 0.09, 0.11), metal)
    return x + inwards * 1.7 * arm, -tall + 0.3, z


def sign(b: Builder, x: float, z: float) -> None:
    """A traffic sign at (x, z), facing the street."""
    b.begin()
    tall, size = b.between((2.2, 2.7)), b.between((0.3, 0.45))
    b.put(Kind.CYLINDER, Material.METAL, (x, -tall / 2, z), (0.06, tall / 2, 0.06), (0.3, 0.3, 0.3))
    face = b.pick(((0.6, 0.03, 0.03), (0.03, 0.1, 0.5), (0.7, 0.5, 0.02), (0.7, 0.7, 0.7)))
    b.put(Kind.BOX, Material.SIGN, (x, -tall - size + 0.1, z - 0.07), (size, size, 0.03), face, b.between((-0.2, 0.2)))


def traffic_light(b: Builder, x: float, z: float) -> None:
    """A traffic light at (x, z)."""
    b.begin()
    tall = b.between((2.6, 3.4))
    b.put(Kind.CYLINDER, Material.METAL, (x, -(tall + KERB) / 2, z), (0.09, (tall + KERB) / 2, 0.09), (0.12, 0.12, 0.12))
    b.put(Kind.BOX, Material.SIGN, (x, -tall - 0.3, z - 0.05), (0.2, 0.5, 0.15), (0.03, 0.03, 0.03))
