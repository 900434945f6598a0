"""Images as people have them, made into what networks see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtlbench.data.image_files import read_image
from mtlbench.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

ImageLike: TypeAlias = "str | Path | Image.Image | NDArray[Any] | Tensor"
"""A file, an image of Pillow, or an array: bytes, or floats in [0, 1]; [H, W], [H, W, C] or [C, H, W], C = 1, 3 or 4."""

COLOURS = (1, 3, 4)
"""How many channels an image may have: grey, colour, colour with transparency (which is left out)."""


def as_image(image: ImageLike) -> Tensor:
    """Any image as float32 [3, H, W] in [0, 1] on the CPU; grey becomes three equal channels.

    Raises:
        UserError: a file that cannot be read, or an array of another shape, type or range: what it is, and what is expected.
    """
    if isinstance(image, str | Path):
        return _unit(read_image(Path(image)))
    if isinstance(image, np.ndarray):
        return _unit(_channels_first(torch.from_numpy(np.array(image)), prefer_last=True))
    if isinstance(image, Tensor):
        return _unit(_channels_first(image.detach().cpu(), prefer_last=False))
    if hasattr(image, "convert"):
        return as_image(np.array(image.convert("RGB")))
    raise UserError(
        f"An image of type {type(image).__name__} is refused: expected a file, a Pillow image, an array or tensor."
    )


def _channels_first(array: Tensor, prefer_last: bool) -> Tensor:
    """[C, H, W] from any of the accepted shapes; where both ends could be channels, the library's custom decides."""
    if array.ndim == 2:
        return array[None]
    is_last = array.ndim == 3 and array.shape[2] in COLOURS
    is_first = array.ndim == 3 and array.shape[0] in COLOURS
    if is_last and (prefer_last or not is_first):
        return array.permute(2, 0, 1)
    if is_first:
        return array
    raise UserError(
        f"An image of shape {list(array.shape)} is refused: expected one image, [H, W], [H, W, C] or [C, H, W] with 1, 3 or "
        "4 channels."
    )


def _unit(image: Tensor) -> Tensor:
    """Bytes or floats [C, H, W] as float32 [3, H, W] in [0, 1]."""
    if not image.numel():
        raise UserError(f"An image of shape {list(image.shape)} is refused: it has no pixels.")
    if image.dtype == torch.uint8:
        image = image.float() / 255
    elif not image.is_floating_point():
        raise UserError(f"An image of type {image.dtype} is refused: expected bytes (uint8), or floats in [0, 1].")
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):
        raise UserError(f"An image with values from {low:g} to {high:g} is refused: expected bytes, or floats in [0, 1].")
    return (image if len(image) == 1 else image[:3]).float().expand(3, -1, -1).contiguous()
