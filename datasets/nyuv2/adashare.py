"""AdaShare's layout of NYUv2: PNGs and NumPy arrays of 480×640, 40 classes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mtlbench.contract import BadSample, Key, Sample, UserError

from .._shared.folders import Folders
from .._shared.reading import class_labels, read_array, read_map, read_rgb, require_shape
from .encodings import IGNORE, cut_val, depth, normals_from_bytes, resized

SPLIT_FILE = "nyu_v2_3task.json"
CLASSES = 40


class AdaShareLayout:
    """Reads AdaShare's folders. Keys are the frames' names.

    Args:
        folder: where the files are.
        folders: makes the errors about missing files.
        size: (height, width) of prepared images.
    """

    def __init__(self, folder: Path, folders: Folders, size: tuple[int, int]) -> None:
        self._folder, self._folders, self._size = folder, folders, size

    @property
    def list_file(self) -> Path:
        """The file that says which frames are for training and which for testing."""
        return self._folder / SPLIT_FILE

    def index(self) -> dict[str, Sequence[Key]]:
        """Val is the last part of the listed training frames.

        Raises:
            UserError: the list is missing or damaged.
        """
        path = self.list_file
        if not path.exists():
            raise self._folders.missing(path, "it says which frames are for training and which for testing")
        try:
            listed = json.loads(path.read_text(encoding="utf-8"))
            train, test = (sorted(Path(files[0]).stem for files in listed[split]) for split in ("train", "test"))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(f"nyuv2: {path} is not as expected ({error}): lists of files for 'train' and 'test'.") from None
        return {**cut_val(train), "test": test}

    def load(self, key: Key) -> Sample:
        """Image, segmentation, depth and normals, resized."""
        paths = self._paths(key)
        image = read_rgb(paths["image"])
        full_size = (image.height, image.width)
        label = class_labels(paths["segmentation"], read_map(paths["segmentation"], full_size), CLASSES, IGNORE)
        metres = depth(paths["depth"], require_shape(paths["depth"], read_array(paths["depth"]), full_size))
        code = np.asarray(read_rgb(paths["normals"]))
        vectors = normals_from_bytes(require_shape(paths["normals"], code, (*full_size, 3)))
        return resized(image, label, metres, vectors, self._size)

    def sample_files(self, key: Key) -> Iterable[Path]:
        """The files of one frame."""
        return self._paths(key).values()

    def scene(self, key: Key) -> str | None:
        """Unknown: frames have numbers only."""
        return None

    def _paths(self, key: Key) -> dict[str, Path]:
        """The files of one frame, by task."""
        if not isinstance(key, str):
            raise BadSample(f"nyuv2 has no sample {key!r}: expected the name of a frame")
        return {
            "image": self._folder / "img" / f"{key}.png",
            "segmentation": self._folder / "seg" / f"{key}.png",
            "depth": self._folder / "depth" / f"{key}.npy",
            "normals": self._folder / "normal_mask" / f"{key}.png",
        }
