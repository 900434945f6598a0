"""NYUv2 as its makers distribute it: one HDF5 file with 1,449 labelled frames, and small MATLAB files beside it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mtlbench.contract.dataset import BadSample
from mtlbench.datasets import _nyuv2_encodings as encodings
from mtlbench.datasets._derived import normals_from_depth
from mtlbench.datasets._files import Array
from mtlbench.datasets._folders import Folders
from mtlbench.errors import UserError

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


class OfficialFile:
    """Reads frames of the labelled file. Frames are numbered from 1, as in `splits.mat`.

    Args:
        folder: where the files are.
        folders: makes the errors about missing files.
        classes: 40 or 13.
    """

    def __init__(self, folder: Path, folders: Folders, classes: int) -> None:
        self.folder, self.folders, self.classes = folder, folders, classes

    @property
    def paths(self) -> list[Path]:
        """The files that are read."""
        names = [FILE, SPLITS, MAPPING_40, *([MAPPING_13] if self.classes == 13 else [])]
        return [self.folder / name for name in names]

    @cached_property
    def file(self) -> Any:
        """The open HDF5 file.

        Raises:
            UserError: it is no HDF5 file, or h5py is not installed.
        """
        path = self.folder / FILE
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

    def splits(self) -> tuple[list[int], list[int]]:
        """Numbers of the official training and test frames."""
        found = self._companion(SPLITS)
        count = len(self.file["images"])
        train, test = ([int(number) for number in np.ravel(found[name])] for name in ("trainNdxs", "testNdxs"))
        if not train or not test or min(train + test) < 1 or max(train + test) > count:
            raise UserError(f"nyuv2: {self.folder / SPLITS} names frames that {FILE} (1 to {count}) does not have.")
        return train, test

    @cached_property
    def table(self) -> Array:
        """Label (0 to 894) → class, uint8; label 0 is void."""
        mapped = np.ravel(self._companion(MAPPING_40)["mapClass"]).astype(np.int64)
        limit = 40
        if self.classes == 13:
            to_13 = np.ravel(self._companion(MAPPING_13)["classMapping13"]["labels13"][0, 0]).astype(np.int64)
            mapped, limit = to_13[mapped - 1], 13
        if mapped.shape != (LABELS,) or mapped.min() < 1 or mapped.max() > limit:
            raise UserError(f"nyuv2: {self.folder / MAPPING_40} does not map {LABELS} labels to classes 1 to {limit}.")
        return np.concatenate([[encodings.IGNORE], mapped - 1]).astype(np.uint8)

    def scene(self, number: int) -> str:
        """The scene a frame was taken in, such as `kitchen_0004`."""
        reference = self.file["scenes"][0, number - 1]
        return "".join(map(chr, np.ravel(self.file[reference])))

    def frame(self, number: int) -> tuple[Array, Array, Array, Array]:
        """Image uint8 [480, 640, 3], classes uint8 [480, 640], depth [1, 480, 640] in m, normals [3, 480, 640].

        Raises:
            BadSample: the frame cannot be read, or holds impossible values.
        """
        path = self.folder / FILE
        where = Path(f"{path} (frame {number})")
        try:
            # MATLAB stores columns first: every array is transposed.
            image = np.asarray(self.file["images"][number - 1]).transpose(2, 1, 0)
            metres = np.asarray(self.file["depths"][number - 1]).T
            labels = np.asarray(self.file["labels"][number - 1]).T.astype(np.int64)
        except (OSError, ValueError) as error:
            raise BadSample(f"{where} cannot be read: {error}") from None
        if image.shape[:2] != metres.shape or metres.shape != labels.shape or image.shape[2:] != (3,):
            raise BadSample(f"{where} has image {image.shape}, depths {metres.shape} and labels {labels.shape}")
        if labels.min() < 0 or labels.max() > LABELS:
            raise BadSample(f"{where} holds labels {labels.min()} to {labels.max()}, expected 0 to {LABELS}")
        depth = encodings.depth(where, metres)
        normals = normals_from_depth(depth[0], encodings.FOCAL, encodings.CENTRE)
        return image.astype(np.uint8), self.table[labels], depth, normals

    def _companion(self, name: str) -> Any:
        from scipy.io import loadmat

        path = self.folder / name
        if not path.exists():
            raise self.folders.missing(path, PURPOSE[name])
        try:
            return loadmat(path)
        except Exception as error:  # scipy raises many kinds for damaged files
            raise UserError(f"nyuv2: {path} cannot be read ({error}). Get it again.") from None
