"""Ice for `frost`: textures that are generated, or photographs from a folder.

The original lays photographs of frosted windows over the image. Those are not ours to ship, so five textures are computed:
crystals with feathers inside, over clouds. Their mean levels, their contrast and their bluish tint follow the photographs'.
"""

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

_SIDES = (512, 768)
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
        torch.frombuffer(bytearray(i.tobytes()), dtype=torch.uint8).view(i.height, i.width, 3).permute(2, 0, 1).contiguous().to(device)
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
    for i, v, h in zip(which, above, beside):
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
        _enlarged_cache[key] = (larger.clamp_(0, 255).to(torch.uint8), texture)
    return _enlarged_cache[key][0]


def _generate(number: int) -> Tensor:
    """One texture, uint8 [3, H, W]: clouds, crystals (cells around random points) and feathers along a direction of each crystal."""
    height, width = _SIDES
    cpu = torch.device("cpu")
    draws = Draws(image_digests(0, "ice", "frost", 0, [number]), cpu)
    clouds = _clouds(draws, height, width)
    rows, columns = torch.meshgrid(torch.arange(height) * 1.0, torch.arange(width) * 1.0, indexing="ij")
    # Bent coordinates make crystals with curved borders.
    bend = [30 * _clouds(draws, height, width) for _ in range(2)]
    rows, columns = rows + bend[0], columns + bend[1]

    cells = 60 + 20 * number
    seeds = draws.uniform(3, cells)[0].mul_(0.5).add_(0.5)
    seed_rows, seed_columns, angle = seeds[0] * height, seeds[1] * width, seeds[2] * 2 * torch.pi
    distance = (rows[..., None] - seed_rows).square_().add_((columns[..., None] - seed_columns).square_())
    nearest = distance.topk(2, dim=-1, largest=False)
    border = nearest.values.sqrt_().diff(dim=-1)[..., 0]
    own = nearest.indices[..., 0]
    cosine, sine = angle.cos()[own], angle.sin()[own]
    along = cosine * (columns - seed_columns[own]) + sine * (rows - seed_rows[own])
    across = cosine * (rows - seed_rows[own]) - sine * (columns - seed_columns[own])
    # Barbs leave the stem at 60° on both sides.
    barbs = torch.sin((along + 0.58 * across.abs()) * 0.9 + 2 * clouds).mul(torch.exp(-across.abs() / 40))
    grain = draws.normal(height, width)[0]
    ice = 0.9 * clouds + 0.7 * torch.exp(-border / 3) + 0.45 * barbs + 0.5 * torch.exp(-across.abs() / 2.5) + 0.3 * grain
    level, contrast = _LEVEL_CONTRAST[number]
    ice = (ice - ice.mean()) / ice.std() * contrast + level
    return (ice + torch.tensor(_TINT[number])[:, None, None]).clamp_(0, 255).to(torch.uint8)


def _clouds(draws: Draws, height: int, width: int) -> Tensor:
    """Noise whose octaves halve in size and nearly in strength, [H, W], mean about 0, standard deviation about 1."""
    total = torch.zeros(1, 1, height, width)
    for octave in range(6):
        coarse = draws.normal(1, 4 * 2**octave, 6 * 2**octave)
        total += F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False) * 0.65**octave
    return ((total - total.mean()) / total.std())[0, 0]
