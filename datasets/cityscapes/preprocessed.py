"""The preprocessed layout of Cityscapes that many multi-task papers use: NumPy arrays of 128×256, numbered."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from mtlbench.contract import BadSample, Key, Sample, UserError

from .._shared.folders import Folders, numbers
from .._shared.reading import class_labels, read_array, require_range, require_shape
from .encodings import CATEGORIES, IGNORE

VAL_EVERY = 7
"""Files have no names, so val is every number that this divides: 425 of 2,975 images."""
STORED_SIZE = (128, 256)
"""Height and width."""


class PreprocessedLayout:
    """Reads the preprocessed folders. Keys are (official split, number).

    Args:
        folder: where the files are.
        folders: makes the errors about missing files.
        classes: 19, or 7 categories.
        size: (height, width) that was asked for.
        tasks: the names of the tasks asked for.
    """

    def __init__(self, folder: Path, folders: Folders, classes: int, size: tuple[int, int], tasks: Sequence[str]) -> None:
        self._folder, self._folders, self._classes, self._size, self._tasks = folder, folders, classes, size, tasks

    def index(self) -> dict[str, Sequence[Key]]:
        """Val is cut from the official train by number; test is the official val.

        Raises:
            UserError: folders are missing, or the layout does not hold what was asked for.
        """
        self._refuse_what_is_not_held()
        folders = ("image", self._label_folder, "depth")
        self._folders.require(self._folder, *(f"{split}/{folder}" for split in ("train", "val") for folder in folders))
        splits: dict[str, list[Key]] = {"train": [], "val": [], "test": []}
        for official in ("train", "val"):
            for number in numbers(self._folder / official / "image", ".npy"):
                split = "test" if official == "val" else "train" if number % VAL_EVERY else "val"
                splits[split].append((official, number))
        self._refuse_categories_as_classes(splits["train"])
        return dict(splits)

    def load(self, key: Key) -> Sample:
        """Image, segmentation and depth."""
        image_path, label_path, depth_path = self.sample_files(key)
        height, width = STORED_SIZE
        flat = ((height, width), (height, width, 1), (1, height, width))
        image = require_shape(image_path, read_array(image_path), (height, width, 3))
        labels = require_shape(label_path, read_array(label_path), *flat).reshape(height, width)
        depth = require_shape(depth_path, read_array(depth_path), *flat).reshape(1, height, width)
        require_range(image_path, image, 0, 1, "colours")
        require_range(depth_path, depth, 0, 1, "raw disparity/65535")
        return {
            "image": np.rint(image * 255).astype(np.uint8),
            "segmentation": class_labels(label_path, labels, self._classes, IGNORE),
            # Between raw 1 (infinitely far) and raw 2, so that no rounding of the stored fraction matters.
            "depth": np.where(depth * 65535 > 1.5, depth, 0).astype(np.float32),
        }

    def sample_files(self, key: Key) -> tuple[Path, Path, Path]:
        """The files of image, labels and depth."""
        split, number = parse_key(key)
        image, label, depth = (
            self._folder / split / folder / f"{number}.npy" for folder in ("image", self._label_folder, "depth")
        )
        return image, label, depth

    def scene(self, key: Key) -> str | None:
        """Unknown: files have numbers only."""
        return None

    @property
    def _label_folder(self) -> str:
        """`label_7` or `label_19` where there is one, else `label`."""
        named = f"label_{self._classes}"
        return named if (self._folder / "train" / named).is_dir() else "label"

    def _refuse_what_is_not_held(self) -> None:
        if absent := [name for name in self._tasks if name in ("parts", "normals")]:
            raise UserError(
                f"cityscapes: {', '.join(absent)} cannot be had from the preprocessed layout. Use the official one."
            )
        if self._size != STORED_SIZE:
            raise UserError(
                f"cityscapes: the preprocessed layout is {STORED_SIZE[0]}×{STORED_SIZE[1]}, not "
                f"{self._size[0]}×{self._size[1]}. Leave height and width out, or use the official layout."
            )

    def _refuse_categories_as_classes(self, keys: Sequence[Key]) -> None:
        """A folder `label` does not say what it holds: 19 classes always go beyond the first 7 within a few images."""
        if self._classes == 7 or self._label_folder != "label":
            return
        paths = [self.sample_files(key)[1] for key in keys[:20]]
        highest = -1.0
        for path in paths:
            with suppress(BadSample):  # the sample's own loading reports what is wrong with the file
                highest = max(highest, float(read_array(path).max()))
        if 0 <= highest < len(CATEGORIES):
            raise UserError(f"cityscapes: {paths[0].parent} holds 7 categories, not 19 classes. Set classes to 7.")


def parse_key(key: Key) -> tuple[str, int]:
    """(official split, number).

    Raises:
        BadSample: the key is of another form.
    """
    match key:
        case (str(split), int(number)):
            return split, number
    raise BadSample(f"cityscapes has no sample {key!r}: expected (split, number)")
