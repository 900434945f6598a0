"""PASCAL-Context with five tasks: classes, human parts, saliency, normals and edges, in the layout of PASCAL-MT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from mtlbench.contract.dataset import Augmentation, BadSample, Card, Dataset, Key, Sample
from mtlbench.contract.hyper import Hyper
from mtlbench.datasets import _pascal_encodings as encodings
from mtlbench.datasets._files import nearest, read_map, read_rgb, require_shape, shrunk
from mtlbench.datasets._folders import Folders, existing
from mtlbench.tasks import Boundaries, Normals, Saliency, Segmentation
from mtlbench.tasks.base import Task

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


class PascalContext(Dataset):
    """Semantic segmentation, human parts, saliency, surface normals and edges on PASCAL's photographs.

    Chen et al., CVPR 2014 (PASCAL-Part); Mottaghi et al., CVPR 2014 (PASCAL-Context); as multi-task data by Maninis et al.,
    Attentive Single-Tasking of Multiple Tasks, CVPR 2019, arXiv:1904.08918.
    """

    tasks_used: tuple[TaskName, ...] = Hyper(
        ("segmentation", "human_parts", "saliency", "normals", "edges"), help="the tasks, in order", check="1 <= len(v)"
    )
    size: int = Hyper(256, help="side of prepared images in pixels; published networks see 512", check="32 <= v <= 512")

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
        self._folders = Folders("pascal_context", self.card, root)
        every: dict[str, Task] = {
            "segmentation": Segmentation("segmentation", len(encodings.CLASSES), encodings.CLASSES),
            "human_parts": Segmentation("human_parts", len(encodings.PARTS), encodings.PARTS, weight=2.0),
            "saliency": Saliency("saliency", weight=5.0),
            "normals": Normals("normals", weight=10.0),
            "edges": Boundaries("edges", weight=50.0),
        }
        self._tasks = tuple(every[name] for name in dict.fromkeys(self.tasks_used))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks asked for; loss weights are those of Vandenhende et al., TPAMI 2021."""
        return self._tasks

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.size, self.size

    def index(self) -> Mapping[str, Sequence[Key]]:
        """Train, val and test; keys are the photographs' names."""
        lists = {split: self._listed(split) for split in ("train", "val")}
        held_out = lists["train"][VAL_EVERY - 1 :: VAL_EVERY]
        kept = set(held_out)
        return {"train": [name for name in lists["train"] if name not in kept], "val": held_out, "test": lists["val"]}

    def load(self, key: Key) -> Sample:
        """One photograph with the targets it has."""
        paths, side = self._paths(str(key)), self.size
        picture = read_rgb(paths["image"])
        size = (picture.height, picture.width)
        sample: Sample = {"image": shrunk(picture, side, side)}
        wanted = set(self.tasks_used)
        if "segmentation" in wanted:
            label = read_map(paths["segmentation"], size)
            wrong = (label >= len(encodings.CLASSES)) & (label != encodings.IGNORE)
            if wrong.any():
                values = ", ".join(map(str, np.unique(label[wrong])[:5]))
                raise BadSample(f"{paths['segmentation']} holds labels {values}, expected 0 to 20, or 255")
            sample["segmentation"] = nearest(label.astype(np.uint8), side, side)
        if "human_parts" in wanted:
            parts = encodings.human_parts(paths["human_parts"], size)
            if parts is not None:
                sample["human_parts"] = nearest(parts, side, side)
        if "saliency" in wanted:
            sample["saliency"] = nearest((read_map(paths["saliency"], size) > 127).astype(np.uint8), side, side)[None]
        if wanted & {"normals", "edges"}:
            context = nearest(encodings.contexts(paths["edges"], size), side, side)
            if "edges" in wanted:
                sample["edges"] = encodings.edges(context)
            if "normals" in wanted:
                code = require_shape(paths["normals"], np.asarray(read_rgb(paths["normals"])), (*size, 3))
                small = nearest(code.transpose(2, 0, 1), side, side).transpose(1, 2, 0)
                sample["normals"] = encodings.distilled_normals(small, context, self._normal_categories)
        return sample

    def files(self) -> Sequence[Path]:
        """The lists and all raw files of the tasks asked for that exist."""
        lists = [self._folder / "ImageSets" / "Context" / f"{split}.txt" for split in ("train", "val")]
        if "normals" in self.tasks_used:
            lists += [self._folder / "json" / name for name in ("nyu_classes.json", "context_classes.json")]
        keys = [str(key) for keys in self.index().values() for key in keys]
        return existing([*lists, *(path for key in keys for path in self._paths(key).values())])

    def split_rule(self) -> str:
        """How val was cut from train."""
        return f"val: every {VAL_EVERY}th image of the official train, in the list's order; test: the official val"

    @cached_property
    def _folder(self) -> Path:
        given = self._folders.candidates[0]
        for folder in (*self._folders.candidates, given / "PASCALContext", given / "PASCAL_MT"):
            if (folder / "JPEGImages").is_dir():
                return folder
        raise self._folders.not_found()

    @cached_property
    def _normal_categories(self) -> frozenset[int]:
        return encodings.normal_categories(self._folder)

    def _listed(self, split: str) -> list[Key]:
        path = self._folder / "ImageSets" / "Context" / f"{split}.txt"
        if not path.exists():
            raise self._folders.missing(path, f"it names the images of the official {split}")
        return list(dict.fromkeys(path.read_text(encoding="utf-8").split()))

    def _paths(self, name: str) -> dict[str, Path]:
        """The files of one photograph, by task."""
        classes = [self._folder / "semseg" / source / f"{name}.png" for source in ("VOC12", "pascal-context")]
        paths = {
            "image": self._folder / "JPEGImages" / f"{name}.jpg",
            "segmentation": next((path for path in classes if path.exists()), classes[0]),
            "human_parts": self._folder / "human_parts" / f"{name}.mat",
            "saliency": self._folder / "sal_distill" / f"{name}.png",
            "normals": self._folder / "normals_distill" / f"{name}.png",
            "edges": self._folder / "pascal-context" / "trainval" / f"{name}.mat",
        }
        read = {"image", *self.tasks_used, *(["edges"] if "normals" in self.tasks_used else [])}
        return {task: path for task, path in paths.items() if task in read}
