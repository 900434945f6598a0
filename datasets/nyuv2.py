"""NYU Depth v2: indoor scenes with semantic classes, depth in metres and surface normals, in three layouts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from mtlbench.contract.dataset import Augmentation, BadSample, Card, Dataset, Key, Sample
from mtlbench.contract.hyper import Hyper
from mtlbench.datasets import _nyuv2_encodings as encodings
from mtlbench.datasets._derived import contours, optical_axis, unit
from mtlbench.datasets._files import nearest, read_array, read_map, read_rgb, require_range, require_shape, shrunk
from mtlbench.datasets._folders import Folders, existing, numbers
from mtlbench.datasets._nyuv2_official import FILE, OfficialFile
from mtlbench.errors import UserError
from mtlbench.tasks import Boundaries, Depth, Normals, Reconstruction, Segmentation
from mtlbench.tasks.base import Task

VAL_PART = 7
"""One part in seven of the official train is val."""
STORED_SIZE = (288, 384)
FRAME_SIZE = (480, 640)
SPLIT_FILE = "nyu_v2_3task.json"
SIGNS = {"preprocessed": "train/image", "adashare": "normal_mask", "official": FILE}
HELD = {"preprocessed": 13, "adashare": 40}
"""Classes that a layout holds; the official file can be mapped to either number."""

TREE = """\
nyuv2/                                          preprocessed layout, 288×384, 13 classes
    {train,val}/{image,label,depth,normal}/N.npy
nyuv2/                                          or the AdaShare layout, 480×640, 40 classes
    img/N.png  seg/N.png  depth/N.npy  normal_mask/N.png
    nyu_v2_3task.json                           (which frames are for training and testing)
nyuv2/                                          or the official labelled file, 480×640
    nyu_depth_v2_labeled.mat  splits.mat  classMapping40.mat
    class13Mapping.mat                          (for 13 classes)"""

TaskName = Literal["segmentation", "depth", "normals", "contours", "reconstruction"]


class NYUv2(Dataset):
    """Indoor scenes: semantic segmentation, depth, surface normals; semantic contours and reconstruction if asked for.

    Silberman et al., Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012.
    """

    tasks_used: tuple[TaskName, ...] = Hyper(
        ("segmentation", "depth", "normals"), help="the tasks, in order", check="1 <= len(v)"
    )
    classes: Literal["auto", 13, 40] = Hyper("auto", help="semantic classes; auto takes those of the layout")
    height: int = Hyper(288, check="32 <= v <= 480", help="height of prepared images")
    width: int = Hyper(384, check="32 <= v <= 640", help="width of prepared images")
    layout: Literal["auto", "preprocessed", "adashare", "official"] = Hyper(
        "auto", help="how the files are laid out; auto looks"
    )

    card: ClassVar[Card] = Card(
        title="NYU Depth v2 (2012)",
        summary="Indoor scenes seen by a Kinect: 795 training and 654 test frames with semantic labels and depth.",
        source="Silberman, Hoiem, Kohli and Fergus, Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012; "
        "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html",
        licence="no licence is stated by its makers that we know of; used for research",
        obtain="Official: download nyu_depth_v2_labeled.mat (2.8 GB) from "
        "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html, and beside it splits.mat (the same page), "
        "classMapping40.mat (Gupta et al., CVPR 2013) and, for 13 classes, class13Mapping.mat "
        "(https://github.com/ankurhanda/nyuv2-meta-data). Preprocessed: linked from "
        "https://github.com/lorenmt/mtan. AdaShare's: linked from https://github.com/sunxm2357/AdaShare. "
        "Without any download: the dataset streets.",
        tree=TREE,
        defects=(
            "Val is cut from the official train; test is the official test (which many papers also select on).",
            "Depth is in-painted where the Kinect saw nothing: those pixels count as valid in every layout.",
            "Official layout: the file holds no normals; they are computed here from the in-painted depth, and are not "
            "the ones of the other layouts.",
            "AdaShare layout: normals are decoded to unit vectors and white pixels masked (the official code uses the "
            "raw bytes); stored axes x, forward, up become x right, y down, z forward.",
            "Preprocessed layout: which stored axis lies along the optical axis is found from the data. "
            "Unsure: its class names, and whether its numbers are in the official order.",
            "Frames of one scene look alike. Only the official file names scenes: elsewhere val is the last part of the "
            "training numbers, and train and val may share scenes.",
            "13, 40 classes and the three resolutions are used in the literature: numbers compare only where all agree.",
            "Contours, if asked for, are drawn from the labels: pixels in whose 3x3 neighbourhood two labels meet, "
            "void included.",
        ),
    )
    thread_safe: ClassVar[bool] = True
    augmentation: ClassVar[Augmentation] = Augmentation(zooms=(1.0, 1.2, 1.5), flip=True)

    def __init__(self, root: Path | None, options: Mapping[str, Any]) -> None:
        super().__init__(root, options)
        self._folders = Folders("nyuv2", self.card, root)
        self._folder, self._found = self._folders.find(SIGNS, self.layout)
        self._classes = HELD.get(self._found, 40) if self.classes == "auto" else self.classes
        names = encodings.CLASSES_40 if self._classes == 40 else encodings.CLASSES_13
        known = None if self._found == "preprocessed" else names
        published = self._found == "adashare"
        every: dict[str, Task] = {
            "segmentation": Segmentation("segmentation", self._classes, known),
            "depth": Depth("depth", unit="m", weight=3.0 if published else 1.0),
            "normals": Normals("normals", weight=20.0 if published else 1.0),
            "contours": Boundaries("contours"),
            "reconstruction": Reconstruction("reconstruction"),
        }
        self._tasks = tuple(every[name] for name in dict.fromkeys(self.tasks_used))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks asked for."""
        return self._tasks

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def describe(self) -> dict[str, Any]:
        """The options; `layout` and `classes` are those that were found."""
        return super().describe() | {"layout": self._found, "classes": self._classes}

    def split_rule(self) -> str:
        """How val was cut from train."""
        if self._found == "official":
            rule = f"val: the frames of every {VAL_PART}th scene of the official train, in alphabetical order"
        else:
            rule = f"val: the last 1/{VAL_PART} of the official train's numbers (scenes are not named and may be shared)"
        return f"{rule}; test: the official test"

    def index(self) -> Mapping[str, Sequence[Key]]:
        """Train, val and test; keys are (official split, number), the frame's name, or its number from 1."""
        folder = self._require_folder()
        if self._found == "preprocessed":
            return self._index_preprocessed(folder)
        if self._found == "adashare":
            return self._index_adashare(folder)
        train, test = self._official.splits()
        scenes = sorted({self._official.scene(number) for number in train})
        held_out = set(scenes[VAL_PART - 1 :: VAL_PART])
        return {
            "train": [number for number in train if self._official.scene(number) not in held_out],
            "val": [number for number in train if self._official.scene(number) in held_out],
            "test": test,
        }

    def load(self, key: Key) -> Sample:
        """Image and the targets of one frame."""
        if self._found == "preprocessed":
            everything = self._load_preprocessed(key)
        elif self._found == "adashare":
            everything = self._load_adashare(key)
        else:
            everything = self._load_official(key)
        stored = {task.name for task in self._tasks if not task.from_image}
        if "contours" in stored:
            everything["contours"] = contours(everything["segmentation"])
        return {name: value for name, value in everything.items() if name == "image" or name in stored}

    def files(self) -> Sequence[Path]:
        """All raw files that exist."""
        folder = self._require_folder()
        if self._found == "official":
            return existing(self._official.paths)
        keys = [key for keys in self.index().values() for key in keys]
        listed = [folder / SPLIT_FILE] if self._found == "adashare" else []
        return existing([*listed, *(path for key in keys for path in self._paths(key).values())])

    def scene(self, key: Key) -> str | None:
        """The scene's name; unknown outside the official file."""
        return self._official.scene(int(str(key))) if self._found == "official" else None

    # Finding files

    def _require_folder(self) -> Path:
        if self._folder is None:
            raise self._folders.not_found("" if self.layout == "auto" else self.layout)
        held = HELD.get(self._found, self._classes)
        if self._classes != held:
            raise UserError(f"nyuv2: the {self._found} layout holds {held} classes, not {self._classes}. Leave classes out.")
        if self._found == "preprocessed" and self.image_size != STORED_SIZE:
            raise UserError(
                f"nyuv2: the preprocessed layout is {STORED_SIZE[0]}×{STORED_SIZE[1]}, not {self.height}×{self.width}. "
                "Leave height and width out, or use another layout."
            )
        return self._folder

    @cached_property
    def _official(self) -> OfficialFile:
        return OfficialFile(self._require_folder(), self._folders, self._classes)

    def _paths(self, key: Key) -> dict[str, Path]:
        """The files of one sample by task."""
        assert self._folder is not None
        if self._found == "adashare":
            places = {"image": "img", "segmentation": "seg", "depth": "depth", "normals": "normal_mask"}
            return {
                task: self._folder / place / f"{key}{'.npy' if place == 'depth' else '.png'}"
                for task, place in places.items()
            }
        if not isinstance(key, tuple):
            raise BadSample(f"nyuv2 has no sample {key!r}")
        split, number = key
        places = {"image": "image", "segmentation": "label", "depth": "depth", "normals": "normal"}
        return {task: self._folder / str(split) / place / f"{number}.npy" for task, place in places.items()}

    # The preprocessed layout

    def _index_preprocessed(self, folder: Path) -> Mapping[str, Sequence[Key]]:
        kinds = ("image", "label", "depth", "normal")
        self._folders.require(folder, *(f"{split}/{kind}" for split in ("train", "val") for kind in kinds))
        train: list[Key] = [("train", number) for number in numbers(folder / "train" / "image", ".npy")]
        test: list[Key] = [("val", number) for number in numbers(folder / "val" / "image", ".npy")]
        return {**_cut(train), "test": test}

    @cached_property
    def _optical_axis(self) -> int:
        """The stored channel along the optical axis, from the first training frames."""
        vectors = []
        for key in self.index()["train"][:8]:
            path = self._paths(key)["normals"]
            with suppress(BadSample):  # whoever loads it says what is wrong with it
                vectors.append(unit(_channels_first(path, read_array(path), 3)).reshape(3, -1))
        return optical_axis(np.concatenate(vectors, 1)) if vectors else 2

    def _load_preprocessed(self, key: Key) -> Sample:
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
            "segmentation": encodings.labels(paths["segmentation"], label, self._classes),
            "depth": encodings.depth(paths["depth"], metres),
            "normals": unit(vectors),
        }

    # The AdaShare layout

    def _index_adashare(self, folder: Path) -> Mapping[str, Sequence[Key]]:
        path = folder / SPLIT_FILE
        if not path.exists():
            raise self._folders.missing(path, "it says which frames are for training and which for testing")
        try:
            listed = json.loads(path.read_text(encoding="utf-8"))
            train, test = ([Path(files[0]).stem for files in listed[split]] for split in ("train", "test"))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(f"nyuv2: {path} is not as expected ({error}): lists of files for 'train' and 'test'.") from None
        return {**_cut(sorted(train)), "test": sorted(test)}

    def _load_adashare(self, key: Key) -> Sample:
        paths = self._paths(key)
        picture = read_rgb(paths["image"])
        size = (picture.height, picture.width)
        label = encodings.labels(paths["segmentation"], read_map(paths["segmentation"], size), self._classes)
        metres = encodings.depth(paths["depth"], require_shape(paths["depth"], read_array(paths["depth"]), size))
        code = np.asarray(read_rgb(paths["normals"]))
        vectors = encodings.normals_from_bytes(require_shape(paths["normals"], code, (*size, 3)))
        return self._resized(picture, label, metres, vectors)

    # The official layout

    def _load_official(self, key: Key) -> Sample:
        image, label, metres, vectors = self._official.frame(int(str(key)))
        return self._resized(Image.fromarray(image), label, metres, vectors)

    def _resized(self, picture: Image.Image, *targets: np.ndarray) -> Sample:
        label, metres, vectors = (nearest(target, self.height, self.width) for target in targets)
        return {
            "image": shrunk(picture, self.height, self.width),
            "segmentation": label,
            "depth": metres,
            "normals": vectors,
        }


def _cut(train: Sequence[Key]) -> dict[str, Sequence[Key]]:
    """Train and val: the last frames, in one piece, because neighbours are likely to show one scene."""
    keep = len(train) - len(train) // VAL_PART
    return {"train": train[:keep], "val": train[keep:]}


def _channels_first(path: Path, array: np.ndarray, channels: int) -> np.ndarray:
    """A stored map of the preprocessed layout as [channels, H, W]; channels may be first, last, or left out if one."""
    height, width = STORED_SIZE
    flat = ((height, width),) if channels == 1 else ()
    require_shape(path, array, (channels, height, width), (height, width, channels), *flat)
    if array.shape == (height, width, channels):
        return np.moveaxis(array, 2, 0)
    return array.reshape(channels, height, width)
