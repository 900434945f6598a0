"""Reading raw files and resizing them. Whatever is wrong with a file becomes a `BadSample` that names it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, UnidentifiedImageError

from mtlbench.contract import BadSample

from .arrays import Array

_HEADER_PARSER = Lock()


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
    """A decoded RGB image with 8 bits per channel.

    Raises:
        BadSample: the file is missing, truncated, no image, or of another mode.
    """
    image = read_image(path)
    if image.mode != "RGB":
        raise BadSample(f"{path} is a {image.mode} image, expected RGB with 8 bits per channel")
    return image


def read_map(path: Path, *sizes: tuple[int, ...]) -> Array:
    """A decoded image file of one channel, or of palette indices, as an array of one of the given sizes.

    Raises:
        BadSample: the file is missing, truncated, no image, or of another size.
    """
    return require_shape(path, np.asarray(read_image(path)), *sizes)


def resize_by_area(image: Image.Image, height: int, width: int) -> Array:
    """An RGB image resized by averaging the pixels that each new pixel covers: uint8 [height, width, 3]."""
    return np.array(image.resize((width, height), Image.Resampling.BOX))


def middle_square(image: Image.Image) -> Image.Image:
    """The largest square in the middle of an image."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def read_array(path: Path) -> Array:
    """The array in a `.npy` file.

    Raises:
        BadSample: the file is missing, truncated, or no array of numbers.
    """
    try:
        # Two threads must not parse headers at once: Python's parser of literals is not safe in every release.
        with _HEADER_PARSER:
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


def require_range(path: Path, array: Array, low: float, high: float, quantity: str) -> Array:
    """The array, if all of its values lie in [low, high].

    Args:
        quantity: what the values are, for the message.

    Raises:
        BadSample: they do not, or are not finite.
    """
    require_finite(path, array)
    if array.size and (array.min() < low or array.max() > high):
        raise BadSample(f"{path} holds {quantity} from {array.min():g} to {array.max():g}, expected {low:g} to {high:g}")
    return array


def resize_nearest(array: Array, height: int, width: int) -> Array:
    """A map [..., H, W] resized by taking the pixel under each new pixel's centre: every value occurs in the source."""
    rows = ((np.arange(height) + 0.5) * array.shape[-2] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * array.shape[-1] / width).astype(np.int64)
    return array[..., rows[:, None], columns[None, :]]


def class_labels(path: Path, stored: Array, classes: int, void: int) -> Array:
    """Stored class indices as uint8 of the same shape; `void` and -1 in the file become `void`.

    Args:
        stored: numbers of any type; whole numbers from 0 to classes - 1, or void.

    Raises:
        BadSample: other values, or values that are not finite.
    """
    whole = np.rint(require_finite(path, stored)).astype(np.int64)
    wrong = (whole != stored) | (whole < -1) | ((whole >= classes) & (whole != void))
    if wrong.any():
        raise BadSample(
            f"{path} holds labels {some_values(stored[wrong])}, expected 0 to {classes - 1}, or -1 or {void} (void)"
        )
    return np.where(whole < 0, void, whole).astype(np.uint8)


def some_values(values: Array) -> str:
    """The smallest five distinct values, for messages."""
    return ", ".join(f"{value:.10g}" for value in np.unique(values)[:5])
