"""Small datasets for tests of the store: every kind of target, a label missing here and there, and faults on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from mtlbench.contract.dataset import BadSample, Card, Dataset, Key, Sample
from mtlbench.contract.hyper import Hyper
from mtlbench.tasks import Attributes, Boundaries, Classification, Depth, Normals, Reconstruction, Segmentation
from mtlbench.tasks.base import Task

CARD = Card("Toy", "Random arrays.", "made up", "free")


class Toy(Dataset):
    """Random samples of every kind of task. Sample i lacks its depth when i % 5 == 0."""

    size: int = Hyper(12, help="train samples")
    shift: int = Hyper(0, help="added to every seed")

    card: ClassVar[Card] = CARD
    embedded: ClassVar[bool] = True
    faults: ClassVar[Mapping[Key, Sample | Exception]] = {}
    """What samples hold instead of their own arrays, or what reading them raises."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (
            Segmentation("segmentation", 5),
            Depth("depth", inverse=True),
            Normals("normals"),
            Boundaries("boundaries"),
            Classification("kind", 300),
            Attributes("attributes", 3),
            Reconstruction("image_again"),
        )

    @property
    def image_size(self) -> tuple[int, int]:
        return 16, 32

    def index(self) -> Mapping[str, Sequence[Key]]:
        splits = {"train": self.size, "val": 4, "test": 5}
        return {split: [(split, number) for number in range(count)] for split, count in splits.items()}

    def load(self, key: Key) -> Sample:
        assert isinstance(key, tuple)
        split, number = key
        sample = self.make(split, number)
        fault = self.faults.get(key)
        if isinstance(fault, Exception):
            raise fault
        return sample | (fault or {})

    def make(self, split: str, number: int) -> Sample:
        rng = np.random.default_rng([len(split), number, self.shift])
        normals = rng.normal(size=(3, 16, 32))
        normals /= np.linalg.norm(normals, axis=0)
        normals[:, :2] = 0
        sample: Sample = {
            "image": rng.integers(0, 256, (16, 32, 3), np.uint8),
            "segmentation": rng.choice([0, 1, 2, 3, 4, 255], (16, 32)).astype(np.uint8),
            "normals": normals.astype(np.float32),
            "boundaries": rng.choice([0, 1, 255], (1, 16, 32)).astype(np.uint8),
            "kind": np.array(rng.integers(0, 300), np.int16),
            "attributes": rng.integers(-1, 2, 3).astype(np.int8),
        }
        if number % 5:
            sample["depth"] = rng.uniform(0, 2, (1, 16, 32)).astype(np.float32)
        return sample

    def scene(self, key: Key) -> str | None:
        return f"scene {key[1] // 2}" if isinstance(key, tuple) else None


class Files(Dataset):
    """One task, one file per sample: `root/split/N.npy` holds the image; class = its first byte modulo 3."""

    card: ClassVar[Card] = CARD

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (Classification("kind", 3),)

    @property
    def image_size(self) -> tuple[int, int]:
        return 8, 8

    def index(self) -> Mapping[str, Sequence[Key]]:
        assert self.root is not None
        return {split: sorted(p.stem for p in (self.root / split).glob("*.npy")) for split in ("train", "val", "test")}

    def load(self, key: Key) -> Sample:
        path = next(path for path in self.files() if path.stem == key)
        try:
            image = np.load(path)
        except ValueError as error:
            raise BadSample(f"{path}: {error}") from None
        return {"image": image, "kind": np.array(image[0, 0, 0] % 3, np.int16)}

    def files(self) -> Sequence[Path]:
        assert self.root is not None
        return sorted(self.root.glob("*/*.npy"))


def write_files(root: Path, count: int = 4) -> None:
    """A tree for `Files`."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        (root / split).mkdir(parents=True)
        for number in range(count):
            np.save(root / split / f"{split}{number}.npy", rng.integers(0, 256, (8, 8, 3), np.uint8))


def toy(cls: type[Dataset] = Toy, root: Path | None = None, **options: object) -> Dataset:
    """A configured dataset."""
    return cls(root, cls.configure(options, "toy"))
