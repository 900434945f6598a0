"""Zoom, crop and flip of an image and all of its dense targets alike, batched, on the device.

Positions change here; what the *values* of a target become (depth divided by the zoom, normals turned) is the task's part
(`Task.augmented`). A sample's result does not depend on the batch that it is in: its numbers are drawn for the image
(`mtlbench.data.order`), its coordinates are computed in float64 on the host, and it is sampled by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from mtlbench.contract.batch import Batch
from mtlbench.contract.dataset import Augmentation
from mtlbench.data import order
from mtlbench.data.transfer import constant, to_device
from mtlbench.tasks.base import Task


@dataclass(frozen=True)
class CropAndFlip:
    """The zoom, crop and flip of each image of a batch.

    Attributes:
        zoom: float64 [B], > 1 enlarges.
        top, left: float64 [B] in [0, 1], where the crop lies in the zoomed image: 0 at its top (left) edge, 1 at its
            bottom (right) edge. With zoom < 1 it is the small image that lies so in the frame.
        flip: bool [B], mirrored left to right after the crop.
    """

    zoom: NDArray[np.float64]
    top: NDArray[np.float64]
    left: NDArray[np.float64]
    flip: NDArray[np.bool_]

    @property
    def active(self) -> bool:
        """Whether any image changes at all."""
        return bool(self.flip.any() or (self.zoom != 1).any())


def random_crop_and_flip(augmentation: Augmentation, seed: int, epoch: int, images: ArrayLike) -> CropAndFlip:
    """What augmentation does to images (positions in their split, [B]) in an epoch."""
    random = order.uniform(seed, order.AUGMENTATION, epoch, images, draws=4)
    zooms = np.asarray(augmentation.zooms, np.float64)
    zoom = zooms[(random[:, 0] * len(zooms)).astype(np.int64)]
    return CropAndFlip(zoom, random[:, 1], random[:, 2], (random[:, 3] < 0.5) & augmentation.flip)


def augment(batch: Batch, tasks: Sequence[Task], change: CropAndFlip, fill: Sequence[float] = (0.0, 0.0, 0.0)) -> Batch:
    """The batch, zoomed, cropped and flipped: images bilinear, dense targets nearest, targets of whole images unchanged.

    Args:
        tasks: the tasks of the batch's targets; a target that is made from the image follows the augmented image.
        fill: colour in [0, 1] where a zoom < 1 leaves no image; targets are invalid there.
    """
    if not change.active:
        return batch
    device, (height, width) = batch.image.device, batch.image.shape[-2:]
    y = _coordinates(change.zoom, change.top, height)
    x = _coordinates(change.zoom, change.left, width)
    x = np.where(change.flip[:, None], x[:, ::-1], x)
    nearest = _Nearest(y, x, height, width, device)
    image = nearest.image(batch.image, fill)
    resized = np.flatnonzero(change.zoom != 1)
    if len(resized):
        rows = to_device(resized, device)
        # Images of their own size were copied exactly above; bilinear weights would blur them by rounding errors.
        image[rows] = _bilinear(batch.image[rows], y[resized], x[resized], fill)
    zoom = to_device(change.zoom.astype(np.float32), device)
    flip = to_device(change.flip, device)
    targets: dict[str, Tensor] = {}
    for task in tasks:
        target = batch.targets[task.name]
        if task.from_image:
            target = nearest.fill_outside(image, task.invalid)
        elif task.dense:
            target = task.augmented(nearest.target(target, task.invalid), zoom, flip)
        targets[task.name] = target
    return replace(batch, image=image, targets={**batch.targets, **targets})


def _coordinates(zoom: NDArray[np.float64], place: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Where output pixels lie in the source, float64 [B, size], in pixels from the edge (centres at 0.5, 1.5, …)."""
    corner = place * size * (zoom - 1)
    return (np.arange(size) + 0.5 + corner[:, None]) / zoom[:, None]


class _Nearest:
    """Copies the source pixel that each output pixel lies in: exact for every data type."""

    def __init__(
        self, y: NDArray[np.float64], x: NDArray[np.float64], height: int, width: int, device: torch.device
    ) -> None:
        row, column = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
        inside_y, inside_x = (row >= 0) & (row < height), (column >= 0) & (column < width)
        rows = to_device(np.clip(row, 0, height - 1), device)
        columns = to_device(np.clip(column, 0, width - 1), device)
        self.pixel = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
        self.outside: Tensor | None = None
        if not (inside_y.all() and inside_x.all()):
            outside = ~(inside_y[:, :, None] & inside_x[:, None, :])
            self.outside = to_device(outside, device)

    def image(self, image: Tensor, fill: Sequence[float]) -> Tensor:
        """Float [B, 3, H, W], channels last."""
        count, channels, height, width = image.shape
        first = torch.arange(count, device=image.device)[:, None] * (height * width)
        pixels = image.permute(0, 2, 3, 1).reshape(-1, channels)
        moved = pixels.index_select(0, (self.pixel + first).flatten()).view(count, height, width, channels)
        if self.outside is not None:
            moved = torch.where(self.outside[..., None], constant(fill, moved), moved)
        return moved.permute(0, 3, 1, 2)

    def target(self, target: Tensor, invalid: float) -> Tensor:
        """A dense target [B, ..., H, W] of any data type."""
        flat = target.reshape(len(target), -1, self.pixel.shape[1])
        moved = flat.gather(2, self.pixel[:, None].expand(flat.shape)).view(target.shape)
        return self.fill_outside(moved, invalid)

    def fill_outside(self, moved: Tensor, value: float) -> Tensor:
        """Moved maps [B, ..., H, W] with a value where they have no source."""
        if self.outside is None:
            return moved
        return moved.masked_fill(self.outside.view(len(moved), *(1,) * (moved.dim() - 3), *moved.shape[-2:]), value)


def _bilinear(image: Tensor, y: NDArray[np.float64], x: NDArray[np.float64], fill: Sequence[float]) -> Tensor:
    """Bilinear samples of images [B, 3, H, W] at source positions y [B, H] and x [B, W]."""
    height, width = image.shape[-2:]
    grid = np.empty((*y.shape, x.shape[1], 2), np.float32)
    grid[..., 0] = (2 * x / width - 1)[:, None, :]
    grid[..., 1] = (2 * y / height - 1)[:, :, None]
    moved = functional.grid_sample(
        image, to_device(grid, image.device), mode="bilinear", padding_mode="border", align_corners=False
    )
    outside = ((y < 0) | (y > height))[:, :, None] | ((x < 0) | (x > width))[:, None, :]
    if outside.any():
        colour = constant(fill, moved)[:, None, None]
        moved = torch.where(to_device(outside, image.device)[:, None], colour, moved)
    return moved
