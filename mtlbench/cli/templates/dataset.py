"""Template: what is in the pictures, and what they are good for.

These are generated: bright discs at random places, near ones larger than far ones. Replace `index` and `load` by your own;
the comments say what changes for data in files.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator, Philox, SeedSequence

from mtlbench.contract import Augmentation, Card, Dataset, Hyper, Key, Sample
from mtlbench.tasks import Depth, Segmentation, Task

SPLITS = ("train", "val", "test")


class Template(Dataset):
    """Discs before a dark ground: which pixels are a disc, and how far away each is."""

    # Options: type, default, bounds, one line of help; `--dataset-arg count=500` changes one. An option that changes what
    # `load` returns makes other prepared data and another protocol by itself.
    count: int = Hyper(60, ge=3, le=1_000_000, help="number of training images; val and test have a third of it each")
    size: int = Hyper(32, ge=16, le=512, help="side of the images in pixels")
    seed: int = Hyper(0, ge=0, lt=2**32, help="seed of all images")

    card: ClassVar[Card] = Card(
        title="Template (procedurally generated)",
        summary="Discs at random places and distances, with a label and a depth for every pixel.",
        source="who made the data: paper or project, and its address",
        licence="who may use them, and for what",
        # For data in files, also: obtain="how to get them", tree="the folder tree that `load` expects".
    )
    # True: no files are needed. False: files lie below `self.root`, the folder that --data names (None if it names none);
    # `index` raises UserError where they are missing, and `files()` lists them, for the fingerprint.
    embedded: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True  # `load` may run in several threads at once
    mean: ClassVar[tuple[float, float, float]] = (0.3, 0.3, 0.3)  # of images in [0, 1]
    std: ClassVar[tuple[float, float, float]] = (0.25, 0.25, 0.25)
    augmentation: ClassVar[Augmentation] = Augmentation(zooms=(1.0, 1.2), flip=True)
    # Settings that suit the data (mtlbench list settings): the dataset's default protocol.
    defaults: ClassVar[Mapping[str, Any]] = {"backbone": "resnet_tiny", "epochs": 10, "batch_size": 8, "head_width": 32}

    @property
    def tasks(self) -> tuple[Task, ...]:
        # In the order in which tables show them. Each kind of task says how its targets are stored (mtlbench/tasks/).
        return Segmentation("disc", channels=2), Depth("depth", unit="m")

    @property
    def image_size(self) -> tuple[int, int]:
        return self.size, self.size

    def index(self) -> Mapping[str, Sequence[Key]]:
        # Keys name samples: texts, numbers, or tuples of them. Further splits named test-… are shifted test sets.
        counts = {"train": self.count, "val": self.count // 3, "test": self.count // 3}
        return {split: [(split, number) for number in range(counts[split])] for split in SPLITS}

    def load(self, key: Key) -> Sample:
        # Called once per sample, in any order, from any process: nothing but the key may decide what it returns. A file that
        # cannot be read raises BadSample, which names it.
        assert isinstance(key, tuple)
        split, number = key
        draw = Generator(Philox(SeedSequence(self.seed, spawn_key=(SPLITS.index(split), number))))
        disc = np.zeros((self.size, self.size), np.uint8)
        depth = np.full((self.size, self.size), 10.0, np.float32)
        rows, columns = np.mgrid[: self.size, : self.size]
        for distance in sorted(draw.uniform(2.0, 8.0, 3), reverse=True):  # near discs hide far ones
            row, column = draw.uniform(0, self.size, 2)
            inside = np.hypot(rows - row, columns - column) < self.size / distance
            disc[inside], depth[inside] = 1, distance
        shade = np.where(disc == 1, 255 / np.sqrt(depth), 40) + draw.normal(0, 10, disc.shape)
        image = np.repeat(np.clip(shade, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        # A task without a label is left out; single pixels without one hold the task's invalid value (255, 0 m).
        return {"image": image, "disc": disc, "depth": depth[None]}

    def split_rule(self) -> str:
        # For the protocol card: how val came about. Never cut it from test, and keep a scene's images in one split.
        return "generated: each split has a random stream of its own"

    # More that may be overridden (docs/adding_a_dataset.md): `files`, `downloads`, `scene`, `measures`, `describe`.
