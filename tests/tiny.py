"""Tiny networks, batches and trials for tests."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from mtlbench.config.plugins import Registry
from mtlbench.contract import Architecture, Batch, Budget, NetworkConfig, OptimizerSpec, Run, Strategy
from mtlbench.networks.backbone import BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.planning.expansion import expand
from mtlbench.planning.experiment import make_experiment
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.running.trial import open_dataset
from mtlbench.tasks import Classification, Depth, Normals, Segmentation, Task

A = TypeVar("A", bound=Architecture)
S = TypeVar("S", bound=Strategy)

SIZE = (32, 64)

STREETS = {"height": 32, "width": 64, "train": 24, "val": 8, "test": 8, "shifted": 0}
"""Options of `streets` that make it small enough for a test."""

SETTINGS = {"epochs": 3, "batch_size": 8, "head_width": 8, "bn_images": 16}


def dense_tasks() -> tuple[Task, ...]:
    return Segmentation("segmentation", channels=5), Depth("depth", inverse=True, unit="1/m"), Normals("normals")


def image_tasks() -> tuple[Task, ...]:
    return Classification("left", channels=4), Classification("right", channels=3)


def network_config(tasks: tuple[Task, ...] | None = None, seed: int = 0, backbone: str = "resnet_tiny") -> NetworkConfig:
    return NetworkConfig(
        tasks=dense_tasks() if tasks is None else tasks,
        image_size=SIZE,
        backbone=BackboneSpec(backbone, output_stride=8),
        head=HeadSpec(rates=(1, 2, 3), width=8, dropout=0.0),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        seed=seed,
    )


def build(cls: type[A], tasks: tuple[Task, ...] | None = None, seed: int = 0, **hypers: Any) -> A:
    return cls(network_config(tasks, seed), cls.configure(hypers, cls.__name__))


def batch(
    tasks: tuple[Task, ...] | None = None,
    count: int = 4,
    seed: int = 0,
    unlabelled: tuple[str, ...] = (),
    size: tuple[int, int] = SIZE,
) -> Batch:
    """Random images and valid random targets; the named tasks have no label on any of them."""
    tasks = dense_tasks() if tasks is None else tasks
    generator = torch.Generator().manual_seed(seed)
    targets: dict[str, torch.Tensor] = {}
    for task in tasks:
        shape = (count, *task.target_shape(*size))
        if task.kind in ("segmentation", "classification"):
            target = torch.randint(0, task.channels, shape, generator=generator)
        elif task.kind == "normals":
            target = torch.nn.functional.normalize(torch.randn(shape, generator=generator), dim=1)
        else:
            target = torch.rand(shape, generator=generator) + 0.1
        dtype = getattr(torch, task.dtype)
        targets[task.name] = (torch.full_like(target, task.invalid) if task.name in unlabelled else target).to(dtype)
    return Batch(
        image=torch.rand(count, 3, *size, generator=generator),
        targets=targets,
        labelled={task.name: torch.full((count,), task.name not in unlabelled) for task in tasks},
        index=torch.arange(count),
    )


def run(epochs: int = 4, seed: int = 0, **optimizer: Any) -> Run:
    return Run(
        seed=seed,
        budget=Budget("equal_total", epochs),
        optimizer=OptimizerSpec(**{"lr": 1e-3, **optimizer}),
        batch_size=4,
        images_per_epoch=16,
        device=torch.device("cpu"),
    )


def strategy(cls: type[S], network: Architecture, the_run: Run | None = None, **hypers: Any) -> S:
    """A started strategy."""
    started = cls(network, the_run or run(), cls.configure(hypers, cls.__name__))
    started.start()
    return started


def trials(
    folder: Path, methods: list[Any], dataset: str = "streets", options: Mapping[str, Any] | None = None, **kwargs: Any
) -> list[TrialSpec]:
    """Trials of methods on a small dataset, cached in `folder`."""
    options = STREETS if options is None and dataset == "streets" else options or {}
    experiment = make_experiment(
        {
            "name": "test",
            "methods": methods,
            "datasets": [{"name": dataset, "set": dict(options)}],
            "reference": False,
            "settings": {**SETTINGS, **kwargs.pop("settings", {})},
            "seeds": kwargs.pop("seeds", 1),
            "diagnose": kwargs.pop("diagnose", []),
        },
        "test",
    )
    registry = kwargs.pop("registry", None) or Registry()
    return expand(
        experiment, registry, lambda data, plugin: open_dataset(data, plugin.cls), cache=folder / "cache", **kwargs
    )


def shuffled(values: list[Any], seed: int = 0) -> list[Any]:
    return random.Random(seed).sample(values, len(values))
