"""The preprocessed layout of NYUv2 that many multi-task papers use: NumPy arrays of 288×384, 13 classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from mtlbench.contract import BadSample, Key, Sample

from .._shared.arrays import Array
from .._shared.folders import Folders, numbers
from .._shared.normals import optical_axis_of_files, unit_vectors
from .._shared.reading import class_labels, read_array, require_range, require_shape
from .encodings import IGNORE, cut_val, depth

STORED_SIZE = (288, 384)
"""Height and width."""
CLASSES = 13
_KINDS = {"image": "image", "segmentation": "label", "depth": "depth", "normals": "normal"}
"""Image or task → folder."""


class PreprocessedLayout:
    """Reads the preprocessed folders. Keys are (official split, number).

    Args:
        folder: where the files are.
        folders: makes the errors about missing files.
    """

    def __init__(self, folder: Path, folders: Folders) -> None:
        self._folder, self._folders = folder, folders

    def index(self) -> dict[str, Sequence[Key]]:
        """Val is the last part of the official train; test is the official val."""
        self._folders.require(self._folder, *(f"{split}/{kind}" for split in ("train", "val") for kind in _KINDS.values()))
        train: list[Key] = [("train", number) for number in numbers(self._folder / "train" / "image", ".npy")]
        test: list[Key] = [("val", number) for number in numbers(self._folder / "val" / "image", ".npy")]
        return {**cut_val(train), "test": test}

    def load(self, key: Key) -> Sample:
        """Image, segmentation, depth and normals."""
        paths = self._paths(key)
        arrays = {task: read_array(path) for task, path in paths.items()}
        image = require_shape(paths["image"], arrays["image"], (*STORED_SIZE, 3))
        require_range(paths["image"], image, 0, 1, "colours")
        label = _channels_first(paths["segmentation"], arrays["segmentation"], 1)[0]
        metres = _channels_first(paths["depth"], arrays["depth"], 1)[0]
        vectors = _channels_first(paths["normals"], arrays["normals"], 3)
        require_range(paths["normals"], vectors, -1.01, 1.01, "normals")
        if self._optical_axis == 1:
            vectors = vectors[[0, 2, 1]]
        return {
            "image": np.rint(image * 255).astype(np.uint8),
            "segmentation": class_labels(paths["segmentation"], label, CLASSES, IGNORE),
            "depth": depth(paths["depth"], metres),
            "normals": unit_vectors(vectors),
        }

    def sample_files(self, key: Key) -> Iterable[Path]:
        """The files of one frame."""
        return self._paths(key).values()

    def scene(self, key: Key) -> str | None:
        """Unknown: frames have numbers only."""
        return None

    def _paths(self, key: Key) -> dict[str, Path]:
        """The files of one frame, by task."""
        match key:
            case (str(split), int(number)):
                return {task: self._folder / split / kind / f"{number}.npy" for task, kind in _KINDS.items()}
        raise BadSample(f"nyuv2 has no sample {key!r}: expected (split, number)")

    @cached_property
    def _optical_axis(self) -> int:
        """The stored channel along the optical axis, from the first training frames."""
        paths = [self._paths(key)["normals"] for key in self.index()["train"][:8]]
        return optical_axis_of_files(lambda path: _channels_first(path, read_array(path), 3), paths)


def _channels_first(path: Path, array: Array, channels: int) -> Array:
    """A stored map as [channels, H, W]; in the file channels may be first, last, or left out if there is one."""
    height, width = STORED_SIZE
    flat = ((height, width),) if channels == 1 else ()
    require_shape(path, array, (channels, height, width), (height, width, channels), *flat)
    if array.shape == (height, width, channels):
        return np.moveaxis(array, 2, 0)
    return array.reshape(channels, height, width)
