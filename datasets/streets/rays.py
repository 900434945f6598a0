"""Ray casting by a pinhole camera: which surface each pixel sees, how far it is, how it is turned, what shades it.

Camera coordinates: x right, y down, z forward along the optical axis, in metres. The ray of a pixel has camera-z 1, so the
ray parameter *is* the z-depth. All pixels and solids are treated at once, as pairs of a solid and a pixel of its window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .._shared.arrays import Array
from .solids import Kind, Solids, interval

NEAR = 0.1
"""Nothing nearer than this z-depth (m) is seen."""
FAR = 150.0
"""Nothing beyond this z-depth (m) is seen: those pixels are sky."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: world position of the pinhole (m), [3].
        rotation: world to camera, [3, 3]: `camera = rotation @ (world - position)`.
        focal: focal length in pixels, the same along both axes.
        height, width: image size; the principal point is its centre, pixel (i, j) has its centre at (j + ½, i + ½).
    """

    position: Array
    rotation: Array
    focal: float
    height: int
    width: int

    @classmethod
    def look(cls, position: Array, yaw: float, pitch: float, roll: float, fov: float, size: tuple[int, int]) -> Camera:
        """A camera turned right by `yaw`, down by `pitch`, clockwise by `roll` (rad), with horizontal view `fov`."""
        cy, sy, cp, sp, cr, sr = *_cs(yaw), *_cs(pitch), *_cs(roll)
        turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        tilt = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        spin = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        height, width = size
        return cls(np.asarray(position, float), spin @ tilt @ turn, width / 2 / np.tan(fov / 2), height, width)

    @property
    def intrinsics(self) -> Array:
        """K [3, 3] with `K @ camera / z = (u, v, 1)`, u and v in pixels from the image's top left corner."""
        f = self.focal
        return np.array([[f, 0, self.width / 2], [0, f, self.height / 2], [0, 0, 1]])

    @cached_property
    def rays(self) -> Array:
        """World directions of all pixels, float32 [3, H, W], scaled to camera-z 1."""
        u = (np.arange(self.width) + 0.5 - self.width / 2) / self.focal
        v = (np.arange(self.height) + 0.5 - self.height / 2) / self.focal
        right, down, forward = self.rotation
        rays = right[:, None, None] * u + down[:, None, None] * v[:, None] + forward[:, None, None]
        rays[rays == 0] = 1e-12  # slabs divide by the components
        return rays.astype(np.float32)


def _cs(angle: float) -> tuple[float, float]:
    return float(np.cos(angle)), float(np.sin(angle))


@dataclass
class Hits:
    """What the pixels see, flat over the P = H · W pixels.

    Attributes:
        depth: float32 [P], z-depth (m), infinite where nothing is hit.
        solid: int [P], row in the solids, -1 where nothing is hit.
        point: float32 [3, P], world position of the hit.
        own: float32 [3, P], the same in the solid's own axes (m from its centre).
        normal: float32 [3, P], unit outward normal in world axes; zero where nothing is hit.
        face: int [P], axis (0, 1, 2) of the solid that the normal is nearest to.
    """

    depth: Array
    solid: Array
    point: Array
    own: Array
    normal: Array
    face: Array


_EDGES = np.array([(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit])
"""The 12 edges of a box by its corners' numbers."""


def windows(solids: Solids, camera: Camera) -> Array:
    """Pixel rectangles that hold each solid, int [N, 4]: top, bottom, left, right, end-exclusive; empty if out of sight."""
    seen = (solids.corners() - camera.position) @ camera.rotation.T
    # What is left of a box in front of the near plane is spanned by the corners there and the cuts of its edges.
    begin, end = seen[:, _EDGES[:, 0]], seen[:, _EDGES[:, 1]]
    rise = end[..., 2] - begin[..., 2]
    cut = (NEAR - begin[..., 2]) / np.where(rise == 0, np.inf, rise)
    cuts = begin + cut[..., None] * (end - begin)
    usable = np.concatenate([seen[..., 2] >= NEAR, (cut > 0) & (cut < 1)], 1)
    points = np.concatenate([seen, cuts], 1)
    z = np.where(usable, points[..., 2], 1)
    u = points[..., 0] / z * camera.focal + camera.width / 2
    v = points[..., 1] / z * camera.focal + camera.height / 2
    low = [np.floor(np.where(usable, x, np.inf).min(1)) for x in (v, u)]
    high = [np.ceil(np.where(usable, x, -np.inf).max(1)) for x in (v, u)]
    limit = camera.height, camera.width
    sides = [side.clip(0, most) for *pair, most in zip(low, high, limit, strict=True) for side in pair]
    bounds = np.stack(sides, 1).astype(np.int32)
    far = np.where(usable, points[..., 2], np.inf).min(1) > FAR
    bounds[far | (bounds[:, 0] >= bounds[:, 1]) | (bounds[:, 2] >= bounds[:, 3])] = 0
    return bounds


def _pairs(bounds: Array, width: int) -> tuple[Array, Array]:
    """Every (solid, flat pixel) with the pixel in the solid's window, ordered by solid."""
    wide = bounds[:, 3] - bounds[:, 2]
    count = (bounds[:, 1] - bounds[:, 0]) * wide
    row = np.repeat(np.arange(len(bounds)), count)
    start = np.cumsum(count) - count
    within = np.arange(len(row), dtype=np.int32) - start.astype(np.int32).take(row)
    wide = wide.take(row)
    down = within // wide
    return row, (bounds[:, 0].take(row) + down) * width + bounds[:, 2].take(row) + within - down * wide


def cast(solids: Solids, camera: Camera) -> Hits:
    """The nearest hit of every pixel's ray between `NEAR` and `FAR`, exact: no tessellation, no depth quantisation."""
    rays = camera.rays.reshape(3, -1)
    depth = np.full(rays.shape[1], FAR, np.float32)
    solid = np.full(rays.shape[1], -1, np.int32)
    bounds = windows(solids, camera)
    cos, sin = np.cos(solids.yaw), np.sin(solids.yaw)
    x, y, z = (camera.position - solids.centre).T
    origin = np.stack([cos * x - sin * z, y, sin * x + cos * z]).astype(np.float32)
    half, cos, sin = solids.half.T.astype(np.float32), cos.astype(np.float32), sin.astype(np.float32)
    pairs = []
    for kind in Kind:
        row, pixel = _pairs(np.where((solids.kind == kind)[:, None], bounds, 0), camera.width)
        dx, dy, dz = rays.take(pixel, 1)  # `take` along an axis is several times faster than indexing
        c, s = cos.take(row), sin.take(row)
        entry, leave = interval(kind, half.take(row, 1), origin.take(row, 1), (c * dx - s * dz, dy, s * dx + c * dz))
        hit = np.flatnonzero((entry < leave) & (entry > NEAR) & (entry < FAR))
        pairs.append((row[hit], pixel[hit], entry[hit]))
    row, pixel, entry = (np.concatenate(part) for part in zip(*pairs, strict=True))
    np.minimum.at(depth, pixel, entry)
    first = entry == depth[pixel]
    solid[pixel[first]] = row[first]
    return _surface(solids, camera, rays, depth, solid)


def _surface(solids: Solids, camera: Camera, rays: Array, depth: Array, solid: Array) -> Hits:
    """Positions and normals of the hits, from their depths."""
    depth = np.where(solid >= 0, depth, np.float32(np.inf))
    row = solid.astype(np.intp)  # -1 reads the last solid and is blanked at the end
    reach = np.where(solid >= 0, depth, np.float32(0))
    cos, sin = (x.astype(np.float32).take(row) for x in (np.cos(solids.yaw), np.sin(solids.yaw)))
    centre, half = solids.centre.T.astype(np.float32), solids.half.T.astype(np.float32)
    point = camera.position.astype(np.float32)[:, None] + reach * rays
    off = point - centre.take(row, 1)
    own = np.stack([cos * off[0] - sin * off[2], off[1], sin * off[0] + cos * off[2]])
    heading = np.stack([cos * rays[0] - sin * rays[2], rays[1], sin * rays[0] + cos * rays[2]])
    inverse = (1 / half).take(row, 1)
    unit = own * inverse
    # A box is entered through the face, among the three that look at the camera, on whose plane the hit lies.
    face = np.argmax(-np.sign(heading) * unit, axis=0)
    kind = solids.kind[row]
    normal = unit * inverse  # the gradient of an ellipsoid
    side = (kind == Kind.CYLINDER) & (np.hypot(unit[0], unit[2]) >= np.abs(unit[1]))
    normal[1] *= ~side
    cap = (kind == Kind.CYLINDER) & ~side
    flat = (kind == Kind.BOX) | cap
    face[cap] = 1
    for axis in range(3):
        np.copyto(normal[axis], np.where(face == axis, -np.sign(heading[axis]), 0), where=flat)
    normal /= np.sqrt((normal * normal).sum(0))
    normal[0], normal[2] = cos * normal[0] + sin * normal[2], cos * normal[2] - sin * normal[0]
    normal = np.where(solid < 0, np.float32(0), normal)
    return Hits(depth, solid, point, own, normal, face)


def shadow(solids: Solids, hits: Hits, towards: Array, reach: float = 60.0) -> Array:
    """Which hits are cut off from a distant light by some solid, bool [P]; exact.

    Args:
        towards: unit world vector to the light; must point upwards (y < 0).
        reach: hits further than this z-depth (m) are left lit: their shadows are smaller than pixels.
    """
    dark = np.zeros(hits.depth.shape, bool)
    facing = towards.astype(np.float32) @ hits.normal
    pixels = np.flatnonzero((facing > 0) & (hits.depth < reach))
    if not len(pixels):
        return dark
    # Start a little off the surface, so that it does not shade itself.
    start = hits.point.take(pixels, 1) + np.float32(0.01) * hits.normal.take(pixels, 1)
    # A light ray's points all meet the ground at one place: only those in a solid's outline there can be in its shadow.
    slope = towards[[0, 2]] / towards[1]
    across, along = (start[axis] - np.float32(k) * start[1] for axis, k in zip((0, 2), slope, strict=True))
    corners = solids.corners()
    foot = corners[..., [0, 2]] - slope * corners[..., 1:2]
    low, high = foot.min(1), foot.max(1)
    area = np.array([(across.min(), along.min()), (across.max(), along.max())])
    cast_by = np.flatnonzero(((low < area[1]) & (high > area[0])).all(1))
    low, high = low[cast_by].astype(np.float32)[..., None], high[cast_by].astype(np.float32)[..., None]
    inside = (across > low[:, 0]) & (across < high[:, 0]) & (along > low[:, 1]) & (along < high[:, 1])
    flat = np.flatnonzero(inside)
    row, spot = cast_by[flat // len(pixels)], flat % len(pixels)
    cos, sin = np.cos(solids.yaw), np.sin(solids.yaw)
    light = np.stack([cos * towards[0] - sin * towards[2], towards[1] + 0 * cos, sin * towards[0] + cos * towards[2]])
    light[light == 0] = 1e-12
    centre, half, light = (a.astype(np.float32) for a in (solids.centre.T, solids.half.T, light))
    cos, sin = cos.astype(np.float32), sin.astype(np.float32)
    caught = np.zeros(len(pixels), bool)
    for kind in Kind:
        part = np.flatnonzero(solids.kind[row] == kind)
        solid, pixel = row[part], spot[part]
        x, y, z = start.take(pixel, 1) - centre.take(solid, 1)
        c, s = cos.take(solid), sin.take(solid)
        entry, leave = interval(kind, half.take(solid, 1), (c * x - s * z, y, s * x + c * z), light.take(solid, 1))
        caught[pixel[(entry < leave) & (leave > 0)]] = True
    dark[pixels[caught]] = True
    return dark
