"""A small network on small images, without training: what evaluations under changed images are tested with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtlbench.data.split import Split
from mtlbench.measure.adversarial import Attacked
from mtlbench.measure.evaluator import Change, Evaluator
from mtlbench.measure.robustness import Corrupted, evaluate_cells
from mtlbench.measure.robustness_suite import Suite
from mtlbench.measure.skill_scale import SkillScale
from mtlbench.records import Evaluation
from mtlbench.tasks import Classification, Depth, Reconstruction, Segmentation
from mtlbench.tasks.base import Task

TASKS: tuple[Task, ...] = (
    Segmentation("segmentation", 4),
    Depth("depth"),
    Classification("kind", 3),
    Reconstruction("image_again"),
)
HEIGHT, WIDTH = 32, 64


class Small(nn.Module):
    """One convolution, BatchNorm and ReLU, then a head a task; dropout, so that evaluation mode matters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))
        self.heads = nn.ModuleDict({task.name: nn.Conv2d(8, task.channels, 3, padding=1) for task in TASKS})

    def forward(
        self, image: Tensor, tasks: Sequence[str] | None = None, rows: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        features = self.trunk(image - 0.5)
        outputs = {name: self.heads[name](features) for name in tasks or self.heads}
        if "kind" in outputs:
            outputs["kind"] = outputs["kind"].mean((-2, -1))
        return outputs if rows is None else {name: one[rows[name]] for name, one in outputs.items()}


def split(name: str = "test", images: int = 33, order: Sequence[int] | None = None) -> Split:
    """Smooth random images with random targets; `order` permutes them."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(images, 3, 4, 8, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(HEIGHT, WIDTH), mode="bilinear")
    random = np.random.default_rng(1)
    arrays = {
        "image": smooth.mul(255).byte().permute(0, 2, 3, 1).contiguous().numpy(),
        "segmentation": random.integers(0, 4, (images, HEIGHT, WIDTH)).astype(np.uint8),
        "depth": random.uniform(0.5, 3, (images, 1, HEIGHT, WIDTH)).astype(np.float32),
        "kind": random.integers(0, 3, images).astype(np.int16),
    }
    chosen = list(range(images)) if order is None else list(order)
    return Split(
        name,
        TASKS,
        {key: array[chosen] for key, array in arrays.items()},
        labelled={task.name: np.ones(len(chosen), bool) for task in TASKS},
        ids=[f"frame {i}" for i in chosen],
        scenes=[None] * len(chosen),
        mean=(0.5, 0.5, 0.5),
    )


@dataclass
class Example:
    """A network, an evaluator and a split that belong together."""

    network: nn.Module
    evaluator: Evaluator
    split: Split

    def evaluate(self, change: Change | None = None) -> Evaluation:
        return self.evaluator.evaluate(self.network, self.split, change)

    def cells(self, suite: Suite) -> dict[str, dict[str, Any]]:
        return evaluate_cells(self.network, self.evaluator, self.split, suite)

    def corrupted(self, name: str, severity: int, **options: Any) -> Corrupted:
        return Corrupted(self.evaluator.dataset, self.split, name, severity, **options)

    def attacked(self, target: str, radius: float, steps: int, seed: int = 0) -> Attacked:
        return Attacked(self.network, self.evaluator, self.split, target, radius, steps, seed)


def example(batch_size: int = 16, images: int = 33, order: Sequence[int] | None = None, name: str = "test") -> Example:
    """The small network on the small images."""
    evaluator = Evaluator("toy", SkillScale(TASKS, split("train")), torch.device("cpu"), batch_size)
    return Example(Small().eval(), evaluator, split(name, images, order))
