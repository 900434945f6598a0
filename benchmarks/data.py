"""How fast batches come: an epoch of 3,000 images of 128x256 with three dense targets, and what augmentation adds.

    OMP_NUM_THREADS=2 python benchmarks/data.py [--images N] [--device cuda]

Prints the time to prepare the store, to iterate an epoch from it, and to read and to augment one batch of eight.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from mtlbench.contract import Augmentation, Card, Dataset, Hyper, Key, Sample
from mtlbench.data.augment import augment, random_crop_and_flip
from mtlbench.data.loader import Loader
from mtlbench.data.store import prepare
from mtlbench.tasks import Depth, Normals, Segmentation
from mtlbench.tasks.base import Task

SIZE = (128, 256)
BATCH = 8
AUGMENTATION = Augmentation(zooms=(1.0, 1.2, 1.5), flip=True)


class Noise(Dataset):
    """Random images and targets of the size that matters."""

    images: int = Hyper(3000, help="training images")
    card: ClassVar[Card] = Card("Noise", "Random arrays.", "made up", "free")
    embedded: ClassVar[bool] = True

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (Segmentation("segmentation", 7), Depth("depth"), Normals("normals"))

    @property
    def image_size(self) -> tuple[int, int]:
        return SIZE

    def index(self) -> Mapping[str, Sequence[Key]]:
        return {"train": range(self.images), "val": [-1], "test": [-2]}

    def load(self, key: Key) -> Sample:
        rng = np.random.default_rng(abs(int(str(key))))
        normals = rng.standard_normal((3, *SIZE), np.float32)
        return {
            "image": rng.integers(0, 256, (*SIZE, 3), np.uint8),
            "segmentation": rng.integers(0, 7, SIZE, np.uint8),
            "depth": rng.random((1, *SIZE), np.float32),
            "normals": normals / np.sqrt((normals * normals).sum(0)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    device = torch.device(given.device)
    dataset = Noise(None, {"images": given.images})
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        split = prepare(dataset, "noise", Path(cache)).splits["train"]
        print(f"{torch.get_num_threads()} threads, {device}")
        print(f"prepared {given.images} images in {time.perf_counter() - start:.1f} s")
        for name, augmentation in (("plain", None), ("augmented", AUGMENTATION)):
            loader = Loader(split, split.tasks, BATCH, seed=0, device=device, augmentation=augmentation)
            seconds = [_seconds(partial(_iterate, loader, epoch), device) for epoch in range(3)]
            print(f"epoch, {name}: first {seconds[0]:.2f} s, then {min(seconds[1:]):.2f} s")
        indices = torch.randperm(len(split))[:BATCH]
        batch, change = split.batch(indices, device), random_crop_and_flip(AUGMENTATION, 0, 0, indices.numpy())
        reading = _milliseconds(lambda: split.batch(indices, device), device)
        augmenting = _milliseconds(lambda: augment(batch, split.tasks, change), device)
        print(f"a batch of {BATCH}: read {reading:.2f} ms, augment {augmenting:.2f} ms")


def _iterate(loader: Loader, epoch: int) -> int:
    return sum(len(batch) for batch in loader.epoch(epoch))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _milliseconds(work: Callable[[], object], device: torch.device) -> float:
    work()
    return 1000 * min(_seconds(work, device) for _ in range(50))


if __name__ == "__main__":
    main()
