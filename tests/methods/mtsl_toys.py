"""What the tests of MTSL are built from: three tasks on the smallest residual network."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

import mtlbench
from mtlbench.contract import Architecture, Batch, Budget, NetworkConfig, OptimizerSpec, Run, Strategy
from mtlbench.networks.backbone import LAYOUTS, BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.tasks import Classification, Depth, Segmentation, Task

LAYOUTS.setdefault("resnet_toy", replace(LAYOUTS["resnet_tiny"], blocks=(1, 1, 1, 1), width=8))

TASKS: tuple[Task, ...] = (Segmentation("seg", 3), Depth("depth"), Classification("kind", 4))
NAMES = [task.name for task in TASKS]


def plugin(name: str) -> Any:
    """The one architecture or strategy that a method file defines."""
    module = importlib.import_module(f"{mtlbench.__name__}.methods.{name}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, (Architecture, Strategy)) and value.__module__ == module.__name__
    )


def strategy(network: Architecture, run: Run, name: str = "equal") -> Strategy:
    """A strategy of `methods/`, not started."""
    cls = plugin(name)
    made: Strategy = cls(network, run, cls.configure({}, name))
    return made


def network_config(tasks: Sequence[Task] = TASKS, seed: int = 0, backbone: str = "resnet_toy") -> NetworkConfig:
    return NetworkConfig(
        tasks=tuple(tasks),
        image_size=(32, 32),
        backbone=BackboneSpec(backbone),
        head=HeadSpec(rates=(1,), width=8, dropout=0.0),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        seed=seed,
    )


def batch(size: int = 4, seed: int = 0) -> Batch:
    """Random images with labels of all tasks."""
    draw = torch.Generator().manual_seed(seed)
    targets = {
        "seg": torch.randint(0, 3, (size, 32, 32), generator=draw, dtype=torch.uint8),
        "depth": torch.rand(size, 1, 32, 32, generator=draw) + 0.1,
        "kind": torch.randint(0, 4, (size,), generator=draw, dtype=torch.int16),
    }
    image = torch.rand(size, 3, 32, 32, generator=draw)
    return Batch(image, targets, {name: torch.ones(size, dtype=torch.bool) for name in NAMES}, torch.arange(size))


def make_run(mode: Any = "equal_total", epochs: int = 7, **optimizer: Any) -> Run:
    """A run without a harness, with sixteen fixed training images."""
    return Run(
        seed=0,
        budget=Budget(mode, epochs),
        optimizer=OptimizerSpec(**{"lr": 1e-3, **optimizer}),
        batch_size=8,
        images_per_epoch=16,
        device=torch.device("cpu"),
        training_images=lambda count, size: iter([batch(8, seed=5), batch(8, seed=6)]),
    )
