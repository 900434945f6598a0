"""Albedo of every visible surface: procedural textures by material, on the surfaces' own coordinates in metres."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from .._shared.arrays import Array
from .layout import Street
from .rays import Camera, Hits
from .style import KERB, Material

_SIDE = 256
"""Side of the noise tiles, a power of two."""


@cache
def _tiles() -> tuple[Array, Array]:
    """Two tiles of 256 x 256, flat, the same for ever: fractal noise of unit deviation, and white noise in [0, 1)."""
    rng = np.random.Generator(np.random.Philox(20240229))
    white = rng.random((_SIDE, _SIDE))
    wave = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.fftfreq(_SIDE)[None])
    wave[0, 0] = np.inf
    cloud = np.fft.ifft2(np.fft.fft2(rng.standard_normal((_SIDE, _SIDE))) / wave**1.1).real
    return (cloud / cloud.std()).clip(-2.5, 2.5).astype(np.float32).ravel(), white.astype(np.float32).ravel()


def _cell(u: Array, v: Array) -> Array:
    return (v.astype(np.int32) & (_SIDE - 1)) * _SIDE + (u.astype(np.int32) & (_SIDE - 1))


def noise(u: Array, v: Array) -> Array:
    """Fractal noise at real coordinates: unit deviation, features of all sizes from 1 to 256, period 256."""
    return _tiles()[0].take(_cell(u, v))


def dice(u: Array, v: Array) -> Array:
    """A number in [0, 1) for each integer cell, the same whenever it is asked for."""
    return _tiles()[1].take(_cell(u, v))


def _stripe(x: Array, low: float | Array, high: float | Array) -> Array:
    """1 between low and high, else 0."""
    return ((x > low) & (x < high)).astype(np.float32)


def albedo(street: Street, hits: Hits, camera: Camera) -> tuple[Array, Array, Array]:
    """Colour of every pixel's surface, what of it is glass, and what glows.

    Returns:
        albedo float32 [3, P] in [0, 1]; glass float32 [P] in [0, 1] (mirrors the sky by day, may be lit at night);
        glow float32 [3, P], light that car lamps and traffic lights give of themselves.
    """
    seen = np.flatnonzero(hits.solid >= 0)
    row = hits.solid[seen].astype(np.intp)
    solids = street.solids
    material = solids.material[row]
    colour = np.zeros((3, len(hits.depth)), np.float32)
    glass = np.zeros(len(hits.depth), np.float32)
    glow = np.zeros_like(colour)
    base = solids.colour.T.astype(np.float32)
    face, own = hits.face, hits.own
    # Texture coordinates: the two axes that span the face.
    u = np.where(face == 0, own[2], own[0])
    v = np.where(face == 1, own[2], own[1])
    texel = hits.depth / np.float32(camera.focal)  # metres per pixel; finer texture fades into its mean
    look, half = solids.style.T.astype(np.float32), solids.half.T.astype(np.float32)
    order = np.argsort(material, kind="stable")
    ends = np.searchsorted(material[order], np.arange(len(Material) + 1))
    for kind in Material:
        part = order[ends[kind] : ends[kind + 1]]
        if not len(part):
            continue
        pixels, solid = seen[part], row[part]
        patch = _Patch(
            street,
            u[pixels],
            v[pixels],
            hits.point.take(pixels, 1),
            own.take(pixels, 1),
            face[pixels],
            texel[pixels],
            look.take(solid, 1),
            half.take(solid, 1),
        )
        textured = base.take(solid, 1)
        texture = _TEXTURES.get(kind)
        if texture is not None:
            factor, pane, light = texture(patch)
            glass[pixels] = pane
            textured = textured * factor
            if light is not None:
                for channel in range(3):
                    glow[channel][pixels] = light[channel]
        for channel in range(3):
            colour[channel][pixels] = textured[channel]
    return np.clip(colour, 0.01, 1), glass, glow


@dataclass
class _Patch:
    """The pixels [n] of one material.

    Attributes:
        u, v: texture coordinates on the surface (m).
        point, own: where they are in the world and in their solid's axes, [3, n] (m).
        face: the axis that their surface faces.
        texel: metres that a pixel spans.
        look, half: the style and the half extents of their solids, [3, n].
    """

    street: Street
    u: Array
    v: Array
    point: Array
    own: Array
    face: Array
    texel: Array
    look: Array
    half: Array

    def grain(self, scale: float, strength: float) -> Array:
        """1 ± fractal noise whose finest features are 1 / scale metres; finer than a pixel, it fades."""
        shift = 256 * self.look
        value = noise(self.u * scale + shift[0], self.v * scale + shift[1])
        return 1 + strength * value / (1 + 0.3 * scale * self.texel)


_Texture = tuple[Array, Array | float, Array | None]
"""Factor on the base colour [n] or [3, n], glass [n] in [0, 1], light given off [3, n] if any."""


def _road(p: _Patch) -> _Texture:
    """Asphalt with patches and cracks, a dashed or double middle line, edge lines, a crosswalk before a side street."""
    x, _, z = p.point
    street = p.street
    factor = p.grain(9, 0.13) * p.grain(1.7, 0.1)
    patch = dice(np.floor(x / 2.3), np.floor(z / 6.1))
    factor *= 1 - 0.3 * (patch > 0.88) + 0.25 * (patch < 0.08)
    factor *= 1 - 0.12 * _stripe(np.abs(np.abs(x) - 0.36 * street.road - 0.75), -1, 0.25)
    inside = ((z < street.crossing[0] - 1) | (z > street.crossing[1] + 1)) & (np.abs(x) < street.road)
    look = street.solids.style[0]
    if look[0] < 0.6:
        line = _stripe(np.abs(x), -1, 0.09) * (np.mod(z, 7.0) < 3.4)
    else:
        line = _stripe(np.abs(np.abs(x) - 0.17), -1, 0.07)
    if look[1] < 0.6:
        line = np.maximum(line, _stripe(np.abs(x) - street.road, -0.42, -0.27))
    line *= inside
    if np.isfinite(street.crossing[0]) and look[2] < 0.75:
        zebra = _stripe(z - street.crossing[0], -3.4, -0.6) * (np.mod(x, 1.1) < 0.55) * (np.abs(x) < street.road - 0.2)
        line = np.maximum(line, zebra)
    worn = np.clip(line * (0.95 + 0.25 * noise(x * 5, z * 5)), 0, 1)
    base = street.solids.colour[0].astype(np.float32)[:, None]
    mark = np.array(street.style.marking, np.float32)[:, None]
    return factor + worn * (mark / base - factor), 0.0, None


def _paving(p: _Patch) -> _Texture:
    """Slabs with joints; a paler kerb stone along the edge."""
    size = 0.6 + 0.6 * p.look[0]
    joint = np.maximum(np.mod(p.u / size, 1) < 0.08, np.mod(p.v / size, 1) < 0.08) / (1 + 6 * p.texel)
    tone = 0.9 + 0.22 * dice(np.floor(p.u / size), np.floor(p.v / size))
    factor = p.grain(8, 0.1) * tone * (1 - 0.35 * joint)
    kerb = (np.abs(p.point[0]) < p.street.road + 0.22) | (p.face != 1)
    return factor * (1 + 0.35 * kerb), 0.0, None


def _facade(p: _Patch) -> _Texture:
    """Storeys of windows on a wall with grain; a shop or a door at street level; a plain roof."""
    look, share = p.look, p.street.style.windows
    height = -p.point[1] - KERB
    storey, bay = 2.8 + 0.9 * look[1], 1.5 + 2.4 * look[0]
    level, column = np.floor(height / storey), np.floor(p.u / bay)
    rise, across = height / storey - level, p.u / bay - column
    wide = share[0] + (share[1] - share[0]) * look[2]
    ground = level < 1
    low = np.where(ground, 0.08, 0.28)
    window = (np.abs(across - 0.5) < np.where(ground, 0.42, wide / 2)) & (rise > low) & (rise < 0.84) & (p.face != 1)
    window &= height < 2 * p.half[1] - 0.4
    draw = dice(column + 97 * look[0] + 13 * p.face, level + 251 * look[1])
    pane = window * (draw < 0.93)
    blind = 0.6 + 1.1 * dice(column + 51, level + 251 * look[2])
    wall = p.grain(5, 0.12) * p.grain(0.7, 0.12)
    ledge = _stripe(rise, 0.93, 1.0) / (1 + 4 * p.texel)
    wall *= 1 - 0.25 * ledge + ground * (0.5 * look[2] - 0.3)
    return np.where(pane, 0.22 * blind, wall), pane * (0.35 + 0.4 * (draw > 0.5)), None


def _leaves(p: _Patch) -> _Texture:
    """Clumps of leaves: coarse and fine noise, dark in the gaps."""
    u, v = p.own[0] + p.own[2], p.own[1] + 0.5 * p.own[2]
    shift = 256 * p.look
    clumps = noise(u * 12 + shift[0], v * 12 + shift[1]) + 0.6 * noise(u * 40 + shift[1], v * 40) / (1 + 8 * p.texel)
    factor = np.clip(0.95 + 0.5 * clumps, 0.18, 2.2)
    return factor * np.array([[1.0], [1.05], [0.9]], np.float32), 0.0, None


def _grass(p: _Patch) -> _Texture:
    return p.grain(14, 0.25) * p.grain(2, 0.15), 0.0, None


def _bark(p: _Patch) -> _Texture:
    return 1 + 0.3 * noise((p.own[0] + p.own[2]) * 30, p.own[1] * 6 + 200 * p.look[0]), 0.0, None


def _sign(p: _Patch) -> _Texture:
    """A plate with a border or a bar; tall dark plates are traffic lights, of which one lamp glows."""
    x, y = p.own[0] / p.half[0], p.own[1] / p.half[1]
    square = p.half[1] < p.half[0] + 0.1
    white = ((np.maximum(np.abs(x), np.abs(y)) > 0.78) | (np.abs(y) < 0.2) & (np.abs(x) < 0.6)) & square & (p.face == 2)
    lit = np.floor(3 * p.look[0]) - 1
    lamp = ~square & (np.hypot(x, (y - 0.64 * lit) * 2.5) < 0.75) & (p.face == 2)
    hue = np.stack([lit < 0.5, lit > -0.5, 0.4 * (lit > 0.5)]).astype(np.float32)
    return np.where(white, np.float32(3), np.float32(1)), 0.0, 0.9 * lamp * hue


def _cloth(p: _Patch) -> _Texture:
    stripes = 1 - 0.35 * ((p.look[0] < 0.3) & (np.mod(p.own[1], 0.22) < 0.11))
    return p.grain(25, 0.12) * stripes, 0.0, None


def _paint(p: _Patch) -> _Texture:
    """Car paint with dark gaps of doors and sills; white lamps in front, red ones behind."""
    x, y = p.own[0] / p.half[0], p.own[1] / p.half[1]
    ends = p.face == 2
    gap = (p.face == 0) & (np.abs(np.abs(p.own[2]) - 0.55) < 0.03)
    factor = np.where(gap | (y > 0.72), np.float32(0.35), np.float32(1.0)) * p.grain(3, 0.04)
    lamp = ends & (np.abs(x) > 0.62) & (np.abs(y) < 0.45)
    plate = ends & (np.abs(x) < 0.28) & (np.abs(y - 0.4) < 0.18)
    front = p.own[2] > 0
    hue = np.stack([np.ones_like(x), np.where(front, 0.95, 0.04), np.where(front, 0.85, 0.04)]).astype(np.float32)
    return np.where(plate, np.float32(1.6), factor), 0.0, lamp * hue * np.where(front, 0.5, 0.35)


def _glass(p: _Patch) -> _Texture:
    """A cabin or a bus: panes between pillars under a painted roof."""
    y = p.own[1] / p.half[1]
    along = np.where(p.face == 0, p.own[2] / p.half[2], p.own[0] / p.half[0])
    tall = p.half[1] > 0.8
    pillar = np.where(tall, np.mod(p.u, 1.4) < 0.14, np.abs(np.abs(along) - 0.5) > 0.42)
    band = np.where(tall, (y > -0.8) & (y < -0.02), y > -0.75)
    pane = band & ~pillar & (p.face != 1)
    return np.where(pane, np.float32(0.12), np.float32(1.0)), 0.5 * pane, None


_TEXTURES = {
    Material.ROAD: _road,
    Material.PAVING: _paving,
    Material.FACADE: _facade,
    Material.LEAVES: _leaves,
    Material.GRASS: _grass,
    Material.BARK: _bark,
    Material.SIGN: _sign,
    Material.CLOTH: _cloth,
    Material.PAINT: _paint,
    Material.GLASS: _glass,
}
