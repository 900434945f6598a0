"""Cityscapes: street scenes of European cities, with semantic classes and inverse depth; parts, normals and more if asked.

Reads the official folders (PNG, 2048×1024, resized here) and the preprocessed ones that many multi-task papers use
(NumPy arrays of 128×256). Depth is not the same quantity in the two: inverse depth in 1/m in the official layout, raw
disparity / 65535 in the preprocessed one; the task's unit says which. Shifted test sets (synthetic fog and rain, ACDC) are
read where they lie beside the official folders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from mtlbench.contract.dataset import Augmentation, BadSample, Card, Dataset, Key, Sample
from mtlbench.contract.hyper import Hyper
from mtlbench.datasets._cityscapes_encodings import (
    CATEGORIES,
    CLASSES,
    IGNORE,
    PARTS,
    inverse_depth,
    label_table,
    part_labels,
    require_known_ids,
    surface_normals,
)
from mtlbench.datasets._cityscapes_shifts import ACDC, SYNTHETIC, acdc_paths, clean_stem, shifted_splits, synthetic_image
from mtlbench.datasets._derived import contours
from mtlbench.datasets._files import (
    Array,
    nearest,
    read_array,
    read_map,
    read_rgb,
    require_finite,
    require_range,
    require_shape,
    shrunk,
)
from mtlbench.datasets._folders import Folders, existing
from mtlbench.errors import UserError
from mtlbench.tasks import Boundaries, Depth, Normals, Reconstruction, Segmentation
from mtlbench.tasks.base import Task

VAL_CITIES = ("dusseldorf", "monchengladbach", "zurich")
"""Every sixth of the 18 training cities in alphabetical order: 437 of 2,975 images."""
VAL_EVERY = 7
"""In the preprocessed layout, whose files have no names: indices divisible by this, 425 of 2,975 images."""
STORED_SIZE = (128, 256)
"""Height and width of the preprocessed layout."""

IMAGE, LABEL, DISPARITY, PART = "leftImg8bit", "gtFine", "disparity", "gtFinePanopticParts"
SUFFIXES = {
    IMAGE: "_leftImg8bit.png",
    LABEL: "_gtFine_labelIds.png",
    DISPARITY: "_disparity.png",
    PART: "_gtFinePanopticParts.tif",
}
TaskName = Literal["segmentation", "depth", "parts", "normals", "contours", "reconstruction"]
SIGNS = {"official": IMAGE, "preprocessed": "train/image"}
OFFICIAL_ONLY = ("parts", "normals")

TREE = """\
cityscapes/                                    official layout
    leftImg8bit/{train,val}/CITY/*_leftImg8bit.png
    gtFine/{train,val}/CITY/*_gtFine_labelIds.png
    disparity/{train,val}/CITY/*_disparity.png
    gtFinePanopticParts/{train,val}/CITY/*_gtFinePanopticParts.tif    (for the task parts)
    leftImg8bit_foggy/val/CITY/*_leftImg8bit_foggy_beta_*.png         (optional: test-foggy-0.005, -0.01, -0.02)
    leftImg8bit_rain/val/CITY/*_leftImg8bit_rain_alpha_*_beta_*_dropsize_*_pattern_*.png  (optional: test-rain-ALPHA)
    rgb_anon/{fog,night,rain,snow}/val/SEQUENCE/*_rgb_anon.png        (optional, ACDC: test-acdc-fog, …)
    gt/{fog,night,rain,snow}/val/SEQUENCE/*_gt_labelIds.png           (with rgb_anon)
cityscapes/                                    or the preprocessed layout, 128×256
    {train,val}/image/N.npy
    {train,val}/label/N.npy                    (or label_7/N.npy, label_19/N.npy)
    {train,val}/depth/N.npy"""


class Cityscapes(Dataset):
    """Street scenes of European cities: semantic segmentation and inverse depth; further tasks if asked for.

    Cordts et al., CVPR 2016, arXiv:1604.01685; parts: de Geus et al., CVPR 2021, arXiv:2106.06351.
    """

    tasks_used: tuple[TaskName, ...] = Hyper(
        ("segmentation", "depth"),
        help="the tasks, in order; beside these two: parts, normals, contours, reconstruction",
        check="1 <= len(v)",
    )
    classes: Literal[7, 19] = Hyper(19, help="the 19 evaluated classes, or the 7 categories that they belong to")
    height: int = Hyper(128, check="32 <= v <= 1024", help="height of prepared images (official layout)")
    width: int = Hyper(256, check="32 <= v <= 2048", help="width of prepared images (official layout)")
    layout: Literal["auto", "official", "preprocessed"] = Hyper("auto", help="how the files are laid out; auto looks")

    card: ClassVar[Card] = Card(
        title="Cityscapes (2016)",
        summary="Street scenes of German and Swiss cities: 2,975 training images and 500 test images (the official val), "
        "with fine semantic labels and stereo disparity.",
        source="Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016; "
        "https://www.cityscapes-dataset.com",
        licence="non-commercial research, after registration; not to be passed on; the optional shifted sets have terms of "
        "their own",
        obtain="Register at https://www.cityscapes-dataset.com/login/, download leftImg8bit_trainvaltest.zip, "
        "gtFine_trainvaltest.zip and disparity_trainvaltest.zip, and unpack them into one folder. "
        "Optional, into the same folder: leftImg8bit_trainvaltest_foggy.zip and leftImg8bit_trainval_rain.zip from there, "
        "rgb_anon_trainvaltest.zip and gt_trainval.zip from https://acdc.vision.ee.ethz.ch/download. "
        "Without any download: the datasets streets and multidigits.",
        tree=TREE,
        defects=(
            "The official test labels are not public: test is the official val, and val is cut from the official train.",
            "Disparity comes from stereo matching: noisy, and missing (masked) where nothing matched.",
            "Official depth: inverse depth in 1/m, disparity / (0.209313 · 2262.52) with one camera for all cities; raw "
            "values 0 (missing) and 1 (infinitely far) are masked.",
            "Preprocessed depth: raw disparity/65535, an inverse depth up to scale and offset; raw values 0 and 1 are "
            "masked. Code bases mask differently, and published relative errors depend on those pixels.",
            "Preprocessed layout: files have no names, so val cannot be cut by city: scenes of one city, or even one drive, "
            "are in train and val. Images are stored as fractions and rounded to 8 bits here.",
            "Normals (official layout) are computed here from the resized depth, up to 80 m, with one camera for all.",
            "Parts: 9 parts of people and vehicles and background; of these, pixels whose part is not known are void.",
            "Contours: pixels in whose 3x3 neighbourhood two labels of the classes meet, void included.",
            "What the official evaluation ignores (parking, bridge, caravan, …) is void in the 7 categories too (official).",
            "Shifted test sets (official layout): file names follow their descriptions and code that reads them; read here "
            "from made-up files only. Images and labels of different sizes are refused, and so are unknown label ids.",
            "test-foggy-β: Foggy Cityscapes (Sakaridis et al., IJCV 2018), β in 1/m; test-rain-α: RainCityscapes (Hu et "
            "al., CVPR 2019), several rain patterns a frame. Labels and disparity are those of the clean val frames.",
            "test-acdc-*: val of ACDC (Sakaridis et al., ICCV 2021; other cameras and places), 1080×1920 and thus squeezed "
            "in height at this dataset's usual 1:2. Labelled for segmentation only, so left out where that is not a task; "
            "what its annotators could not see for sure is scored like the rest (gt_invIds is not read).",
        ),
    )
    thread_safe: ClassVar[bool] = True  # decoding PNGs of 2 megapixels is what preparing costs
    augmentation: ClassVar[Augmentation] = Augmentation(zooms=(1.0, 1.2, 1.5), flip=True)

    def __init__(self, root: Path | None, options: Mapping[str, Any]) -> None:
        super().__init__(root, options)
        self._folders = Folders("cityscapes", self.card, root)
        self._folder, self._found = self._folders.find(SIGNS, self.layout)
        names = tuple(CLASSES) if self.classes == 19 else CATEGORIES
        unit = "raw disparity/65535" if self._found == "preprocessed" else "1/m"
        every: dict[str, Task] = {
            "segmentation": Segmentation("segmentation", self.classes, names),
            "depth": Depth("depth", inverse=True, unit=unit),
            "parts": Segmentation("parts", len(PARTS), PARTS),
            "normals": Normals("normals"),
            "contours": Boundaries("contours"),
            "reconstruction": Reconstruction("reconstruction"),
        }
        self._tasks = tuple(every[name] for name in dict.fromkeys(self.tasks_used))
        self._ids_to_labels = label_table(self.classes)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Those asked for; depth is inverse depth (or disparity, see the unit)."""
        return self._tasks

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def describe(self) -> dict[str, Any]:
        """The options; `layout` is the one that was found."""
        return super().describe() | {"layout": self._found}

    def split_rule(self) -> str:
        """How val was cut from train."""
        if self._found == "preprocessed":
            rule = f"val: train files with a number divisible by {VAL_EVERY} (not by city, no names: scenes may leak)"
        else:
            rule = f"val: the train cities {', '.join(VAL_CITIES)} (every sixth in alphabetical order)"
        return f"{rule}; test: the official val"

    def index(self) -> Mapping[str, Sequence[Key]]:
        """Train, val, test and the shifted test sets found; keys are (official split or shifted set, city, stem), with the
        sequence for the city in ACDC, or (official split, number).
        """
        if self._folder is None:
            raise self._folders.not_found("" if self.layout == "auto" else self.layout)
        if self._found == "preprocessed" and (wanted := [name for name in self.tasks_used if name in OFFICIAL_ONLY]):
            raise UserError(
                f"cityscapes: {', '.join(wanted)} cannot be had from the preprocessed layout. Use the official one."
            )
        return self._index_preprocessed() if self._found == "preprocessed" else self._index_official()

    def load(self, key: Key) -> Sample:
        """Image and targets of one sample."""
        if not isinstance(key, tuple):
            raise BadSample(f"cityscapes has no sample {key!r}")
        sample = self._load_preprocessed(*key) if self._found == "preprocessed" else self._load_official(*key)
        labelled = ("segmentation",) if key[0] in ACDC else self.tasks_used
        if "contours" in labelled:
            sample["contours"] = contours(sample["segmentation"])
        if "normals" in labelled:
            sample["normals"] = surface_normals(sample["depth"][0])
        stored = {"image", *(task.name for task in self._tasks if task.name in labelled and not task.from_image)}
        return {name: value for name, value in sample.items() if name in stored}

    def files(self) -> Sequence[Path]:
        """All raw files that exist, of every sample, each once."""
        return existing(path for keys in self.index().values() for key in keys for path in self._paths(key).values())

    def scene(self, key: Key) -> str | None:
        """City and sequence, or ACDC's sequence; unknown in the preprocessed layout."""
        if self._found == "preprocessed" or not isinstance(key, tuple):
            return None
        return str(key[1]) if key[0] in ACDC else "_".join(str(key[2]).split("_")[:2])

    # Images before they are resized

    @property
    def has_native_images(self) -> bool:
        """Whether the layout found, or looked for, is the official one."""
        return self._found == "official"

    def native_image(self, key: Key) -> Array:
        """An image of the official layout as it was taken: uint8 [h, w, 3], 1024×2048, or 1080×1920 of ACDC."""
        return np.array(read_rgb(self._paths(key)[IMAGE]))

    def fit_image(self, image: Array) -> Array:
        """A native image, uint8 [h, w, 3], resized as `load` does it: uint8 [height, width, 3]."""
        return shrunk(Image.fromarray(image), self.height, self.width)

    # Finding files

    def _paths(self, key: Key) -> dict[str, Path]:
        assert self._folder is not None and isinstance(key, tuple)
        if self._found == "preprocessed":
            split, number = key
            folders = {IMAGE: "image", LABEL: self._label_folder(), DISPARITY: "depth"}
            return {kind: self._folder / split / folder / f"{number}.npy" for kind, folder in folders.items()}
        split, city, stem = key
        if split in ACDC:
            return dict(zip((IMAGE, LABEL), acdc_paths(self._folder, split, city, stem), strict=True))
        changed = {}
        if split in SYNTHETIC:
            changed = {IMAGE: synthetic_image(self._folder, split, city, stem)}
            split, stem = "val", clean_stem(stem)
        return {kind: self._folder / kind / split / city / f"{stem}{SUFFIXES[kind]}" for kind in self._kinds} | changed

    @property
    def _kinds(self) -> tuple[str, ...]:
        """The folders of the official layout that are read."""
        return IMAGE, LABEL, DISPARITY, *([PART] if "parts" in self.tasks_used else [])

    def _label_folder(self) -> str:
        """`label_7` or `label_19` where there is one, else `label`."""
        assert self._folder is not None
        named = f"label_{self.classes}"
        return named if (self._folder / "train" / named).is_dir() else "label"

    # The official layout

    def _index_official(self) -> Mapping[str, Sequence[Key]]:
        assert self._folder is not None
        self._folders.require(self._folder, *(f"{kind}/{split}" for kind in self._kinds for split in ("train", "val")))
        splits: dict[str, list[Key]] = {"train": [], "val": [], "test": []}
        for official in ("train", "val"):
            for path in sorted((self._folder / IMAGE / official).glob(f"*/*{SUFFIXES[IMAGE]}")):
                city, stem = path.parent.name, path.name.removesuffix(SUFFIXES[IMAGE])
                split = "test" if official == "val" else "val" if city in VAL_CITIES else "train"
                splits[split].append((official, city, stem))
        return splits | shifted_splits(self._folders, self._folder, with_acdc="segmentation" in self.tasks_used)

    def _load_official(self, split: str, city: str, stem: str) -> Sample:
        paths = self._paths((split, city, stem))
        picture = read_rgb(paths[IMAGE])
        size = (picture.height, picture.width)
        ids = require_known_ids(paths[LABEL], read_map(paths[LABEL], size))
        sample: Sample = {
            "image": shrunk(picture, self.height, self.width),
            "segmentation": nearest(self._ids_to_labels[ids], self.height, self.width),
        }
        if DISPARITY in paths:
            raw = require_range(paths[DISPARITY], read_map(paths[DISPARITY], size), 0, 65535, "raw disparity")
            sample["depth"] = inverse_depth(nearest(raw, self.height, self.width))[None]
        if PART in paths:
            uids = read_map(paths[PART], size)
            sample["parts"] = nearest(part_labels(paths[PART], uids), self.height, self.width)
        return sample

    # The preprocessed layout

    def _index_preprocessed(self) -> Mapping[str, Sequence[Key]]:
        assert self._folder is not None
        if self.image_size != STORED_SIZE:
            raise UserError(
                f"cityscapes: the preprocessed layout is {STORED_SIZE[0]}×{STORED_SIZE[1]}, not "
                f"{self.height}×{self.width}. Leave height and width out, or use the official layout."
            )
        folders = ("image", self._label_folder(), "depth")
        self._folders.require(self._folder, *(f"{split}/{folder}" for split in ("train", "val") for folder in folders))
        splits: dict[str, list[Key]] = {"train": [], "val": [], "test": []}
        for official in ("train", "val"):
            stems = [path.stem for path in (self._folder / official / "image").glob("*.npy")]
            for number in sorted(int(stem) for stem in stems if stem.isdecimal()):
                split = "test" if official == "val" else "train" if number % VAL_EVERY else "val"
                splits[split].append((official, number))
        self._refuse_categories_as_classes(splits["train"])
        return splits

    def _refuse_categories_as_classes(self, keys: Sequence[Key]) -> None:
        """A folder `label` does not say what it holds: 19 classes always go beyond the first 7 within a few images."""
        if self.classes == 7 or self._label_folder() != "label":
            return
        paths = [self._paths(key)[LABEL] for key in keys[:20]]
        highest = -1.0
        for path in paths:
            with suppress(BadSample):  # whoever loads it says what is wrong with it
                highest = max(highest, float(read_array(path).max()))
        if 0 <= highest < len(CATEGORIES):
            raise UserError(f"cityscapes: {paths[0].parent} holds 7 categories, not 19 classes. Set classes to 7.")

    def _load_preprocessed(self, split: str, number: int) -> Sample:
        paths = self._paths((split, number))
        height, width = STORED_SIZE
        flat = ((height, width), (height, width, 1), (1, height, width))
        image = require_shape(paths[IMAGE], read_array(paths[IMAGE]), (height, width, 3))
        labels = require_shape(paths[LABEL], read_array(paths[LABEL]), *flat).reshape(height, width)
        depth = require_shape(paths[DISPARITY], read_array(paths[DISPARITY]), *flat).reshape(1, height, width)
        require_range(paths[IMAGE], image, 0, 1, "colours")
        require_range(paths[DISPARITY], depth, 0, 1, "raw disparity/65535")
        whole = np.rint(require_finite(paths[LABEL], labels)).astype(np.int64)
        wrong = (whole != labels) | (whole < -1) | ((whole >= self.classes) & (whole != IGNORE))
        if wrong.any():
            values = ", ".join(f"{value:g}" for value in np.unique(labels[wrong])[:5])
            raise BadSample(f"{paths[LABEL]} holds labels {values}, expected 0 to {self.classes - 1}, or -1")
        return {
            "image": np.rint(image * 255).astype(np.uint8),
            "segmentation": np.where(whole < 0, IGNORE, whole).astype(np.uint8),
            # Between raw 1 (infinitely far) and raw 2, so that no rounding of the stored fraction matters.
            "depth": np.where(depth * 65535 > 1.5, depth, 0).astype(np.float32),
        }
