"""The official layout of Cityscapes: PNGs of 2048×1024, and the shifted test sets beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mtlbench.contract import BadSample, Key, Sample

from .._shared.arrays import Array
from .._shared.folders import Folders
from .._shared.reading import read_map, read_rgb, require_range, resize_by_area, resize_nearest
from .encodings import inverse_depth, label_table, part_labels, require_known_ids
from .shifted_sets import ACDC, SYNTHETIC, acdc_paths, clean_stem, shifted_splits, synthetic_image

VAL_CITIES = ("dusseldorf", "monchengladbach", "zurich")
"""Every sixth of the 18 training cities in alphabetical order: 437 of 2,975 images."""

IMAGE, LABEL, DISPARITY, PART = "leftImg8bit", "gtFine", "disparity", "gtFinePanopticParts"
_SUFFIXES = {
    IMAGE: "_leftImg8bit.png",
    LABEL: "_gtFine_labelIds.png",
    DISPARITY: "_disparity.png",
    PART: "_gtFinePanopticParts.tif",
}


class OfficialLayout:
    """Reads the official folders. Keys are (official split or shifted set, city, stem); ACDC has the sequence for the city.

    Args:
        folder: where the files are.
        folders: makes the errors about missing files.
        classes: 19, or 7 categories.
        size: (height, width) of prepared images.
        tasks: the names of the tasks asked for.
    """

    def __init__(self, folder: Path, folders: Folders, classes: int, size: tuple[int, int], tasks: Sequence[str]) -> None:
        self._folder, self._folders, self._size = folder, folders, size
        self._ids_to_labels = label_table(classes)
        self._with_acdc = "segmentation" in tasks  # ACDC has labels of no other task
        self._kinds = (IMAGE, LABEL, DISPARITY, *([PART] if "parts" in tasks else []))

    def index(self) -> dict[str, Sequence[Key]]:
        """Val is cut from the official train by city, test is the official val; then the shifted test sets that exist."""
        self._folders.require(self._folder, *(f"{kind}/{split}" for kind in self._kinds for split in ("train", "val")))
        splits: dict[str, list[Key]] = {"train": [], "val": [], "test": []}
        for official in ("train", "val"):
            for path in sorted((self._folder / IMAGE / official).glob(f"*/*{_SUFFIXES[IMAGE]}")):
                city, stem = path.parent.name, path.name.removesuffix(_SUFFIXES[IMAGE])
                split = "test" if official == "val" else "val" if city in VAL_CITIES else "train"
                splits[split].append((official, city, stem))
        return {**splits, **shifted_splits(self._folders, self._folder, with_acdc=self._with_acdc)}

    def load(self, key: Key) -> Sample:
        """Image, segmentation, and depth and parts where there are files of them; resized."""
        paths = self._paths(key)
        image = read_rgb(paths[IMAGE])
        full_size = (image.height, image.width)
        ids = require_known_ids(paths[LABEL], read_map(paths[LABEL], full_size))
        sample: Sample = {
            "image": resize_by_area(image, *self._size),
            "segmentation": resize_nearest(self._ids_to_labels[ids], *self._size),
        }
        if DISPARITY in paths:
            raw = require_range(paths[DISPARITY], read_map(paths[DISPARITY], full_size), 0, 65535, "raw disparity")
            sample["depth"] = inverse_depth(resize_nearest(raw, *self._size))[None]
        if PART in paths:
            uids = read_map(paths[PART], full_size)
            sample["parts"] = resize_nearest(part_labels(paths[PART], uids), *self._size)
        return sample

    def sample_files(self, key: Key) -> Iterable[Path]:
        """The files of one frame."""
        return self._paths(key).values()

    def scene(self, key: Key) -> str | None:
        """City and sequence; ACDC's sequence."""
        split, city, stem = parse_key(key)
        return city if split in ACDC else "_".join(stem.split("_")[:2])

    def native_image(self, key: Key) -> Array:
        """The image as it was taken: uint8 [h, w, 3], 1024×2048, or 1080×1920 of ACDC."""
        return np.array(read_rgb(self._paths(key)[IMAGE]))

    def _paths(self, key: Key) -> dict[str, Path]:
        split, city, stem = parse_key(key)
        if split in ACDC:
            return dict(zip((IMAGE, LABEL), acdc_paths(self._folder, split, city, stem), strict=True))
        changed = {}
        if split in SYNTHETIC:
            changed = {IMAGE: synthetic_image(self._folder, split, city, stem)}
            split, stem = "val", clean_stem(stem)
        return {kind: self._folder / kind / split / city / f"{stem}{_SUFFIXES[kind]}" for kind in self._kinds} | changed


def parse_key(key: Key) -> tuple[str, str, str]:
    """(official split or shifted set, city or sequence, stem).

    Raises:
        BadSample: the key is of another form.
    """
    match key:
        case (str(split), str(city), str(stem)):
            return split, city, stem
    raise BadSample(f"cityscapes has no sample {key!r}: expected (split, city, stem)")
