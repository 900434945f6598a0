"""Blur of the lens and of motion: defocus, glass, motion, zoom, Gaussian.

Every function takes uint8 [N, C, H, W], a severity 1 … 5 and the images' random numbers, and returns uint8 [N, C, H, W].
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlbench.measure.corruptions.draws import Draws, look_up
from mtlbench.measure.corruptions.filters import (
    correlate_symmetric,
    correlate_taps,
    gaussian,
    motion_taps,
    to_uint8,
)

GAUSSIAN_SIGMA = (1, 2, 3, 4, 6)
DEFOCUS_RADIUS_ALIAS = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
GLASS_SIGMA_SHIFT_ITERATIONS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
MOTION_RADIUS_SIGMA = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
ZOOM_COUNT_STEP = ((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03))
"""How many zooms, from 1 upwards, and the step between them. (Rounding gives the reference's first one a twelfth, 1.11.)"""


def gaussian_blur(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """A Gaussian cut at 4 σ."""
    return to_uint8(gaussian(images.float(), GAUSSIAN_SIGMA[severity - 1]))


def defocus_blur(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """A disc, its rim softened."""
    return to_uint8(correlate_symmetric(images.float(), _disc(*DEFOCUS_RADIUS_ALIAS[severity - 1])))


@lru_cache(maxsize=8)
def _disc(radius: int, alias_sigma: float) -> list[list[float]]:
    """The lower right quadrant of the softened disc.

    The disc touches the border of the square that it is softened in, where the softening reflects: its weights then sum to
    slightly more or less than one. Published numbers contain that, so we keep it.
    """
    reach, soft = (8, 1) if radius <= 8 else (radius, 2)
    inside = [[float(i * i + j * j <= radius * radius) for j in range(-reach, reach + 1)] for i in range(-reach, reach + 1)]
    disc = torch.tensor(inside, dtype=torch.float64)
    disc /= disc.sum()
    weights = torch.tensor([math.exp(-(i * i) / (2 * alias_sigma**2)) for i in range(-soft, soft + 1)], dtype=torch.float64)
    weights /= weights.sum()
    padded = F.pad(disc[None, None], (soft,) * 4, mode="reflect")
    softened = F.conv2d(padded, weights.outer(weights)[None, None])[0, 0]
    quadrant: list[list[float]] = softened[reach:, reach:].tolist()
    return quadrant


def motion_blur(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """A one-sided streak at a random angle within 45° of the horizontal. Streaks longer than the image see its border."""
    radius, sigma = MOTION_RADIUS_SIGMA[severity - 1]
    x = images.float()
    blurred = [
        correlate_taps(image, motion_taps(radius, sigma, angle))
        for image, angle in zip(x, draws.scalar(-45, 45), strict=True)
    ]
    return to_uint8(torch.stack(blurred))


def zoom_blur(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """The mean of the image and of enlargements of its centre."""
    count, step = ZOOM_COUNT_STEP[severity - 1]
    height, width = images.shape[-2:]
    x = images.contiguous(memory_format=torch.channels_last)
    total = x.to(torch.int16).mul_(2)  # the image itself, and its first "enlargement" by 1
    step = (1 + step) - 1  # rounded like the reference's: a zoom's last bit decides how many pixels it shows
    for i in range(1, count):
        layer = enlarge_centre(x, 1 + i * step)
        if _loses_last(height, 1 + i * step):
            layer[..., -1, :] = 0
        if _loses_last(width, 1 + i * step):
            layer[..., -1] = 0
        layer = layer[..., :height, :width]
        total[..., : layer.shape[-2], : layer.shape[-1]] += layer
    return to_uint8(total.float().div_(count + 1)).contiguous()


def enlarge_centre(x: Tensor, zoom: float) -> Tensor:
    """Enlarge the middle part of [N, C, H, W] bilinearly to at least H × W (a rounded pixel more, at times).

    uint8 in, uint8 out: on the CPU that is a fixed-point routine, three to five times faster than float; other devices have
    none, and round the float result.
    """
    (top, rows, new_height), (left, columns, new_width) = (middle(side, zoom) for side in x.shape[-2:])
    centre = x[..., top : top + rows, left : left + columns]
    fixed_point = x.dtype == torch.uint8 and x.device.type == "cpu"
    source = centre if fixed_point else centre.float()
    enlarged = F.interpolate(source, size=(new_height, new_width), mode="bilinear", align_corners=True)
    return enlarged.round_().to(torch.uint8) if x.dtype == torch.uint8 and not fixed_point else enlarged


def middle(side: int, zoom: float) -> tuple[int, int, int]:
    """Where the middle part starts, how long it is, and how long it becomes."""
    length = math.ceil(side / zoom)
    return (side - length) // 2, length, round(length * zoom)


def _loses_last(side: int, zoom: float) -> bool:
    """Whether SciPy's zoom, which the reference calls, rounds the last pixel's position out of the image and makes it black.

    It darkens the border of the published corruption by up to 11 grey levels at some sizes, so we keep it.
    """
    _, length, enlarged = middle(side, zoom)
    return (length - 1) / (enlarged - 1) * (enlarged - 1) > length - 1


def glass_blur(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Blur, replace every pixel by a random neighbour, blur."""
    sigma, shift, iterations = GLASS_SIGMA_SHIFT_ITERATIONS[severity - 1]
    count, channels, height, width = images.shape
    blurred = gaussian(images.float(), sigma).floor_()
    source = glass_sources(draws, height, width, shift)
    for _ in range(iterations - 1):
        source = source.gather(1, glass_sources(draws, height, width, shift))
    scattered = blurred.view(count, channels, -1).gather(2, source[:, None].expand(-1, channels, -1))
    return to_uint8(gaussian(scattered.view_as(images), sigma))


def glass_sources(draws: Draws, height: int, width: int, shift: int) -> Tensor:
    """Which pixel ends up where after one round of scattering: int64 [N, H · W].

    The reference walks from the bottom right to the top left and copies to each pixel a random neighbour (rows and columns
    -shift … shift - 1 away). A neighbour that comes later still holds its own value; one that came earlier holds what was
    copied to it. Following such a chain is following pointers, and pointers of all pixels can be followed at once, twice
    as far in every round. Chains die out fast (a neighbour came earlier with a chance of at most 0.42), so 32 steps are
    plenty.
    """
    size, count = height * width, len(draws)
    drawn = draws.bits(2 * size).to(torch.int32).mul_(2 * shift).bitwise_right_shift_(16)
    offset = drawn[:, :size].mul(width).add_(drawn[:, size:]).view(-1, height, width)
    inside = (slice(None), slice(shift + 1, height - shift + 1), slice(shift + 1, width - shift + 1))

    # Each image has `size` nodes for the pixels after the walk, then `size` for those before it, which point to themselves.
    nodes = torch.arange(2 * size * count, dtype=torch.int32, device=draws.device)
    pointer = nodes.view(count, 2, size)
    before = pointer[:, 1].clone()
    after = pointer[:, 0]
    after += size
    after.view(-1, height, width)[inside] += offset[inside]
    if shift > 1:  # with a shift of 1 no neighbour came earlier
        after.view(-1, height, width)[inside] -= offset[inside].clamp_(0, 1).mul_(size)
        for _ in range(5):
            after.copy_(look_up(nodes, after))
    return (after - before[:, :1]).long()
