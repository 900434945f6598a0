"""Corruptions of processing: contrast, elastic transform, pixelation, JPEG, saturation.

Every function takes uint8 [N, C, H, W], a severity 1 … 5 and the images' random numbers, and returns uint8 [N, C, H, W].
"""

import io
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtlbench.measure.corruptions.draws import Draws
from mtlbench.measure.corruptions.filters import gaussian, to_uint8

CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
ELASTIC_STRENGTH = (12.5, 16.25, 21.25, 25.0, 30.0)
PIXELATE_SCALE = (0.6, 0.5, 0.4, 0.3, 0.25)
JPEG_QUALITY = (25, 18, 15, 10, 7)
SATURATE_FACTOR_OFFSET = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))


def contrast(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Distances from each channel's mean, shrunk. The mean is of integers, so it is exact on every device."""
    factor = CONTRAST[severity - 1]
    pixels = images.shape[-2] * images.shape[-1]
    mean = images.sum((-2, -1), keepdim=True, dtype=torch.int64).float() / pixels
    return to_uint8(images.float().mul_(factor).add_(mean * (1 - factor)))


def elastic_transform(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Pixels moved by smoothed uniform noise (σ = 1 % of the sides), read bilinearly."""
    height, width = images.shape[-2:]
    # Both displacements are scaled with the height: that is how the reference does it.
    reach = 0.005 * height * ELASTIC_STRENGTH[severity - 1]
    noise = draws.uniform(2, height, width).mul_(reach)
    shift = gaussian(noise, (0.01 * height, 0.01 * width), mode="symmetric", truncate=3)
    rows, columns = _pixel_centres(height, images.device), _pixel_centres(width, images.device)
    where = torch.stack([shift[:, 0] / (width / 2) + columns, shift[:, 1] / (height / 2) + rows[:, None]], dim=-1)
    moved = F.grid_sample(images.float(), where, mode="bilinear", padding_mode="reflection", align_corners=False)
    return to_uint8(moved)


def _pixel_centres(side: int, device: torch.device) -> Tensor:
    """Where pixels lie on grid_sample's scale from -1 (left border) to 1 (right border)."""
    return (torch.arange(side, dtype=torch.float32, device=device) * 2 + 1) / side - 1


def pixelate(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Shrink by averaging whole pixels (Pillow's BOX), enlarge by repeating them (Pillow's NEAREST)."""
    scale = PIXELATE_SCALE[severity - 1]
    height, width = images.shape[-2:]
    small = _shrink(images.transpose(-2, -1), int(width * scale)).transpose(-2, -1)  # Pillow goes along the rows first
    small = _shrink(small, int(height * scale))
    rows, columns = (_repeats(s, int(s * scale), images.device) for s in (height, width))
    return small.index_select(-1, columns).index_select(-2, rows).to(torch.uint8)


def _shrink(x: Tensor, size: int) -> Tensor:
    """Average the rows of [N, C, H, W] in `size` groups and round; int16."""
    first, length, longest = _groups(x.shape[-2], size, x.device)
    total = x.index_select(-2, first).to(torch.float32)
    for i in range(1, longest):
        # A group that is shorter than the longest takes its own first row again, with weight 0.
        inside = (length > i).float()
        total.add_(x.index_select(-2, first + i * (length > i)) * inside[:, None])
    return total.div_(length[:, None]).add_(0.5).to(torch.int16)


@lru_cache(maxsize=64)
def _groups(side: int, size: int, device: torch.device) -> tuple[Tensor, Tensor, int]:
    """First pixel and number of pixels of each group: those whose centres lie within the box of side / size pixels."""
    step = side / size
    centres = (np.arange(size) + 0.5) * step
    first = np.maximum((centres - step / 2 + 0.5).astype(int), 0)
    last = np.minimum((centres + step / 2 + 0.5).astype(int), side)
    length = last - first
    return torch.from_numpy(first).to(device), torch.from_numpy(length).to(device), int(length.max())


@lru_cache(maxsize=64)
def _repeats(side: int, size: int, device: torch.device) -> Tensor:
    """Which small pixel each large pixel shows. Summed step by step: where centres meet borders, Pillow rounds so."""
    steps = np.full(side, size / side)
    steps[0] /= 2
    return torch.from_numpy(np.cumsum(steps).astype(int)).to(device)


def jpeg_compression(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Encoded and decoded on the CPU, whatever the device: codecs of other devices give other pixels."""
    quality = JPEG_QUALITY[severity - 1]
    return torch.stack([_through_jpeg(image, quality) for image in images.cpu()]).to(images.device)


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    try:
        from torchvision.io import decode_jpeg, encode_jpeg

        decoded: Tensor = decode_jpeg(encode_jpeg(image, quality=quality))
        return decoded
    except (ImportError, RuntimeError):  # torchvision may come without its image extension
        from PIL import Image

        channels_last = image.permute(1, 2, 0).numpy()
        buffer = io.BytesIO()
        Image.fromarray(channels_last.squeeze(-1) if len(image) == 1 else channels_last).save(
            buffer, "JPEG", quality=quality
        )
        pixels = np.atleast_3d(np.array(Image.open(buffer)))
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def saturate(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """The saturation of HSV scaled and shifted, clipped. A grey image has no saturation and stays as it is."""
    if images.shape[1] == 1:
        return images.clone()
    factor, offset = SATURATE_FACTOR_OFFSET[severity - 1]
    x = images.float()
    value = x.amax(1, keepdim=True)
    chroma = value - x.amin(1, keepdim=True)
    saturation = chroma / value.clamp(min=1)
    wanted = (saturation * factor + offset).clamp_(0, 1)
    # Each channel's distance from the value is proportional to the saturation.
    out = value - (value - x) * (wanted / saturation.clamp(min=1e-6))
    # Grey has hue 0, which is red: the reference tints it.
    red = torch.cat([value, value * (1 - wanted), value * (1 - wanted)], 1)
    return to_uint8(torch.where(chroma > 0, out, red))
