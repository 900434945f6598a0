"""Weather and light: snow, frost, fog, brightness.

Every function takes uint8 [N, C, H, W], a severity 1 … 5 and the images' random numbers, and returns uint8 [N, C, H, W].
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlbench.measure.corruptions.blur import middle
from mtlbench.measure.corruptions.draws import Draws
from mtlbench.measure.corruptions.filters import correlate_taps, motion_taps, to_uint8
from mtlbench.measure.corruptions.ice import Textures, crops

SNOW = (
    (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
"""Mean and σ of the flakes, their size, the threshold below which there is none, radius and σ of their streaks, and the
weight of the image against its whitened self."""
FROST_IMAGE_ICE = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
FOG_STRENGTH_DECAY = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)


def grey(x: Tensor) -> Tensor:
    """Luma (ITU-R BT.601) of float [N, C, H, W], as [N, 1, H, W]; a grey image is its own."""
    if x.shape[1] == 1:
        return x
    return (x[:, :1] * 0.299).add_(x[:, 1:2], alpha=0.587).add_(x[:, 2:], alpha=0.114)


def snow(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Whitening, and streaks of flakes that fall from two opposite directions."""
    mean, sigma, size, threshold, radius, streak, keep = SNOW[severity - 1]
    height, width = images.shape[-2:]
    # Only the flakes that the enlargement shows are drawn.
    seeds = draws.normal(1, middle(height, size)[1], middle(width, size)[1]).mul_(sigma).add_(mean)
    flakes = F.interpolate(
        seeds, size=(middle(height, size)[2], middle(width, size)[2]), mode="bilinear", align_corners=True
    )
    flakes = F.threshold(flakes, threshold, 0.0).clamp_(0, 1)
    angles = draws.scalar(-135, -45)
    layer = torch.stack([correlate_taps(f, motion_taps(radius, streak, a)) for f, a in zip(flakes, angles, strict=True)])
    layer = layer[..., :height, :width].mul(255).round_()

    x = images.float()
    whitened = torch.maximum(x, grey(x).mul(1.5).add_(127.5))
    out = x.mul_(keep).add_(whitened, alpha=1 - keep)
    return to_uint8(out.add_(layer + layer.flip(-2, -1)))


def frost(images: Tensor, severity: int, draws: Draws, textures: Textures) -> Tensor:
    """A crop of an ice texture laid over the image."""
    keep, strength = FROST_IMAGE_ICE[severity - 1]
    ice = crops(textures, images, draws)
    return to_uint8(images.float().mul_(keep).add_(ice, alpha=strength))


def fog(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Haze in the form of a plasma fractal, rescaled so that the brightest value of the image stays what it was."""
    strength, decay = FOG_STRENGTH_DECAY[severity - 1]
    height, width = images.shape[-2:]
    haze = plasma(draws, 1 << (max(height, width) - 1).bit_length(), decay)[:, None, :height, :width]
    brightest = images.amax((1, 2, 3)).view(-1, 1, 1, 1).float()
    scale = brightest / (brightest + 255 * strength)
    return to_uint8((haze * (255 * strength) + images).mul_(scale))


def plasma(draws: Draws, side: int, decay: float) -> Tensor:
    """A square height map in [0, 1] by the diamond-square algorithm on a torus, float [N, side, side].

    `side` is a power of two. Each round halves the spacing of the grid and divides the noise's amplitude by decay².
    """
    corners = torch.zeros(len(draws), 1, 1, dtype=torch.float32, device=draws.device)
    noises = draws.uniform(side * side - 1)  # drawn together: the first rounds are too small to draw for
    used = 0
    amplitude = 100.0
    while (cells := corners.shape[-1]) < side:
        values = 3 * cells * cells
        noise = noises[:, used : used + values].view(-1, 3, cells, cells).mul(amplitude**2).unbind(1)
        used += values
        below_sum = corners + corners.roll(-1, 1)
        across_sum = corners + corners.roll(-1, 2)
        centres = (below_sum + below_sum.roll(-1, 2)).mul_(0.25).add_(noise[0])
        top_edges = (across_sum + centres + centres.roll(1, 1)).mul_(0.25).add_(noise[1])
        left_edges = (below_sum + centres + centres.roll(1, 2)).mul_(0.25).add_(noise[2])
        finer = corners.new_empty(len(draws), cells, 2, cells, 2)
        finer[:, :, 0, :, 0], finer[:, :, 0, :, 1] = corners, top_edges
        finer[:, :, 1, :, 0], finer[:, :, 1, :, 1] = left_edges, centres
        corners = finer.view(len(draws), 2 * cells, 2 * cells)
        amplitude /= decay
    low, high = corners.amin((1, 2), keepdim=True), corners.amax((1, 2), keepdim=True)
    return corners.sub_(low).div_(high - low)


def brightness(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """A constant added to the value of HSV, clipped. Hue and saturation stay, so the channels are scaled together."""
    x = images.float()
    value = x.amax(1, keepdim=True)
    brighter = (value + 255 * BRIGHTNESS[severity - 1]).clamp_(max=255)
    # Black has no hue to scale: it becomes grey, like a pixel whose channels are all one.
    scale = brighter / value.clamp(min=1)
    return to_uint8(torch.where(value > 0, x * scale, brighter))
