"""What properties are tried on: tasks, batches, runs and networks that are as small as they can be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from mtlbench.contract import Architecture, Batch, Budget, NetworkConfig, OptimizerSpec, Run, SharingGraph, SharingPlan
from mtlbench.networks.backbone import BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.tasks import Classification, Depth, Normals, Segmentation, Task

SIZE = (32, 32)
"""Height and width of the images."""

BATCH_SIZE = 4


def dense_tasks() -> tuple[Task, ...]:
    """Three tasks with one prediction per pixel, of unlike losses."""
    return Segmentation("segmentation", channels=4), Depth("depth", unit="m"), Normals("normals")


def image_tasks() -> tuple[Task, ...]:
    """Two tasks with one prediction per image."""
    return Classification("shape", channels=4), Classification("colour", channels=3)


TASKS: dict[str, Callable[[], tuple[Task, ...]]] = {"dense tasks": dense_tasks, "image tasks": image_tasks}


def network_config(tasks: Sequence[Task], seed: int = 0) -> NetworkConfig:
    """What a small network is built from. Its heads have no dropout, so that a forward pass can be repeated."""
    return NetworkConfig(
        tasks=tuple(tasks),
        image_size=SIZE,
        backbone=BackboneSpec("resnet_tiny", output_stride=8),
        head=HeadSpec(rates=(1, 2, 3), width=8, dropout=0.0),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        seed=seed,
    )


def make_batch(
    tasks: Sequence[Task], seed: int = 0, unlabelled: Collection[str] = (), count: int = BATCH_SIZE, own_images: bool = False
) -> Batch:
    """Random images with valid random targets.

    Args:
        unlabelled: tasks without a label on any image.
        own_images: every task has images of its own (multi-input data).
    """
    draw = torch.Generator().manual_seed(seed)
    targets, labelled, rows = {}, {}, {}
    for number, task in enumerate(tasks):
        shape = (count, *task.target_shape(*SIZE))
        own = torch.arange(count) % len(tasks) == number if own_images else torch.ones(count, dtype=torch.bool)
        rows[task.name] = own.nonzero()[:, 0]
        labelled[task.name] = own & (task.name not in unlabelled)
        if isinstance(task, Segmentation | Classification):
            target = torch.randint(0, task.channels, shape, generator=draw).to(getattr(torch, task.dtype))
        elif isinstance(task, Normals):
            target = nn.functional.normalize(torch.randn(shape, generator=draw), dim=1)
        else:
            target = torch.rand(shape, generator=draw) + 0.5
        target[~labelled[task.name]] = task.invalid
        targets[task.name] = target
    image = torch.rand(count, 3, *SIZE, generator=draw)
    return Batch(image, targets, labelled, torch.arange(count), rows if own_images else None)


def make_run(optimizer: OptimizerSpec | None = None, epochs: int = 4, micro_batches: int = 1) -> Run:
    """A run without a harness; the learning rate stays constant."""
    return Run(
        seed=0,
        budget=Budget("equal_total", epochs),
        optimizer=optimizer or OptimizerSpec("adam", lr=1e-3),
        batch_size=BATCH_SIZE,
        images_per_epoch=4 * BATCH_SIZE,
        device=torch.device("cpu"),
        training_images=lambda count, size: iter([make_batch(dense_tasks())]),
        micro_batches=micro_batches,
    )


class SharedTrunk(Architecture):
    """All tasks share the whole trunk."""

    def build(self) -> None:
        units = self.stage_units()
        self.graph = SharingGraph(units, SharingPlan.shared([unit.name for unit in units], list(self.tasks)))


class PartlySharedTrunk(Architecture):
    """All tasks share the first stages; the last task has the later ones alone, the others share theirs."""

    def build(self) -> None:
        units, count = self.stage_units(), len(self.tasks)
        together, apart = (0,) * count, (0,) * (count - 1) + (1,)
        table = tuple(together if depth < 2 else apart for depth in range(len(units)))
        self.graph = SharingGraph(units, SharingPlan(tuple(unit.name for unit in units), tuple(self.tasks), table))


class SeparateTrunks(Architecture):
    """No task shares anything."""

    shares = False

    def build(self) -> None:
        units = self.stage_units()
        self.graph = SharingGraph(units, SharingPlan.private([unit.name for unit in units], list(self.tasks)))


def build_example(cls: type[Architecture], tasks: Sequence[Task] | None = None, seed: int = 0) -> Architecture:
    """One of the architectures above, in training mode."""
    return cls(network_config(dense_tasks() if tasks is None else tasks, seed), {}).train()


class SignDescent(torch.optim.Optimizer):
    """Steps by the gradient's sign alone: it cannot tell how long a gradient is."""

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        weight.sub_(group["lr"] * weight.grad.sign())


class SignDescentSpec(OptimizerSpec):
    """The protocol's optimizer replaced by `SignDescent`."""

    def build(self, groups: Sequence[dict[str, object]]) -> torch.optim.Optimizer:  # type: ignore[override]
        return SignDescent([{**group, "peak_lr": self.lr} for group in groups], {"lr": self.lr})


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """All parameters, copied."""
    return {name: weight.detach().clone() for name, weight in module.named_parameters()}
