"""Ice for `frost`: textures that are generated, or photographs from a folder.

The original lays photographs of frosted windows over the image. Those are not ours to ship, so five textures are computed:
crystals with feathers inside, over clouds. Their mean levels, their contrast and their bluish tint follow the photographs'.
"""

import math
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlbench.errors import UserError
from mtlbench.measure.corruptions.draws import Draws, image_digests

Textures = tuple[Tensor, ...]
"""Each uint8 [3, H, W]."""

_SIDES = (400, 600)
_LEVEL_CONTRAST = ((114.0, 43.0), (130.0, 18.0), (158.0, 29.0), (205.0, 22.0), (205.0, 22.0))
"""Mean and standard deviation of each texture's grey levels."""
_TINT = ((-14.0, 2.0, 12.0), (-50.0, 18.0, 32.0), (-14.0, 2.0, 12.0), (-6.0, -1.0, 7.0), (-6.0, -1.0, 7.0))
"""Added to red, green, blue."""
_MARGIN = 1.1
"""Textures are enlarged until they are this much larger than the image."""


@lru_cache(maxsize=4)
def generated_textures(device: torch.device) -> Textures:
    """The five generated textures; the same everywhere, since their random numbers are."""
    return tuple(_generate(i).to(device) for i in range(len(_LEVEL_CONTRAST)))


@lru_cache(maxsize=4)
def load_textures(folder: str, device: torch.device) -> Textures:
    """Every PNG and JPEG of a folder, in the order of their names.

    Raises:
        UserError: the folder is missing or holds no such file.
    """
    from PIL import Image

    files = texture_files(folder)
    images = (Image.open(file).convert("RGB") for file in files)
    return tuple(
        torch.frombuffer(bytearray(i.tobytes()), dtype=torch.uint8)
        .view(i.height, i.width, 3)
        .permute(2, 0, 1)
        .contiguous()
        .to(device)
        for i in images
    )


def texture_files(folder: str | Path) -> list[Path]:
    """The texture files of a folder, in the order of their names."""
    if not Path(folder).is_dir():
        raise UserError(f"No folder of ice textures at {folder}. Give a folder with PNG or JPEG files, or none at all.")
    files = sorted(f for f in Path(folder).iterdir() if f.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not files:
        raise UserError(f"No PNG or JPEG files in {folder}. Give a folder with photographs of ice, or none at all.")
    return files


def texture_fingerprint(folder: str | Path) -> str:
    """A short digest of a folder's textures, for the protocol."""
    digest = blake2b(digest_size=6)
    for file in texture_files(folder):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def crops(textures: Textures, images: Tensor, draws: Draws) -> Tensor:
    """A random crop of a random texture for each image: float [N, C, H, W] in 0 … 255."""
    height, width = images.shape[-2:]
    which, above, beside = draws.scalar(0, len(textures)), draws.scalar(0, 1), draws.scalar(0, 1)
    cut = []
    for i, v, h in zip(which, above, beside, strict=True):
        texture = _enlarged(textures[int(i)], height, width)
        top, left = int(v * (texture.shape[1] - height)), int(h * (texture.shape[2] - width))
        cut.append(texture[:, top : top + height, left : left + width])
    ice = torch.stack(cut).float()
    if images.shape[1] == 3:
        return ice
    return (ice[:, :1] * 0.2989).add_(ice[:, 1:2], alpha=0.587).add_(ice[:, 2:], alpha=0.114)


_enlarged_cache: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}


def _enlarged(texture: Tensor, height: int, width: int) -> Tensor:
    """The texture enlarged by 1.1, or by 1.1 times what the image needs if that is more (the reference's rule)."""
    key = (texture.data_ptr(), height, width)
    if key not in _enlarged_cache:
        factor = _MARGIN * max(1.0, height / texture.shape[1], width / texture.shape[2])
        size = [-int(-side * factor // 1) for side in texture.shape[1:]]
        larger = F.interpolate(texture[None].float(), size=size, mode="bicubic", align_corners=False)[0]
        if len(_enlarged_cache) >= 16:
            _enlarged_cache.clear()
        # The original texture is kept beside the result, so that its address is not given to another.
        _enlarged_cache[key] = (larger.round_().clamp_(0, 255).to(torch.uint8), texture)
    return _enlarged_cache[key][0]


def _generate(number: int) -> Tensor:
    """One texture, uint8 [3, H, W]: crystals (cells around random points), each feathered along its own direction."""
    height, width = _SIDES
    draws = Draws(image_digests(0, "ice", "frost", 0, [number]), torch.device("cpu"))
    clouds, rough, grain = _clouds(draws, 6), _clouds(draws, 6), draws.normal(height, width)[0]
    # Slightly bent coordinates make crystals with curved borders and feathers.
    rows = torch.arange(height)[:, None] + 14 * _clouds(draws, 3)
    columns = torch.arange(width) + 14 * _clouds(draws, 3)

    crystals = 24 + 10 * number
    points = draws.uniform(3, crystals)[0].mul_(0.5).add_(0.5)
    nearest, second = torch.full((2, height, width), torch.inf, dtype=torch.float32).unbind()
    stem, along = torch.zeros(2, height, width, dtype=torch.float32).unbind()
    for row, column, turn in points.T.tolist():
        down, right = rows - row * height, columns - column * width
        distance = (down.square() + right.square()).sqrt_()
        own = distance < nearest
        second = torch.minimum(second, torch.maximum(nearest, distance))
        nearest = torch.minimum(nearest, distance)
        cosine, sine = math.cos(math.tau * turn), math.sin(math.tau * turn)
        along = torch.where(own, right * cosine + down * sine, along)
        stem = torch.where(own, (down * cosine - right * sine).abs_(), stem)
    # Stems stand 18 pixels apart, and barbs leave them at about 60°.
    stem = (stem.remainder(18) - 9).abs_().sub_(9).abs_()
    barbs = torch.sin((along + 0.6 * stem) * 1.1 + 1.5 * rough)
    border = torch.exp((nearest - second) / 2.5)
    ice = 0.8 * clouds + 1.3 * border + torch.exp(-stem / 2) + 0.6 * barbs + 0.5 * rough + 0.3 * grain
    level, contrast = _LEVEL_CONTRAST[number]
    ice = (ice - ice.mean()) / ice.std() * contrast + level
    return (ice + torch.tensor(_TINT[number], dtype=torch.float32)[:, None, None]).clamp_(0, 255).to(torch.uint8)


def _clouds(draws: Draws, octaves: int) -> Tensor:
    """Noise whose octaves halve in size and nearly in strength: float [H, W], mean 0, standard deviation 1."""
    total = torch.zeros(1, 1, *_SIDES, dtype=torch.float32)
    for octave in range(octaves):
        coarse = draws.normal(1, 4 * 2**octave, 6 * 2**octave)
        total += F.interpolate(coarse, size=_SIDES, mode="bicubic", align_corners=False) * 0.65**octave
    return ((total - total.mean()) / total.std())[0, 0]
