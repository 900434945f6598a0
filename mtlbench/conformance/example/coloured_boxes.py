"""Boxes of plain colours at known depths: the smallest data on which every method can be trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator, Philox, SeedSequence

from mtlbench.contract import Augmentation, Card, Dataset, Key, Sample
from mtlbench.tasks import Depth, Normals, Segmentation, Task

COLOURS = np.array([[90, 90, 90], [200, 60, 50], [60, 180, 70], [60, 80, 200]], np.uint8)
"""Of the background and of three classes of boxes."""

SAMPLES = {"train": 12, "val": 4, "test": 4}


class ColouredBoxes(Dataset):
    """Boxes before a wall: semantic classes, depth and surface normals; a third of train has no depth."""

    card: ClassVar[Card] = Card(
        title="Coloured boxes",
        summary="Generated images of boxes, for conformance tests.",
        source="mtlbench",
        licence="that of mtlbench",
    )
    embedded: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True
    augmentation: ClassVar[Augmentation] = Augmentation(zooms=(1.0, 1.2), flip=True)
    defaults: ClassVar[Mapping[str, Any]] = {
        "epochs": 4,
        "batch_size": 4,
        "backbone": "resnet_tiny",
        "head_rates": (1, 2, 3),
        "head_width": 8,
        "bn_images": 8,
    }

    @property
    def tasks(self) -> tuple[Task, ...]:
        return Segmentation("segmentation", channels=len(COLOURS)), Depth("depth", unit="m"), Normals("normals")

    @property
    def image_size(self) -> tuple[int, int]:
        return 32, 32

    def index(self) -> Mapping[str, Sequence[Key]]:
        return {split: [(split, number) for number in range(count)] for split, count in SAMPLES.items()}

    def load(self, key: Key) -> Sample:
        assert isinstance(key, tuple)
        split, number = key
        draw = Generator(Philox(SeedSequence(0, spawn_key=(list(SAMPLES).index(split), number))))
        height, width = self.image_size
        classes = np.zeros((height, width), np.uint8)
        depth = np.full((1, height, width), 4.0, np.float32)
        normals = np.zeros((3, height, width), np.float32)
        normals[2] = 1.0
        for _ in range(4):
            top, left = draw.integers(0, height - 8), draw.integers(0, width - 8)
            rows, columns = slice(top, top + draw.integers(6, 16)), slice(left, left + draw.integers(6, 16))
            slope = draw.uniform(-0.8, 0.8)
            classes[rows, columns] = draw.integers(1, len(COLOURS))
            depth[0, rows, columns] = draw.uniform(1.0, 3.0)
            normals[:, rows, columns] = np.array([np.sin(slope), 0.0, np.cos(slope)])[:, None, None]
        shade = 0.5 + 0.5 / depth[0]
        noise = draw.normal(0.0, 8.0, (height, width, 3))
        image = np.clip(COLOURS[classes] * shade[..., None] + noise, 0, 255).astype(np.uint8)
        sample = {"image": image, "segmentation": classes, "depth": depth, "normals": normals}
        if split == "train" and number % 3 == 2:
            del sample["depth"]
        return sample
