"""Noise of the sensor: Gaussian, shot (Poisson), impulse (salt and pepper), speckle (multiplicative).

Every function takes uint8 [N, C, H, W], a severity 1 … 5 and the images' random numbers, and returns uint8 [N, C, H, W].
"""

from functools import lru_cache

import torch
from torch import Tensor

from mtlbench.measure.corruptions.draws import Draws, look_up
from mtlbench.measure.corruptions.filters import to_uint8

GAUSSIAN_SIGMA = (0.08, 0.12, 0.18, 0.26, 0.38)
SHOT_RATE = (60, 25, 12, 5, 3)
IMPULSE_FRACTION = (0.03, 0.06, 0.09, 0.17, 0.27)
SPECKLE_SIGMA = (0.15, 0.2, 0.35, 0.45, 0.6)

_SHOT_QUANTILES = 4096
"""Slices of the Poisson distribution: its mean is off by less than 0.01 grey levels, and the table stays in the cache."""


def gaussian_noise(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """x + σ z for images in [0, 1]."""
    noise = draws.normal(*images.shape[1:])
    return to_uint8(noise.mul_(255 * GAUSSIAN_SIGMA[severity - 1]).add_(images))


def speckle_noise(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """x + x σ z: bright pixels are noisier."""
    noise = draws.normal(*images.shape[1:])
    return to_uint8(noise.mul_(SPECKLE_SIGMA[severity - 1]).add_(1).mul_(images))


def shot_noise(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Poisson(rate x) / rate: photons counted. Inverse transform by table, one row of quantiles per grey level."""
    index = draws.indices(*images.shape[1:])
    quantile = index.bitwise_right_shift_(4)
    return look_up(_shot_table(SHOT_RATE[severity - 1], images.device), quantile.add_(images, alpha=_SHOT_QUANTILES))


@lru_cache(maxsize=16)
def _shot_table(rate: int, device: torch.device) -> Tensor:
    """uint8 [256 · 4096]: the grey level that each quantile of each level's Poisson distribution turns into."""
    expected = torch.arange(256, dtype=torch.float64)[:, None] * (rate / 255)
    counts = torch.arange(2 * rate + 40, dtype=torch.float64)
    log_probability = torch.xlogy(counts, expected) - expected - torch.lgamma(counts + 1)
    cumulative = log_probability.exp().cumsum(1)
    quantiles = (torch.arange(_SHOT_QUANTILES, dtype=torch.float64) + 0.5) / _SHOT_QUANTILES
    photons = torch.searchsorted(cumulative, quantiles.expand(256, -1).contiguous())
    levels = (photons / rate).clamp(max=1).mul(255)
    return levels.to(torch.uint8).flatten().to(device)


def impulse_noise(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """A fraction of the values, drawn per channel, becomes black or white with equal chances."""
    table = _impulse_table(IMPULSE_FRACTION[severity - 1], images.device)
    # Adding ±256 and clipping is ten times faster than a masked assignment.
    change = look_up(table, draws.indices(*images.shape[1:]))
    return change.add_(images).clamp_(0, 255).to(torch.uint8)


@lru_cache(maxsize=16)
def _impulse_table(fraction: float, device: torch.device) -> Tensor:
    table = torch.zeros(65536, dtype=torch.int16)
    half, whole = round(65536 * fraction / 2), round(65536 * fraction)
    table[:half], table[half:whole] = -256, 256
    return table.to(device)
