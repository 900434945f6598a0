"""Spatter (an extra corruption): drops of water, or of mud, on the lens."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlbench.measure.corruptions.draws import Draws
from mtlbench.measure.corruptions.filters import box, correlate_taps, gaussian, to_uint8

SPATTER = (
    (0.65, 0.3, 4, 0.69, 0.6, False),
    (0.65, 0.3, 3, 0.68, 0.6, False),
    (0.65, 0.3, 2, 0.68, 0.5, False),
    (0.65, 0.3, 1, 0.65, 1.5, True),
    (0.67, 0.4, 1, 0.65, 1.5, True),
)
"""Mean and σ of the noise, the σ it is smoothed with, the threshold above which there is liquid, its strength (water) or
the σ of its rim (mud), and whether it is mud."""
WATER = (175.0, 238.0, 238.0)
MUD = (63.0, 42.0, 20.0)
_EMBOSS = ((-1, -1, -2.0), (-1, 0, -1.0), (0, -1, -1.0), (0, 0, 1.0), (0, 1, 1.0), (1, 0, 1.0), (1, 1, 2.0))
_SMOOTH_DOWN = ((-1, 0, 1.0), (0, 0, 2.0), (1, 0, 1.0))
_SMOOTH_ACROSS = ((0, -1, 1.0), (0, 0, 2.0), (0, 1, 1.0))
_SLOPE_DOWN = ((-1, 0, 1.0), (1, 0, -1.0))
_SLOPE_ACROSS = ((0, -1, 1.0), (0, 1, -1.0))
_TAN_22, _TAN_67 = 0.41421, 2.41421
_STEEP = 150
_FAR = 20
"""Pixels beyond which the distance to a drop's border counts no more."""


def spatter(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Smoothed noise above a threshold is liquid: water brightens with a bevelled rim, mud covers."""
    mean, sigma, smooth, threshold, strength, mud = SPATTER[severity - 1]
    noise = draws.normal(1, *images.shape[-2:]).mul_(sigma).add_(mean)
    liquid = gaussian(noise, float(smooth))
    liquid = liquid * (liquid >= threshold)
    colour = torch.tensor(MUD if mud else WATER, dtype=torch.float32, device=images.device)
    if images.shape[1] == 1:
        colour = (colour * torch.tensor([0.2989, 0.587, 0.114], dtype=torch.float32, device=images.device)).sum(
            0, keepdim=True
        )
    colour = colour[:, None, None]
    if mud:
        cover = gaussian((liquid > threshold).float(), strength)
        cover = cover * (cover >= 0.8)
        return to_uint8(images * (1 - cover) + colour * cover)
    drops = (liquid * 255).floor_()
    shine = drops * _bevel(drops)
    shine = shine / shine.amax((1, 2, 3), keepdim=True).clamp_(min=1) * strength
    return to_uint8(images + shine * colour)


def _bevel(drops: Tensor) -> Tensor:
    """Relief of the drops, lit from the top left, float [N, 1, H, W] in 0 … 255: the embossed distance to their borders."""
    distance = box(_distance_to(_borders(drops)), 1).floor_()
    relief = correlate_taps(_equalised(distance), _EMBOSS).clamp_(0, 255)
    return box(relief, 1)


def _borders(drops: Tensor) -> Tensor:
    """The contours of the drops as bool: where the gradient is steep and a maximum along its own direction (Canny's rule).

    Of equal neighbours the left and the upper one count. Hysteresis is left out: contours of drops are steep everywhere.
    """
    smoothed_down, smoothed_across = (
        correlate_taps(drops, _SMOOTH_DOWN),
        correlate_taps(drops, _SMOOTH_ACROSS),
    )
    across = correlate_taps(smoothed_down, _SLOPE_ACROSS)
    down = correlate_taps(smoothed_across, _SLOPE_DOWN)
    steepness = across.abs() + down.abs()
    around = F.pad(steepness, (1, 1, 1, 1))
    height, width = drops.shape[-2:]

    def at(row: int, column: int) -> Tensor:
        return around[..., 1 + row : 1 + row + height, 1 + column : 1 + column + width]

    horizontal = down.abs() < _TAN_22 * across.abs()
    vertical = down.abs() > _TAN_67 * across.abs()
    falling = across * down >= 0
    peak_horizontal = (steepness > at(0, -1)) & (steepness >= at(0, 1))
    peak_vertical = (steepness > at(-1, 0)) & (steepness >= at(1, 0))
    peak_falling = (steepness > at(-1, -1)) & (steepness > at(1, 1))
    peak_rising = (steepness > at(-1, 1)) & (steepness > at(1, -1))
    peak_diagonal = torch.where(falling, peak_falling, peak_rising)
    peak = torch.where(horizontal, peak_horizontal, torch.where(vertical, peak_vertical, peak_diagonal))
    return peak & (steepness > _STEEP)


def _distance_to(marked: Tensor) -> Tensor:
    """Euclidean distance to the nearest marked pixel, at most `_FAR`; exact, one axis after the other."""
    squared = torch.full(marked.shape, float(_FAR**2), dtype=torch.float32, device=marked.device).masked_fill_(marked, 0)
    for dim in (-2, -1):
        nearest, size = squared.clone(), squared.shape[dim]
        for step in range(1, min(_FAR, size)):
            for here, there in ((0, step), (step, 0)):
                target = nearest.narrow(dim, here, size - step)
                torch.minimum(target, squared.narrow(dim, there, size - step) + step**2, out=target)
        squared = nearest
    return squared.sqrt_()


def _equalised(levels: Tensor) -> Tensor:
    """Histogram equalisation of whole levels 0 … 20, per image: 0 … 255."""
    histogram = torch.stack([(levels == level).sum((1, 2, 3)) for level in range(_FAR + 1)], 1)
    cumulative = histogram.cumsum(1)
    first = torch.where(histogram > 0, cumulative, levels[0].numel()).amin(1, keepdim=True)
    table = ((cumulative - first).float() * 255 / (levels[0].numel() - first).clamp(min=1)).clamp_(min=0).round_()
    return table.gather(1, levels.long().flatten(1)).view_as(levels)
