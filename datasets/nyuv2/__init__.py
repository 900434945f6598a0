"""NYU Depth v2: indoor scenes with semantic classes, depth in metres and surface normals, in three layouts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from mtlbench.contract import Augmentation, Card, Hyper, Key, Sample, UserError
from mtlbench.tasks import Boundaries, Depth, Normals, Reconstruction, Segmentation

from .._shared.contours import contours
from .._shared.folder_dataset import FolderDataset, Layout, chosen_tasks
from .adashare import AdaShareLayout
from .card import CARD
from .encodings import CLASSES_13, CLASSES_40, VAL_PART
from .official import FILE, OfficialLayout
from .preprocessed import STORED_SIZE, PreprocessedLayout

TaskName = Literal["segmentation", "depth", "normals", "contours", "reconstruction"]
LAYOUTS = {"preprocessed": "train/image", "adashare": "normal_mask", "official": FILE}
"""Layout → a path that shows it."""
HELD_CLASSES = {"preprocessed": 13, "adashare": 40}
"""Classes that a layout holds; the official file can be mapped to either number."""


class NYUv2(FolderDataset):
    """Indoor scenes: semantic segmentation, depth, surface normals; semantic contours and reconstruction if asked for.

    Silberman et al., Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012.
    """

    tasks_used: tuple[TaskName, ...] = Hyper(("segmentation", "depth", "normals"), min_length=1, help="the tasks, in order")
    classes: Literal["auto", 13, 40] = Hyper("auto", help="semantic classes; auto takes those of the layout")
    height: int = Hyper(288, ge=32, le=480, help="height of prepared images")
    width: int = Hyper(384, ge=32, le=640, help="width of prepared images")
    layout: Literal["auto", "preprocessed", "adashare", "official"] = Hyper(
        "auto", help="how the files are laid out; auto looks"
    )

    name: ClassVar[str] = "nyuv2"
    card: ClassVar[Card] = CARD
    thread_safe: ClassVar[bool] = True
    augmentation: ClassVar[Augmentation] = Augmentation(zooms=(1.0, 1.2, 1.5), flip=True)

    def __init__(self, root: Path | None, options: Mapping[str, Any]) -> None:
        super().__init__(root, options)
        self._place, self._layout_name = self.folders.find(LAYOUTS, self.layout)
        self._classes = HELD_CLASSES.get(self._layout_name, 40) if self.classes == "auto" else self.classes
        names = CLASSES_40 if self._classes == 40 else CLASSES_13
        known = None if self._layout_name == "preprocessed" else names
        weighted = self._layout_name == "adashare"  # the published loss weights belong to this layout's encodings
        available = (
            Segmentation("segmentation", self._classes, known),
            Depth("depth", unit="m", weight=3.0 if weighted else 1.0),
            Normals("normals", weight=20.0 if weighted else 1.0),
            Boundaries("contours"),
            Reconstruction("reconstruction"),
        )
        self._tasks = chosen_tasks(available, self.tasks_used)
        self._image_size = (self.height, self.width)

    def describe(self) -> dict[str, Any]:
        """The options; `layout` and `classes` are those that were found."""
        return super().describe() | {"layout": self._layout_name, "classes": self._classes}

    def split_rule(self) -> str:
        """How val was cut from train."""
        if self._layout_name == "official":
            rule = f"val: the frames of every {VAL_PART}th scene of the official train, in alphabetical order"
        else:
            rule = f"val: the last 1/{VAL_PART} of the official train's numbers (scenes are not named and may be shared)"
        return f"{rule}; test: the official test"

    def index(self) -> Mapping[str, Sequence[Key]]:
        """Train, val and test; for keys see the layouts."""
        return self._files.index()

    def load(self, key: Key) -> Sample:
        """Image and the targets of one frame."""
        sample = self._files.load(key)
        stored = {task.name for task in self._tasks if not task.from_image}
        if "contours" in stored:
            sample["contours"] = contours(sample["segmentation"])
        return {name: array for name, array in sample.items() if name == "image" or name in stored}

    def list_files(self) -> Sequence[Path]:
        """AdaShare's list of frames."""
        return [self._files.list_file] if isinstance(self._files, AdaShareLayout) else []

    def sample_files(self, key: Key) -> Iterable[Path]:
        """The raw files of one frame."""
        return self._files.sample_files(key)

    def scene(self, key: Key) -> str | None:
        """The scene's name, where the official file says it; unknown in the other layouts."""
        return self._files.scene(key)

    def find_folder(self) -> Path | None:
        """The first candidate that holds one of the layouts."""
        return self._place

    @cached_property
    def _files(self) -> Layout:
        """The reader of the layout that was found.

        Raises:
            UserError: no layout was found, or it does not hold what was asked for.
        """
        folder, name = self.folder, self._layout_name
        held = HELD_CLASSES.get(name, self._classes)
        if self._classes != held:
            raise UserError(f"nyuv2: the {name} layout holds {held} classes, not {self._classes}. Leave classes out.")
        if name == "adashare":
            return AdaShareLayout(folder, self.folders, self.image_size)
        if name == "official":
            return OfficialLayout(folder, self.folders, self._classes, self.image_size)
        if self.image_size != STORED_SIZE:
            raise UserError(
                f"nyuv2: the preprocessed layout is {STORED_SIZE[0]}×{STORED_SIZE[1]}, not {self.height}×{self.width}. "
                "Leave height and width out, or use another layout."
            )
        return PreprocessedLayout(folder, self.folders)
