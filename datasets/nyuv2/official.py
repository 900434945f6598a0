"""NYUv2 as its makers distribute it: one HDF5 file with 1,449 labelled frames, and small MATLAB files beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mtlbench.contract import BadSample, Key, Sample, UserError

from .._shared.arrays import Array
from .._shared.folders import Folders
from .._shared.normals import normals_from_depth
from .encodings import CENTRE, FOCAL, IGNORE, VAL_PART, depth, resized

FILE = "nyu_depth_v2_labeled.mat"
SPLITS = "splits.mat"
MAPPING_40 = "classMapping40.mat"
MAPPING_13 = "class13Mapping.mat"
PURPOSE = {
    SPLITS: "it says which frames are for training and which for testing",
    MAPPING_40: "it maps the 894 labels to 40 classes",
    MAPPING_13: "it maps the 40 classes to 13",
}
LABELS = 894


class OfficialLayout:
    """Reads frames of the labelled file. Keys are the frames' numbers from 1, as in `splits.mat`.

    Args:
        folder: where the files are.
        folders: makes the errors about missing files.
        classes: 40 or 13.
        size: (height, width) of prepared images.
    """

    def __init__(self, folder: Path, folders: Folders, classes: int, size: tuple[int, int]) -> None:
        self._folder, self._folders, self._classes, self._size = folder, folders, classes, size

    def index(self) -> dict[str, Sequence[Key]]:
        """Val is every seventh scene of the official train, in alphabetical order."""
        train, test = self._splits()
        scene = {number: self.scene(number) for number in train}
        held_out = set(sorted(set(scene.values()))[VAL_PART - 1 :: VAL_PART])
        return {
            "train": [number for number in train if scene[number] not in held_out],
            "val": [number for number in train if scene[number] in held_out],
            "test": test,
        }

    def load(self, key: Key) -> Sample:
        """Image, segmentation, depth and normals, resized."""
        image, label, metres, vectors = self._frame(_number(key))
        return resized(Image.fromarray(image), label, metres, vectors, self._size)

    def sample_files(self, key: Key) -> Iterable[Path]:
        """All frames are in the same files."""
        return self.files

    def scene(self, key: Key) -> str:
        """The scene that a frame was taken in, such as `kitchen_0004`."""
        reference = self._file["scenes"][0, _number(key) - 1]
        return "".join(map(chr, np.ravel(self._file[reference])))

    @property
    def files(self) -> list[Path]:
        """The files that are read."""
        names = [FILE, SPLITS, MAPPING_40, *([MAPPING_13] if self._classes == 13 else [])]
        return [self._folder / name for name in names]

    @cached_property
    def _file(self) -> Any:
        """The open HDF5 file.

        Raises:
            UserError: it is no HDF5 file, or h5py is not installed.
        """
        path = self._folder / FILE
        try:
            import h5py
        except ImportError:
            raise UserError(f"nyuv2: reading {path} needs h5py. Install it: pip install h5py") from None
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise UserError(f"nyuv2: {path} is no HDF5 file, or is cut off ({error}). Get it again.") from None
        absent = [name for name in ("images", "depths", "labels", "scenes") if name not in file]
        if absent:
            raise UserError(f"nyuv2: {path} has no {', '.join(absent)}. Is it the official labelled file?")
        return file

    def _splits(self) -> tuple[list[int], list[int]]:
        """Numbers of the official training and test frames."""
        lists = self._companion(SPLITS)
        count = len(self._file["images"])
        train, test = ([int(number) for number in np.ravel(lists[name])] for name in ("trainNdxs", "testNdxs"))
        if not train or not test or min(train + test) < 1 or max(train + test) > count:
            raise UserError(f"nyuv2: {self._folder / SPLITS} names frames that {FILE} (1 to {count}) does not have.")
        return train, test

    @cached_property
    def _classes_of_labels(self) -> Array:
        """Label (0 to 894) → class, uint8; label 0 is void."""
        mapped = np.ravel(self._companion(MAPPING_40)["mapClass"]).astype(np.int64)
        limit = 40
        if self._classes == 13:
            to_13 = np.ravel(self._companion(MAPPING_13)["classMapping13"]["labels13"][0, 0]).astype(np.int64)
            mapped, limit = to_13[mapped - 1], 13
        if mapped.shape != (LABELS,) or mapped.min() < 1 or mapped.max() > limit:
            raise UserError(f"nyuv2: {self._folder / MAPPING_40} does not map {LABELS} labels to classes 1 to {limit}.")
        return np.concatenate([[IGNORE], mapped - 1]).astype(np.uint8)

    def _frame(self, number: int) -> tuple[Array, Array, Array, Array]:
        """Image uint8 [480, 640, 3], classes uint8 [480, 640], depth [1, 480, 640] in m, normals [3, 480, 640].

        Raises:
            BadSample: the frame cannot be read, or holds impossible values.
        """
        path = self._folder / FILE
        where = Path(f"{path} (frame {number})")
        try:
            # MATLAB stores columns first: every array is transposed.
            image = np.asarray(self._file["images"][number - 1]).transpose(2, 1, 0)
            metres = np.asarray(self._file["depths"][number - 1]).T
            labels = np.asarray(self._file["labels"][number - 1]).T.astype(np.int64)
        except (OSError, ValueError) as error:
            raise BadSample(f"{where} cannot be read: {error}") from None
        if image.shape[:2] != metres.shape or metres.shape != labels.shape or image.shape[2:] != (3,):
            raise BadSample(f"{where} has image {image.shape}, depths {metres.shape} and labels {labels.shape}")
        if labels.min() < 0 or labels.max() > LABELS:
            raise BadSample(f"{where} holds labels {labels.min()} to {labels.max()}, expected 0 to {LABELS}")
        checked = depth(where, metres)
        normals = normals_from_depth(checked[0], FOCAL, CENTRE)
        return image.astype(np.uint8), self._classes_of_labels[labels], checked, normals

    def _companion(self, name: str) -> Any:
        from scipy.io import loadmat

        path = self._folder / name
        if not path.exists():
            raise self._folders.missing(path, PURPOSE[name])
        try:
            return loadmat(path)
        except Exception as error:  # scipy raises many kinds for damaged files
            raise UserError(f"nyuv2: {path} cannot be read ({error}). Get it again.") from None


def _number(key: Key) -> int:
    if not isinstance(key, int):
        raise BadSample(f"nyuv2 has no sample {key!r}: expected the number of a frame")
    return key
