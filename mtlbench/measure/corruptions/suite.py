"""`corrupt`, the suite's entry point: checks the arguments, gives every image its random numbers, works in cached pieces."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor

from mtlbench.errors import UserError, did_you_mean
from mtlbench.measure.corruptions import blur, digital, noise, weather
from mtlbench.measure.corruptions.draws import Draws, image_digests
from mtlbench.measure.corruptions.ice import generated_textures, load_textures, texture_fingerprint
from mtlbench.measure.corruptions.registry import CORRUPTIONS, SUITE_VERSION
from mtlbench.measure.corruptions.spatter import spatter

Operation = Callable[[Tensor, int, Draws], Tensor]

_OPERATIONS: dict[str, Operation] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "speckle_noise": noise.speckle_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "gaussian_blur": blur.gaussian_blur,
    "snow": weather.snow,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "spatter": spatter,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
    "saturate": digital.saturate,
}  # frost is not here because it needs its textures as well

_VALUES_AT_ONCE = {"cpu": 100_000}
"""Values that are worked on together. A CPU is fastest while they fit into its cache; others take what memory allows."""
_VALUES_AT_ONCE_ELSEWHERE = 64_000_000


def corrupt(
    images: Tensor,
    name: str,
    severity: int,
    *,
    keys: Sequence[int | str] | Tensor,
    dataset: str = "",
    seed: int = 0,
    textures: str | Path | None = None,
) -> Tensor:
    """Corrupt a batch of images, each in its own reproducible way.

    Args:
        images: uint8 [N, C, H, W] on any device, C = 3 (RGB) or 1 (grey), H and W ≥ 32.
        name: one of `CORRUPTIONS`.
        severity: 1 (mild) … 5 (strong); 0 returns the images as they are.
        keys: one id per image, a number or a text. Together with `dataset`, `name`, `severity` and `seed` it fixes the
            image's random numbers: its result depends on neither the batch, the order nor the thread count.
        dataset: the dataset's name, so that equal ids of two datasets differ.
        seed: another draw of everything random.
        textures: a folder with photographs of ice for `frost`; without one, generated textures (`frost*`).

    Returns:
        uint8 [N, C, H, W], a new tensor on the same device.

    Raises:
        UserError: anything above does not hold.

    Source:
        Hendrycks & Dietterich, ICLR 2019, in the any-size form of `imagecorruptions` 1.1.2. Unlike there, grey images stay
        grey, streaks longer than the image do not darken it, and ice is generated unless `textures` is given.
    """
    _check(images, name, severity)
    ids = keys.tolist() if isinstance(keys, Tensor) else list(keys)
    if len(ids) != len(images):
        raise UserError(
            f"{len(images)} images but {len(ids)} keys: every image needs an id of its own, in the batch's order."
        )
    if severity == 0 or len(images) == 0:
        return images.clone()
    if images.device.type == "cpu":
        _keep_freed_memory()
    operation = _operation(name, images.device, textures)
    digests = image_digests(seed, dataset, name, severity, ids)
    limit = _VALUES_AT_ONCE.get(images.device.type, _VALUES_AT_ONCE_ELSEWHERE)
    at_once = max(1, limit // images[0].numel())
    corrupted = [
        operation(images[i : i + at_once].contiguous(), severity, Draws(digests[i : i + at_once], images.device))
        for i in range(0, len(images), at_once)
    ]
    return torch.cat(corrupted) if len(corrupted) > 1 else corrupted[0]


@lru_cache(maxsize=1)
def _keep_freed_memory() -> None:
    """Let the C library reuse the memory of our temporaries (once per process).

    glibc hands freed blocks back to the system above a size that it learns from the largest block freed so far; every
    temporary then has to be mapped again, page by page, which takes longer than the arithmetic on it: at 256 × 512 pixels
    the suite is 2-4 times slower. Freeing one block just below the limit of what it learns (32 MiB) teaches it. The block
    is never written to and so takes no memory.
    """
    torch.empty(30 * 2**20, dtype=torch.uint8)


def suite_version(textures: str | Path | None = None) -> str:
    """What a protocol says about the suite: its version, and the fingerprint of the ice if it is the user's."""
    return SUITE_VERSION if textures is None else f"{SUITE_VERSION}+frost.{texture_fingerprint(textures)}"


def _operation(name: str, device: torch.device, textures: str | Path | None) -> Operation:
    if name != "frost":
        return _OPERATIONS[name]
    ice = generated_textures(device) if textures is None else load_textures(str(textures), device)
    return partial(weather.frost, textures=ice)


def _check(images: Tensor, name: str, severity: int) -> None:
    if name not in CORRUPTIONS:
        raise UserError(f"Unknown corruption {name!r}.{did_you_mean(name, CORRUPTIONS)}")
    if isinstance(severity, bool) or not isinstance(severity, int) or not 0 <= severity <= 5:
        raise UserError(f"Severity {severity!r} of {name}: expected a whole number from 0 (clean) to 5 (strong).")
    if not isinstance(images, Tensor):
        raise UserError(f"Images are a {type(images).__name__}: expected a torch tensor, uint8 [N, C, H, W].")
    if images.dtype != torch.uint8:
        hint = " Multiply images in [0, 1] by 255, round, and convert." if images.dtype.is_floating_point else ""
        raise UserError(f"Images are {images.dtype}: expected torch.uint8 with values 0 to 255.{hint}")
    shape = list(images.shape)
    if images.ndim != 4:
        hint = " Add the batch dimension with images[None]." if images.ndim == 3 else ""
        raise UserError(f"Images have shape {shape}: expected [N, C, H, W].{hint}")
    if shape[1] not in (1, 3):
        hint = " The channels look to be last: permute them." if shape[3] in (1, 3) else ""
        raise UserError(f"Images of shape {shape} have {shape[1]} channels: expected 3 (RGB) or 1 (grey).{hint}")
    smallest = CORRUPTIONS[name].minimum_side
    if min(shape[2:]) < smallest:
        raise UserError(
            f"Images of {shape[2]} × {shape[3]} pixels are smaller than the kernels of {name}: "
            f"both sides must be at least {smallest}. Enlarge the images first."
        )
