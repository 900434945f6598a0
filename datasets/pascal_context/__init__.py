"""PASCAL-Context with five tasks: classes, human parts, saliency, normals and edges, in the layout of PASCAL-MT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from mtlbench.contract import Augmentation, Card, Hyper, Key, Sample
from mtlbench.tasks import Boundaries, Normals, Saliency, Segmentation

from .._shared.folder_dataset import FolderDataset, chosen_tasks
from .._shared.reading import class_labels, read_map, read_rgb, require_shape, resize_by_area, resize_nearest
from .encodings import (
    CLASSES,
    IGNORE,
    NORMAL_LISTS,
    PARTS,
    contexts,
    distilled_normals,
    edges,
    human_parts,
    normal_categories,
)

VAL_EVERY = 7
"""Every seventh image of the official train is val's."""

TREE = """\
pascal_context/                                 (or PASCALContext, PASCAL_MT below the named folder)
    JPEGImages/ID.jpg
    ImageSets/Context/{train,val}.txt
    semseg/VOC12/ID.png                         (or semseg/pascal-context/ID.png)
    human_parts/ID.mat
    sal_distill/ID.png
    normals_distill/ID.png
    pascal-context/trainval/ID.mat              (for edges, and where normals are valid)
    json/{nyu_classes,context_classes}.json     (for normals)"""

TaskName = Literal["segmentation", "human_parts", "saliency", "normals", "edges"]


class PascalContext(FolderDataset):
    """Semantic segmentation, human parts, saliency, surface normals and edges on PASCAL's photographs.

    Chen et al., CVPR 2014 (PASCAL-Part); Mottaghi et al., CVPR 2014 (PASCAL-Context); as multi-task data by Maninis et al.,
    Attentive Single-Tasking of Multiple Tasks, CVPR 2019, arXiv:1904.08918.
    """

    tasks_used: tuple[TaskName, ...] = Hyper(
        ("segmentation", "human_parts", "saliency", "normals", "edges"), min_length=1, help="the tasks, in order"
    )
    size: int = Hyper(256, ge=32, le=512, help="side of prepared images in pixels; published networks see 512")

    name: ClassVar[str] = "pascal_context"
    card: ClassVar[Card] = Card(
        title="PASCAL-Context, multi-task (2014, 2019)",
        summary="Photographs of PASCAL VOC 2010 with five dense tasks: 4,998 for training, 5,105 for testing.",
        source="Mottaghi et al., The Role of Context, CVPR 2014; Chen et al., Detect What You Can, CVPR 2014; "
        "Maninis, Radosavovic and Kokkinos, CVPR 2019, https://github.com/facebookresearch/astmt",
        licence="photographs from flickr, under its terms of use, as PASCAL VOC says; annotations: see their pages",
        obtain="Download the archive that https://github.com/facebookresearch/astmt or "
        "https://github.com/SimonVandenhende/Multi-Task-Learning-PyTorch links, and unpack it. "
        "Without any download: the dataset streets.",
        tree=TREE,
        defects=(
            "Normals and saliency are distilled: predictions of other networks, not measurements.",
            "The official val serves as test (there is none); val is cut from the official train.",
            "Human parts are labelled only where a person is in the image; elsewhere the task has no label.",
            "Normals are valid only in categories that NYUv2 has too; their axes are kept as stored (unsure beyond x).",
            "Images are resized to a square, so their shape changes; published metrics are computed at the original size.",
            "Edges are drawn from the 459 categories at the prepared size, one pixel wide; published ones are a thinned "
            "Laplacian at full size, scored with tolerance (SEISM odsF): the two cannot be compared.",
        ),
    )
    thread_safe: ClassVar[bool] = True
    augmentation: ClassVar[Augmentation] = Augmentation(zooms=(0.8, 1.0, 1.2), flip=True)

    def __init__(self, root: Path | None, options: Mapping[str, Any]) -> None:
        super().__init__(root, options)
        # The loss weights are those of Vandenhende et al., TPAMI 2021.
        available = (
            Segmentation("segmentation", len(CLASSES), CLASSES),
            Segmentation("human_parts", len(PARTS), PARTS, weight=2.0),
            Saliency("saliency", weight=5.0),
            Normals("normals", weight=10.0),
            Boundaries("edges", weight=50.0),
        )
        self._tasks = chosen_tasks(available, self.tasks_used)
        self._image_size = (self.size, self.size)

    def index(self) -> Mapping[str, Sequence[Key]]:
        """Train, val and test; keys are the photographs' names."""
        official = {split: self._listed(split) for split in ("train", "val")}
        val = official["train"][VAL_EVERY - 1 :: VAL_EVERY]
        held_out = set(val)
        train = [name for name in official["train"] if name not in held_out]
        return {"train": train, "val": val, "test": official["val"]}

    def load(self, key: Key) -> Sample:
        """One photograph with the targets it has."""
        paths, side = self._paths(str(key)), self.size
        image = read_rgb(paths["image"])
        full_size = (image.height, image.width)
        sample: Sample = {"image": resize_by_area(image, side, side)}
        wanted = set(self.tasks_used)
        if "segmentation" in wanted:
            stored = read_map(paths["segmentation"], full_size)
            label = class_labels(paths["segmentation"], stored, len(CLASSES), IGNORE)
            sample["segmentation"] = resize_nearest(label, side, side)
        if "human_parts" in wanted:
            parts = human_parts(paths["human_parts"], full_size)
            if parts is not None:
                sample["human_parts"] = resize_nearest(parts, side, side)
        if "saliency" in wanted:
            salient = (read_map(paths["saliency"], full_size) > 127).astype(np.uint8)
            sample["saliency"] = resize_nearest(salient, side, side)[None]
        if wanted & {"normals", "edges"}:
            context = resize_nearest(contexts(paths["edges"], full_size), side, side)
            if "edges" in wanted:
                sample["edges"] = edges(context)
            if "normals" in wanted:
                code = require_shape(paths["normals"], np.asarray(read_rgb(paths["normals"])), (*full_size, 3))
                small = resize_nearest(code.transpose(2, 0, 1), side, side).transpose(1, 2, 0)
                sample["normals"] = distilled_normals(small, context, self._normal_categories)
        return sample

    def list_files(self) -> Sequence[Path]:
        """The official lists, and those that say where normals are valid."""
        lists = [self._list(split) for split in ("train", "val")]
        return [*lists, *(self.folder / name for name in NORMAL_LISTS if "normals" in self.tasks_used)]

    def sample_files(self, key: Key) -> Iterable[Path]:
        """The raw files of one photograph that the tasks asked for need."""
        return self._paths(str(key)).values()

    def find_folder(self) -> Path | None:
        """The first candidate with photographs; archives unpack into folders of several names."""
        given = self.folders.candidates[0]
        folders = (*self.folders.candidates, given / "PASCALContext", given / "PASCAL_MT")
        return next((folder for folder in folders if (folder / "JPEGImages").is_dir()), None)

    def split_rule(self) -> str:
        """How val was cut from train."""
        return f"val: every {VAL_EVERY}th image of the official train, in the list's order; test: the official val"

    @cached_property
    def _normal_categories(self) -> frozenset[int]:
        return normal_categories(self.folder)

    def _list(self, split: str) -> Path:
        return self.folder / "ImageSets" / "Context" / f"{split}.txt"

    def _listed(self, split: str) -> list[Key]:
        path = self._list(split)
        if not path.exists():
            raise self.folders.missing(path, f"it names the images of the official {split}")
        return list(dict.fromkeys(path.read_text(encoding="utf-8").split()))

    def _paths(self, name: str) -> dict[str, Path]:
        """The files of one photograph, by task."""
        classes = [self.folder / "semseg" / source / f"{name}.png" for source in ("VOC12", "pascal-context")]
        paths = {
            "image": self.folder / "JPEGImages" / f"{name}.jpg",
            "segmentation": next((path for path in classes if path.exists()), classes[0]),
            "human_parts": self.folder / "human_parts" / f"{name}.mat",
            "saliency": self.folder / "sal_distill" / f"{name}.png",
            "normals": self.folder / "normals_distill" / f"{name}.png",
            "edges": self.folder / "pascal-context" / "trainval" / f"{name}.mat",
        }
        read = {"image", *self.tasks_used, *(["edges"] if "normals" in self.tasks_used else [])}
        return {task: path for task, path in paths.items() if task in read}
