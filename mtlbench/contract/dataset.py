"""What a dataset plugin is: tasks, splits and one loader of single samples.

A dataset knows files (or a generator) and the encoding of its tasks' targets. It does not know batches, caches, devices,
networks or methods: the harness prepares what `load` returns once into memory-mapped arrays and serves batches from there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mtlbench.contract.hyper import Configurable
from mtlbench.networks.plan import SharingPlan
from mtlbench.tasks.base import Task

Key = Hashable
"""Names one sample within its dataset: a string, an integer or a tuple of such."""

Sample = dict[str, np.ndarray]
"""`"image"`: uint8 [H, W, 3]; one array per task (its `target_shape` and `dtype`); a task without a label is left out."""


@dataclass(frozen=True)
class Card:
    """What a user must know before using a dataset.

    Attributes:
        title: full name, with the year.
        summary: one or two sentences.
        source: who made it: paper or project, and its address.
        licence: terms of use, and who may have it.
        obtain: how to get the files (registration, download page); empty for generated and embedded data.
        tree: the folder tree that `load` expects, as printed in errors; empty where no files are read.
        defects: known defects and conventions, one line each.
    """

    title: str
    summary: str
    source: str
    licence: str
    obtain: str = ""
    tree: str = ""
    defects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Download:
    """One file that may be downloaded directly.

    Attributes:
        addresses: where it is, tried in this order.
        path: its place below the folder that the user names; a name ending in `.gz` is unpacked there, a tar or zip
            archive into a folder of its name without the ending.
        md5: checksum of the file as it is downloaded.
    """

    addresses: tuple[str, ...]
    path: str
    md5: str


@dataclass(frozen=True)
class Augmentation:
    """Training augmentation, applied to an image and all of its targets alike.

    Attributes:
        zooms: the zoom is drawn from these values (1.0 keeps the size; > 1 enlarges, then crops at random).
        flip: mirror left to right with probability ½.
    """

    zooms: tuple[float, ...] = (1.0,)
    flip: bool = False

    @property
    def active(self) -> bool:
        return self.flip or self.zooms != (1.0,)


class Dataset(Configurable, ABC):
    """A dataset plugin. Options are hyper-parameters (`Hyper`) declared on the class.

    Attributes:
        card: what the dataset is and how to get it.
        version: preparation version; raise it when `load` changes what it returns.
        embedded: True when it runs without any file of the user.
        thread_safe: True when `load` may be called from several threads at once; samples are then read in parallel. Leave
            it False where `load` uses a shared open file, changes attributes, or calls `np.load` without a lock (whose
            parser of headers is not safe in every release of Python).
        multi_input: True when every task has images of its own (then each sample holds targets of one task only).
        mean, std: per-channel normalisation of images in [0, 1].
        augmentation: what training does to samples unless an experiment says otherwise.
        defaults: settings (`mtlbench.config.settings.Settings`) that suit this dataset: backbone, epochs, batch size,
            learning rate, …; an experiment or the command line may say otherwise.
        root: the folder the user named, None for the plugin's default or for embedded data.
    """

    hyper_word: ClassVar[str] = "option"
    card: ClassVar[Card]
    version: ClassVar[int] = 1
    embedded: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = False
    multi_input: ClassVar[bool] = False
    mean: ClassVar[tuple[float, float, float]] = (0.485, 0.456, 0.406)
    std: ClassVar[tuple[float, float, float]] = (0.229, 0.224, 0.225)
    augmentation: ClassVar[Augmentation] = Augmentation()
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, root: Path | None, options: Mapping[str, Any]) -> None:
        self.root = root
        self.set_hypers(options)

    @property
    @abstractmethod
    def tasks(self) -> tuple[Task, ...]:
        """The tasks, in the order tables show them."""

    @property
    @abstractmethod
    def image_size(self) -> tuple[int, int]:
        """(height, width) of every prepared image."""

    @abstractmethod
    def index(self) -> Mapping[str, Sequence[Key]]:
        """The samples' keys by split: `train`, `val`, `test`, and any named shifted test sets (`test-fog`, …).

        Raises:
            UserError: files are missing: what, where it was looked for, the expected tree, and how to get them.
        """

    @abstractmethod
    def load(self, key: Key) -> Sample:
        """One sample. Called once per sample when the dataset is prepared, from any process, in any order.

        Raises:
            BadSample: a file is missing, truncated, of a wrong shape, or holds values out of range; names the file.
        """

    def files(self) -> Sequence[Path]:
        """Raw files whose content makes the dataset's fingerprint; none for generated data."""
        return ()

    def downloads(self) -> Sequence[Download]:
        """Files that may be downloaded without registration, as the licence allows; none for most datasets."""
        return ()

    def scene(self, key: Key) -> str | None:
        """What a sample shares with others that look alike (city and drive, room, person): the cluster of a bootstrap.

        Samples of one scene are not independent, so confidence intervals over images resample whole scenes. Two keys of one
        scene give equal strings, in whichever split they are. The default, None, is for data whose scenes are not known:
        every image then counts as a scene of its own.
        """
        return None

    def split_rule(self) -> str:
        """How val was cut, in words, for the protocol card."""
        return "official splits"

    def measures(self, plan: SharingPlan) -> dict[str, float]:
        """Further numbers about a sharing plan found on this dataset (agreement with a planted structure, for example)."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Options that decide what the prepared data are, for the protocol card and the fingerprint."""
        return {name: getattr(self, name) for name in self.hypers}


class BadSample(Exception):
    """A sample that cannot be read as it should be: the message names the file and what is wrong with it."""
