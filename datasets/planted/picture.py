"""The pictures of `planted`: an elliptic patch before stripes, eight factors that vary independently."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]

FAMILIES = ("place", "texture", "colour", "shape")
"""Two factors each: where the patch is (x, y); the stripes' direction and width; the patch's colour on two opponent
axes; the patch's area and aspect."""

MARGIN = 0.25
"""The patch's centre keeps this share of the side away from the border."""
_DIRECTION = np.deg2rad((0.0, 135.0))  # less than a half turn, so that its ends look different
_PERIOD = (0.12, 0.3)  # of the side
_RADIUS = (0.1, 0.18)  # geometric mean of the half axes, of the side
_ASPECT = 2.0
_PIXEL_NOISE = 0.03


def draw(uniform: Array, side: int, rng: Generator) -> NDArray[np.uint8]:
    """One picture.

    Args:
        uniform: [4, 2], the factors of every family in (0, 1).
        side: height and width in pixels.
        rng: for what no task asks about: the stripes' phase and the pixels' noise.

    Returns:
        uint8 [side, side, 3].
    """
    place, texture, colour, shape = uniform
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    angle, period = _between(_DIRECTION, texture[0]), _between(_PERIOD, texture[1])
    wave = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period
    ground = 0.45 + 0.2 * np.sin(wave + rng.uniform(0, 2 * np.pi))
    centre = MARGIN + (1 - 2 * MARGIN) * place
    radius, aspect = _between(_RADIUS, shape[0]), _ASPECT ** (shape[1] - 0.5)
    distance = np.hypot((x - centre[0]) / (radius * aspect), (y - centre[1]) / (radius / aspect))
    # The edge is soft over one pixel, so that the place shows finer than whole pixels.
    cover = np.clip((1 - distance) * radius * side + 0.5, 0, 1)[..., None]
    red_green, blue_yellow = 2 * colour - 1
    tint = 0.5 + 0.4 * np.array([red_green + blue_yellow, blue_yellow - red_green, -blue_yellow]) / [2, 2, 1]
    picture = ground[..., None] * (1 - cover) + tint * cover + rng.normal(0, _PIXEL_NOISE, (side, side, 3))
    return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def _between(ends: tuple[float, float] | Array, share: float) -> float:
    return float(ends[0] + (ends[1] - ends[0]) * share)
