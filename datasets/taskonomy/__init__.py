"""Taskonomy: indoor scans with many kinds of label; here the five tasks of AdaShare, with their published encodings."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from mtlbench.contract import Augmentation, BadSample, Card, Hyper, Key, Sample, UserError
from mtlbench.tasks import Depth, Normals, Segmentation

from .._shared.arrays import Array
from .._shared.folder_dataset import FolderDataset, chosen_tasks
from .._shared.normals import decode_normals, optical_axis_of_files, unit_vectors
from .._shared.reading import read_map, read_rgb, require_range, require_shape, resize_by_area, resize_nearest
from .tasks import LOG_RANGE, LogDepth, Magnitude

TaskName = Literal["segmentation", "normals", "depth", "keypoints", "edges"]
TASK_NAMES: tuple[TaskName, ...] = ("segmentation", "normals", "depth", "keypoints", "edges")

CLASSES = 17
FARTHEST = 64500
"""Raw depths from here on are holes of the scan."""
METRE = 512
"""Raw depth of one metre."""
CLIPPED = {"keypoints": 0.005, "edges": 0.08}
"""Where the responses of the two filters are clipped, as a share of the 16-bit range."""

DOMAINS = {
    "segmentation": "segment_semantic",
    "normals": "normal",
    "depth": "depth_zbuffer",
    "keypoints": "keypoints2d",
    "edges": "edge_texture",
}
"""The folder of each task."""
PLACES = ("{domain}/taskonomy/{building}", "{domain}/{building}", "{building}/{domain}")
"""How folders are nested by different downloaders."""

TREE = """\
taskonomy/
    rgb/BUILDING/point_P_view_V_domain_rgb.png
    segment_semantic/BUILDING/point_P_view_V_domain_segmentsemantic.png
    {normal,depth_zbuffer,keypoints2d,edge_texture}/BUILDING/point_P_view_V_domain_DOMAIN.png
    train_val_test_tiny.csv                     (or _medium, _full, _fullplus; also below splits/)
        instead of DOMAIN/BUILDING also DOMAIN/taskonomy/BUILDING or BUILDING/DOMAIN"""


class Taskonomy(FolderDataset):
    """Five dense tasks on indoor images: semantic segmentation, normals, depth, 2D keypoints and texture edges.

    Zamir et al., Taskonomy: Disentangling Task Transfer Learning, CVPR 2018, arXiv:1804.08328.
    Encodings and weights: Sun et al., AdaShare, NeurIPS 2020, arXiv:1911.12423, and its code.
    """

    tasks_used: tuple[TaskName, ...] = Hyper(TASK_NAMES, min_length=1, help="the tasks, in order")
    split: Literal["tiny", "medium", "full", "fullplus"] = Hyper("tiny", help="which official list of buildings")
    depth: Literal["log", "metres"] = Hyper("log", help="log: log(1 + raw) / log 2^16, as published; metres: raw / 512")
    size: int = Hyper(256, ge=32, le=512, help="side of prepared images in pixels")

    name: ClassVar[str] = "taskonomy"
    card: ClassVar[Card] = Card(
        title="Taskonomy (2018)",
        summary="Images of scanned indoor spaces, split by building, with labels computed from the scans or the images.",
        source="Zamir, Sax, Shen, Guibas, Malik and Savarese, Taskonomy, CVPR 2018; http://taskonomy.stanford.edu",
        licence="the data agreement on the project's page; not to be passed on",
        obtain="Follow https://github.com/StanfordVL/taskonomy/tree/master/data: accept the agreement, download the domains "
        "rgb, segment_semantic, normal, depth_zbuffer, keypoints2d and edge_texture of the buildings of one split, and the "
        "split's list of buildings. Without any download: the dataset streets.",
        tree=TREE,
        defects=(
            "Semantic labels were predicted by a network, not made by people: raw 0 is unlabelled, raw 1 to 17 are classes.",
            "Depth and normals have holes where the scan has: raw depth from 64500 on, masked in both.",
            "Segmentation loss: plain cross-entropy; the published one weighs classes (semseg_prior_factor.npy).",
            "Keypoints and edges are responses of filters on the image, clipped at 0.005 and 0.08 of their range.",
            "Which stored channel of the normals lies along the optical axis is found from the data; x first is assumed.",
            "AdaShare used lists of image files of its own (taskonomy.json), not these of buildings: numbers differ.",
        ),
    )
    thread_safe: ClassVar[bool] = True
    augmentation: ClassVar[Augmentation] = Augmentation(zooms=(0.75, 1.0, 1.25, 1.5), flip=True)

    def __init__(self, root: Path | None, options: Mapping[str, Any]) -> None:
        super().__init__(root, options)
        available = (
            Segmentation("segmentation", CLASSES),
            Normals("normals", weight=3.0),
            Depth("depth", unit="m", weight=2.0) if self.depth == "metres" else LogDepth("depth", weight=2.0),
            Magnitude("keypoints", weight=7.0),
            Magnitude("edges", weight=7.0),
        )
        self._tasks = chosen_tasks(available, self.tasks_used)
        self._image_size = (self.size, self.size)

    def index(self) -> Mapping[str, Sequence[Key]]:
        """The official split by building; keys are (building, point, view)."""
        return {
            split: [key for building in names for key in self._views(building)] for split, names in self._buildings.items()
        }

    def load(self, key: Key) -> Sample:
        """Image and the targets of one view."""
        paths, wanted = self._paths(key), set(self.tasks_used)
        image = read_rgb(paths["image"])
        full_size = (image.height, image.width)
        sample: Sample = {"image": resize_by_area(image, self.size, self.size)}
        raw = None
        if wanted & {"depth", "normals"}:  # normals are masked where depth is
            raw = self._small(require_range(paths["depth"], read_map(paths["depth"], full_size), 0, 65535, "raw depth"))
        if "segmentation" in wanted:
            stored = read_map(paths["segmentation"], full_size)
            sample["segmentation"] = self._small(_classes(paths["segmentation"], stored))
        if "normals" in wanted and raw is not None:
            stored = require_shape(paths["normals"], np.asarray(read_rgb(paths["normals"])), (*full_size, 3))
            vectors = self._small(decode_normals(stored))[[0, 3 - self._optical_axis, self._optical_axis]]
            sample["normals"] = np.where(raw < FARTHEST, unit_vectors(vectors), np.float32(0))
        if "depth" in wanted and raw is not None:
            value = np.log1p(raw.astype(np.float64)) / LOG_RANGE if self.depth == "log" else raw / METRE
            sample["depth"] = np.where(raw < FARTHEST, value, 0).astype(np.float32)[None]
        for task in wanted & CLIPPED.keys():
            response = require_range(paths[task], read_map(paths[task], full_size), 0, 65535, "a filter's response")
            share = np.clip(self._small(response) / 2**16 / CLIPPED[task], 0, 1)
            sample[task] = (2 * share - 1).astype(np.float32)[None]
        return sample

    def list_files(self) -> Sequence[Path]:
        """The list of buildings."""
        return [self._list]

    def sample_files(self, key: Key) -> Iterable[Path]:
        """The raw files of one view that the tasks asked for need."""
        return self._paths(key).values()

    def scene(self, key: Key) -> str | None:
        """The building."""
        return str(key[0]) if isinstance(key, tuple) else None

    def split_rule(self) -> str:
        """How val was cut."""
        return f"official splits by building: train_val_test_{self.split}.csv"

    # Finding files

    def find_folder(self) -> Path | None:
        """The first candidate that holds images."""
        for folder in self.folders.candidates:
            if (folder / "rgb").is_dir() or any(folder.glob("*/rgb/point_*")):
                return folder
        return None

    @cached_property
    def _list(self) -> Path:
        folder, name = self.folder, f"train_val_test_{self.split}.csv"
        for place in (folder, folder / "splits", folder / "splits_taskonomy"):
            if (place / name).exists():
                return place / name
        raise self.folders.missing(folder / name, "it says which buildings are for training, validation and testing")

    @cached_property
    def _buildings(self) -> dict[str, list[str]]:
        """Split → buildings."""
        with self._list.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
        columns = {"id", "train", "val", "test"}
        if not rows or not columns <= rows[0].keys():
            raise UserError(f"taskonomy: {self._list} has no columns id, train, val and test.")
        splits = ("train", "val", "test")
        return {split: [row["id"] for row in rows if (row[split] or "").strip() == "1"] for split in splits}

    def _place(self, domain: str, building: str) -> Path:
        """The folder of one domain of one building: the first nesting that exists."""
        places = [self.folder / place.format(domain=domain, building=building) for place in PLACES]
        return next((place for place in places if place.is_dir()), places[1])

    def _views(self, building: str) -> list[Key]:
        place = self._place("rgb", building)
        if not place.is_dir():
            raise self.folders.missing(place, f"the images of {building}, which {self._list.name} names")
        matches = (re.fullmatch(r"point_(\d+)_view_(\d+)_domain_rgb\.png", path.name) for path in place.iterdir())
        return [(building, point, view) for point, view in sorted((int(m[1]), int(m[2])) for m in matches if m)]

    def _paths(self, key: Key) -> dict[str, Path]:
        """The files of one sample, by task."""
        building, point, view = _checked(key)
        stem = f"point_{point}_view_{view}_domain_"
        needed: set[str] = {*self.tasks_used, *(["depth"] if "normals" in self.tasks_used else [])}
        paths = {"image": self._place("rgb", building) / f"{stem}rgb.png"}
        for task, domain in DOMAINS.items():
            if task in needed:
                word = "segmentsemantic" if domain == "segment_semantic" else domain
                paths[task] = self._place(domain, building) / f"{stem}{word}.png"
        return paths

    @cached_property
    def _optical_axis(self) -> int:
        """The stored channel of the normals along the optical axis, from views of the first training buildings."""
        keys = [key for building in self._buildings["train"][:4] for key in self._views(building)[:4]]
        paths = [self._paths(key)["normals"] for key in keys]
        return optical_axis_of_files(lambda path: decode_normals(np.asarray(read_rgb(path))), paths)

    def _small(self, array: Array) -> Array:
        return resize_nearest(array, self.size, self.size)


def _checked(key: Key) -> tuple[str, int, int]:
    match key:
        case (str(building), int(point), int(view)):
            return building, point, view
    raise BadSample(f"taskonomy has no sample {key!r}: expected (building, point, view)")


def _classes(path: Path, raw: Array) -> Array:
    """Raw labels 0 (unlabelled) to 17 → classes 0 to 16, 255 unlabelled."""
    require_range(path, raw, 0, CLASSES, "raw labels")
    return np.where(raw == 0, 255, raw.astype(np.int64) - 1).astype(np.uint8)
