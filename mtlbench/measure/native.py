"""Images before they were resized for the network, for datasets that can serve them.

A dataset plugin that can has two methods beside the contract's:

    native_image(key) -> uint8 [h, w, 3]        the image as it was taken
    fit_image(image) -> uint8 [H, W, 3]         resized just as `load` does it

A plugin that can only under some of its options says so in a property `has_native_images`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from mtlbench.contract.dataset import Dataset, Key
from mtlbench.data.writing import sample_id
from mtlbench.measure.corruptions import corrupt


@runtime_checkable
class Native(Protocol):
    """What a dataset has that serves native images."""

    def native_image(self, key: Key) -> np.ndarray:
        """uint8 [h, w, 3]; sizes may differ between images."""
        ...

    def fit_image(self, image: np.ndarray) -> np.ndarray:
        """A native image, uint8 [h, w, 3], as the network gets it: uint8 [H, W, 3]."""
        ...


def serves_native(dataset: Dataset) -> bool:
    """Whether images can be corrupted before they are resized."""
    return isinstance(dataset, Native) and bool(getattr(dataset, "has_native_images", True))


class NativeImages:
    """A split's native images, corrupted one by one and then resized.

    Args:
        dataset: one that `serves_native`.
        split: the name of the split.
    """

    def __init__(self, dataset: Dataset, split: str) -> None:
        if not isinstance(dataset, Native):
            raise TypeError(f"{type(dataset).__name__} has no native images")
        self._dataset: Native = dataset
        self._keys = {sample_id(key): key for key in dataset.index()[split]}

    def corrupted(
        self, ids: Sequence[str], name: str, severity: int, *, dataset: str, textures: str | None = None
    ) -> Tensor:
        """The images of the given ids after the corruption, at the network's resolution: uint8 [N, 3, H, W] on the CPU."""
        images = []
        for image_id in ids:
            native = torch.from_numpy(self._dataset.native_image(self._keys[image_id])).permute(2, 0, 1)[None]
            changed = corrupt(native.contiguous(), name, severity, keys=[image_id], dataset=dataset, textures=textures)
            fitted = self._dataset.fit_image(changed[0].permute(1, 2, 0).contiguous().numpy())
            images.append(torch.from_numpy(np.ascontiguousarray(fitted)).permute(2, 0, 1))
        return torch.stack(images)
