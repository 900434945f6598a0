"""Reading raw files: whatever is wrong with one becomes a `BadSample` that names it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mtlbench.contract.dataset import BadSample

Array = NDArray[Any]
_HEADERS = Lock()


def read_image(path: Path) -> Image.Image:
    """A decoded image file.

    Raises:
        BadSample: the file is missing, truncated, or no image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise BadSample(f"{path} is missing") from None
    except UnidentifiedImageError:
        raise BadSample(f"{path} is no image file, or is cut off in its first bytes") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise BadSample(f"{path} cannot be decoded: {error}") from None


def read_rgb(path: Path) -> Image.Image:
    """A decoded RGB image with 8 bits a channel.

    Raises:
        BadSample: the file is missing, truncated, no image, or of another mode.
    """
    picture = read_image(path)
    if picture.mode != "RGB":
        raise BadSample(f"{path} is a {picture.mode} image, expected RGB with 8 bits a channel")
    return picture


def read_map(path: Path, *sizes: tuple[int, ...]) -> Array:
    """A decoded image file of one channel, or of palette indices, as an array of one of the given sizes.

    Raises:
        BadSample: the file is missing, truncated, no image, or of another size.
    """
    return require_shape(path, np.asarray(read_image(path)), *sizes)


def shrunk(picture: Image.Image, height: int, width: int) -> Array:
    """A picture resized by averaging the pixels under each new one: uint8 [height, width, 3]."""
    return np.array(picture.resize((width, height), Image.Resampling.BOX))


def read_array(path: Path) -> Array:
    """The array in a `.npy` file.

    Raises:
        BadSample: the file is missing, truncated, or no array of numbers.
    """
    try:
        # Two threads must not parse headers at once: Python's parser of literals is not safe in every release.
        with _HEADERS:
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        array = np.array(mapped)
    except FileNotFoundError:
        raise BadSample(f"{path} is missing") from None
    except (OSError, ValueError, EOFError) as error:
        raise BadSample(f"{path} cannot be read as a NumPy array: {error}") from None
    if array.dtype.kind not in "biuf":
        raise BadSample(f"{path} holds no array of numbers")
    return array


def require_shape(path: Path, array: Array, *shapes: tuple[int, ...]) -> Array:
    """The array, if it has one of the shapes.

    Raises:
        BadSample: it has another one.
    """
    if array.shape not in shapes:
        expected = " or ".join(str(list(shape)) for shape in shapes)
        raise BadSample(f"{path} has shape {list(array.shape)}, expected {expected}")
    return array


def require_finite(path: Path, array: Array) -> Array:
    """The array, if it holds neither NaN nor infinity.

    Raises:
        BadSample: it does.
    """
    if not np.isfinite(array).all():
        raise BadSample(f"{path} holds NaN or infinite values ({int((~np.isfinite(array)).sum())} of {array.size})")
    return array


def require_range(path: Path, array: Array, low: float, high: float, what: str) -> Array:
    """The array, if all of its values lie in [low, high].

    Raises:
        BadSample: they do not; `what` says what the values are.
    """
    require_finite(path, array)
    if array.size and (array.min() < low or array.max() > high):
        raise BadSample(f"{path} holds {what} from {array.min():g} to {array.max():g}, expected {low:g} to {high:g}")
    return array


def nearest(array: Array, height: int, width: int) -> Array:
    """A map [H, W] (or [..., H, W]) resized by taking the pixel under each new pixel's centre: no value is made up."""
    rows = ((np.arange(height) + 0.5) * array.shape[-2] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * array.shape[-1] / width).astype(np.int64)
    return array[..., rows[:, None], columns[None, :]]
