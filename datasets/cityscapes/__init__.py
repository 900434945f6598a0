"""Cityscapes: street scenes of European cities, with semantic classes and inverse depth; parts, normals and more if asked.

Reads the official folders (PNG, 2048×1024, resized here) and the preprocessed ones that many multi-task papers use
(NumPy arrays of 128×256). Depth is not the same quantity in the two: inverse depth in 1/m in the official layout, raw
disparity / 65535 in the preprocessed one; the task's unit says which. Shifted test sets (synthetic fog and rain, ACDC) are
read where they lie beside the official folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image

from mtlbench.contract import Augmentation, Card, Hyper, Key, Sample
from mtlbench.tasks import Boundaries, Depth, Normals, Reconstruction, Segmentation

from .._shared.arrays import Array
from .._shared.contours import contours
from .._shared.folder_dataset import FolderDataset, Layout, chosen_tasks
from .._shared.reading import resize_by_area
from .card import CARD
from .encodings import CATEGORIES, CLASSES, PARTS, surface_normals
from .official import IMAGE, VAL_CITIES, OfficialLayout
from .preprocessed import VAL_EVERY, PreprocessedLayout
from .shifted_sets import ACDC

TaskName = Literal["segmentation", "depth", "parts", "normals", "contours", "reconstruction"]
LAYOUTS = {"official": IMAGE, "preprocessed": "train/image"}
"""Layout → a path that shows it."""


class Cityscapes(FolderDataset):
    """Street scenes of European cities: semantic segmentation and inverse depth; further tasks if asked for.

    Cordts et al., CVPR 2016, arXiv:1604.01685; parts: de Geus et al., CVPR 2021, arXiv:2106.06351.
    """

    tasks_used: tuple[TaskName, ...] = Hyper(
        ("segmentation", "depth"),
        min_length=1,
        help="the tasks, in order; beside these two: parts, normals, contours, reconstruction",
    )
    classes: Literal[7, 19] = Hyper(19, help="the 19 evaluated classes, or the 7 categories that they belong to")
    height: int = Hyper(128, ge=32, le=1024, help="height of prepared images (official layout)")
    width: int = Hyper(256, ge=32, le=2048, help="width of prepared images (official layout)")
    layout: Literal["auto", "official", "preprocessed"] = Hyper("auto", help="how the files are laid out; auto looks")

    name: ClassVar[str] = "cityscapes"
    card: ClassVar[Card] = CARD
    thread_safe: ClassVar[bool] = True  # decoding PNGs of 2 megapixels is what preparing costs
    augmentation: ClassVar[Augmentation] = Augmentation(zooms=(1.0, 1.2, 1.5), flip=True)

    def __init__(self, root: Path | None, options: Mapping[str, Any]) -> None:
        super().__init__(root, options)
        self._place, self._layout_name = self.folders.find(LAYOUTS, self.layout)
        official = self._layout_name == "official"
        available = (
            Segmentation("segmentation", self.classes, tuple(CLASSES) if self.classes == 19 else CATEGORIES),
            Depth("depth", inverse=True, unit="1/m" if official else "raw disparity/65535"),
            Segmentation("parts", len(PARTS), PARTS),
            Normals("normals"),
            Boundaries("contours"),
            Reconstruction("reconstruction"),
        )
        self._tasks = chosen_tasks(available, self.tasks_used)
        self._image_size = (self.height, self.width)

    def describe(self) -> dict[str, Any]:
        """The options; `layout` is the one that was found."""
        return super().describe() | {"layout": self._layout_name}

    def split_rule(self) -> str:
        """How val was cut from train."""
        if self._layout_name == "preprocessed":
            rule = f"val: train files with a number divisible by {VAL_EVERY} (not by city, no names: scenes may leak)"
        else:
            rule = f"val: the train cities {', '.join(VAL_CITIES)} (every sixth in alphabetical order)"
        return f"{rule}; test: the official val"

    def index(self) -> Mapping[str, Sequence[Key]]:
        """Train, val, test and the shifted test sets that exist; for keys see the layouts."""
        return self._files.index()

    def load(self, key: Key) -> Sample:
        """Image and targets of one sample."""
        sample = self._files.load(key)
        acdc = isinstance(key, tuple) and key[0] in ACDC
        labelled = {"segmentation"} if acdc else {task.name for task in self._tasks if not task.from_image}
        if "contours" in labelled:
            sample["contours"] = contours(sample["segmentation"])
        if "normals" in labelled:
            sample["normals"] = surface_normals(sample["depth"][0])
        return {name: array for name, array in sample.items() if name == "image" or name in labelled}

    def sample_files(self, key: Key) -> Iterable[Path]:
        """The raw files of one sample."""
        return self._files.sample_files(key)

    def scene(self, key: Key) -> str | None:
        """City and sequence, or ACDC's sequence; unknown in the preprocessed layout."""
        return self._files.scene(key)

    def find_folder(self) -> Path | None:
        """The first candidate that holds one of the layouts."""
        return self._place

    # Images before they are resized

    @property
    def has_native_images(self) -> bool:
        """Whether the layout that was found, or looked for, is the official one."""
        return self._layout_name == "official"

    def native_image(self, key: Key) -> Array:
        """An image of the official layout as it was taken: uint8 [h, w, 3], 1024×2048, or 1080×1920 of ACDC."""
        assert isinstance(self._files, OfficialLayout)
        return self._files.native_image(key)

    def fit_image(self, image: Array) -> Array:
        """A native image, uint8 [h, w, 3], resized as `load` does it: uint8 [height, width, 3]."""
        return resize_by_area(Image.fromarray(image), self.height, self.width)

    @cached_property
    def _files(self) -> Layout:
        layout = OfficialLayout if self._layout_name == "official" else PreprocessedLayout
        return layout(self.folder, self.folders, self.classes, self.image_size, self.tasks_used)
