"""CelebA: faces of celebrities with 40 yes-or-no attributes, in torchvision's layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from mtlbench.contract import BadSample, Card, Hyper, Key, Sample, UserError, did_you_mean
from mtlbench.tasks import Attributes

from ._shared.arrays import Array
from ._shared.folder_dataset import FolderDataset
from ._shared.reading import middle_square, read_rgb, resize_by_area

IMAGES, ATTRIBUTES, PARTITION = "img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"
IDENTITY = "identity_CelebA.txt"
SPLITS = {"0": "train", "1": "val", "2": "test"}
"""The official numbers of the splits."""

NAMES = (
    *("5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose"),
    *("Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses"),
    *("Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes"),
    *("No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling"),
    *("Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace"),
    *("Wearing_Necktie", "Young"),
)
"""The attributes, in the order of the official list."""

TREE = """\
celeba/
    img_align_celeba/NNNNNN.jpg
    list_attr_celeba.txt
    list_eval_partition.txt
    identity_CelebA.txt                         (if there: bootstraps are clustered by person)"""


class CelebA(FolderDataset):
    """Face attributes: 40 binary tasks, or groups of attributes as tasks.

    Liu et al., Deep Learning Face Attributes in the Wild, ICCV 2015, arXiv:1411.7766.
    """

    groups: dict[str, tuple[str, ...]] = Hyper(
        {}, help='tasks: name → attributes, "*" for all not named elsewhere; empty: each of the 40 attributes is a task'
    )
    size: int = Hyper(64, ge=32, le=256, help="side of prepared images in pixels")
    crop: Literal["none", "square"] = Hyper(
        "none", help="none squeezes the whole 178×218 image; square takes its middle 178×178"
    )

    name: ClassVar[str] = "celeba"
    card: ClassVar[Card] = Card(
        title="CelebA (2015)",
        summary="202,599 aligned faces of 10,177 people with 40 binary attributes; official splits of 162,770, 19,867 and "
        "19,962 images.",
        source="Liu, Luo, Wang and Tang, Deep Learning Face Attributes in the Wild, ICCV 2015; "
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        licence="non-commercial research only, under the agreement on the project's page; not to be passed on",
        obtain="Download img_align_celeba.zip, list_attr_celeba.txt, list_eval_partition.txt and identity_CelebA.txt from "
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and unpack them into one folder, as torchvision's CelebA does. "
        "Without any download: the dataset planted.",
        tree=TREE,
        defects=(
            "Attribute labels are noisy, and some (Attractive, Young) are opinions.",
            "Published protocols differ in size, crop, and in the metric that selects: numbers compare only within one.",
            "Most attributes are rare: accuracy alone says little; balanced accuracy, F1 and AP stand beside it.",
            "With 40 tasks the single-task reference takes 40 networks a seed.",
        ),
    )
    thread_safe: ClassVar[bool] = True
    defaults: ClassVar[Mapping[str, Any]] = {"epochs": 15, "batch_size": 256, "output_stride": 32}

    def __init__(self, root: Path | None, options: Mapping[str, Any]) -> None:
        super().__init__(root, options)
        self._columns = _columns(self.groups)
        self._tasks = tuple(
            Attributes(task, len(columns), tuple(NAMES[column] for column in columns))
            for task, columns in self._columns.items()
        )
        self._image_size = (self.size, self.size)

    def index(self) -> Mapping[str, Sequence[Key]]:
        """Official splits; keys are file names."""
        splits: dict[str, list[Key]] = {split: [] for split in SPLITS.values()}
        folder = self._whole_folder
        for name, value in _pairs(folder / PARTITION).items():
            if value not in SPLITS:
                raise UserError(f"celeba: {folder / PARTITION} puts {name} into split {value!r}, expected 0, 1 or 2.")
            splits[SPLITS[value]].append(name)
        return splits

    def load(self, key: Key) -> Sample:
        """One face and its attributes."""
        folder, name = self._whole_folder, str(key)
        if name not in self._labels:
            raise BadSample(f"{folder / ATTRIBUTES} has no line for {name}")
        image = read_rgb(folder / IMAGES / name)
        if self.crop == "square":
            image = middle_square(image)
        labels = self._labels[name]
        targets = {task: labels[columns] for task, columns in self._columns.items()}
        return {"image": resize_by_area(image, self.size, self.size), **targets}

    def list_files(self) -> Sequence[Path]:
        """The official lists."""
        return [self._whole_folder / name for name in (ATTRIBUTES, PARTITION, IDENTITY)]

    def sample_files(self, key: Key) -> Iterable[Path]:
        """The image."""
        return [self._whole_folder / IMAGES / str(key)]

    def find_folder(self) -> Path | None:
        """The first candidate that holds the list of attributes."""
        return self.folders.find({"torchvision": ATTRIBUTES})[0]

    def scene(self, key: Key) -> str | None:
        """The person, where the list of identities is there."""
        return self._identities.get(str(key))

    def split_rule(self) -> str:
        """How val was cut."""
        return "official splits"

    @cached_property
    def _whole_folder(self) -> Path:
        """The folder, if the images and the list of splits are in it."""
        self.folders.require(self.folder, IMAGES, PARTITION)
        return self.folder

    @cached_property
    def _identities(self) -> dict[str, str]:
        path = self._whole_folder / IDENTITY
        return _pairs(path) if path.exists() else {}

    @cached_property
    def _labels(self) -> dict[str, Array]:
        """File name → int8 [40], 0 or 1."""
        path = self._whole_folder / ATTRIBUTES
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) < 2 or tuple(lines[1].split()) != NAMES:
            raise UserError(
                f"celeba: the second line of {path} does not name the {len(NAMES)} attributes in official order."
            )
        labels: dict[str, Array] = {}
        for number, line in enumerate(lines[2:], 3):
            name, *values = line.split()
            if len(values) != len(NAMES) or not set(values) <= {"1", "-1"}:
                raise UserError(f"celeba: line {number} of {path} ({name}) is not {len(NAMES)} times 1 or -1.")
            labels[name] = np.array([value == "1" for value in values], np.int8)
        return labels


def _columns(groups: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Task → columns of the official list.

    Raises:
        UserError: an unknown attribute (with the nearest known one), or a group without any.
    """
    if not groups:
        return {name: [column] for column, name in enumerate(NAMES)}
    named = {attribute for attributes in groups.values() for attribute in attributes}
    columns: dict[str, list[int]] = {}
    for task, attributes in groups.items():
        for attribute in attributes:
            if attribute != "*" and attribute not in NAMES:
                raise UserError(f"celeba: group {task!r} names {attribute!r}.{did_you_mean(attribute, NAMES)}")
        chosen = [name for name in NAMES if name in attributes or ("*" in attributes and name not in named)]
        if not chosen:
            raise UserError(f"celeba: group {task!r} has no attributes.")
        columns[task] = [NAMES.index(name) for name in chosen]
    return columns


def _pairs(path: Path) -> dict[str, str]:
    """The lines `NAME VALUE` of a list.

    Raises:
        UserError: a line has another form.
    """
    pairs: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2:
            raise UserError(f"celeba: line {number} of {path} is {line!r}, expected a file name and a number.")
        pairs[words[0]] = words[1]
    return pairs
