"""Image files of users, read as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mtlbench.errors import UserError


def read_image(path: Path) -> Tensor:
    """An image file as uint8 [3, H, W], or [1, H, W] where it is grey; turned upright as its camera says.

    Raises:
        UserError: there is no such file, or it is no image of 8 bits per channel.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode not in ("L", "LA", "RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"):
                raise UserError(f"{path} is an image of mode {upright.mode}: expected 8 bits per channel, colour or grey.")
            array = np.array(upright.convert("L" if upright.mode in ("L", "LA") else "RGB"))
    except FileNotFoundError:
        raise UserError(f"There is no image {path}.") from None
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"{path} cannot be read as an image: {error}.") from None
    return torch.from_numpy(np.atleast_3d(array)).permute(2, 0, 1).contiguous()
