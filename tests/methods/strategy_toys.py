"""What the tests of strategies are built from: runs, batches, tiny networks, and networks without convolutions."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import mtlbench
from mtlbench.contract import Architecture, Batch, Budget, NetworkConfig, OptimizerSpec, Run, Strategy
from mtlbench.networks.backbone import LAYOUTS, BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.tasks import Classification, Depth, Task

LAYOUTS.setdefault("resnet_test", replace(LAYOUTS["resnet_tiny"], blocks=(1, 1, 1, 1), width=8))
"""The smallest residual network there can be: the strategies are tested, not the backbone."""

GOLDEN = Path(__file__).parents[1] / "golden"


def plugin(name: str) -> Any:
    """The one architecture or strategy that a method file defines."""
    module = importlib.import_module(f"{mtlbench.__name__}.methods.{name}")
    bases = (Architecture, Strategy)
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, bases) and value.__module__ == module.__name__
    )


def make(name: str, network: Any, run: Run, **hypers: Any) -> Any:
    """A started strategy."""
    cls = plugin(name)
    strategy = cls(network, run, cls.configure(hypers, name))
    strategy.start()
    return strategy


def make_run(seed: int = 0, epochs: int = 4, **optimizer: Any) -> Run:
    """A run without a harness; the optimizer's learning rate is constant unless `set_lr` is called."""
    spec = optimizer.pop("spec", None) or OptimizerSpec(**{"lr": 1e-3, **optimizer})
    return Run(
        seed=seed,
        budget=Budget("equal_total", epochs),
        optimizer=spec,
        batch_size=4,
        images_per_epoch=16,
        device=torch.device("cpu"),
        training_images=lambda count, size: iter(batches(1)),
    )


class SignDescent(torch.optim.Optimizer):
    """Steps by the gradient's sign alone: an optimizer that cannot tell how long a gradient is."""

    def __init__(self, groups: Any, lr: float) -> None:
        super().__init__(groups, {"lr": lr})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.data.sub_(group["lr"] * weight.grad.sign())


class SignSpec:
    """An `OptimizerSpec` of `SignDescent`."""

    clip = 0.0

    def build(self, groups: Any) -> torch.optim.Optimizer:
        return SignDescent([{**group, "peak_lr": 1e-3} for group in groups], 1e-3)


TASKS: tuple[Task, ...] = tuple(Classification(name, 4) for name in ("colour", "shape", "kind"))


def network_config(tasks: Sequence[Task] = TASKS, seed: int = 0) -> NetworkConfig:
    """A network of some thousand weights for images of 16 × 16."""
    return NetworkConfig(
        tasks=tuple(tasks),
        image_size=(16, 16),
        backbone=BackboneSpec("resnet_test", output_stride=8),
        head=HeadSpec(),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        seed=seed,
    )


def network(architecture: str = "hard_sharing", tasks: Sequence[Task] = TASKS, seed: int = 0) -> Architecture:
    """An architecture of `methods/` on the tiny backbone, in training mode."""
    cls = plugin(architecture)
    built: Architecture = cls(network_config(tasks, seed), cls.configure({}, architecture))
    return built.train()


def batches(count: int, without: Mapping[int, Sequence[str]] | None = None, size: int = 4, seed: int = 0) -> list[Batch]:
    """Random batches with labels of all of `TASKS`; `without` names, by batch, the tasks that lack theirs."""
    draw = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        absent = (without or {}).get(number, ())
        targets = {task.name: torch.randint(0, task.channels, (size,), generator=draw, dtype=torch.int16) for task in TASKS}
        image = torch.rand(size, 3, 16, 16, generator=draw)
        for task in TASKS:
            if task.name in absent:
                targets[task.name].fill_(task.invalid)
        labelled = {name: torch.full((size,), name not in absent) for name in targets}
        made.append(Batch(image, targets, labelled, torch.arange(size)))
    return made


class Plain(nn.Module):
    """A network that speaks to strategies as an `Architecture` does; `losses_of` may do anything.

    Args:
        shared: modules or parameters that all tasks own.
        heads: task → its own module.
        losses_of: (batch, tasks) → losses.
    """

    def __init__(self, shared: nn.Module, heads: nn.ModuleDict, losses_of: Callable[[Any, Sequence[str]], dict]) -> None:
        super().__init__()
        self.shared, self.heads, self.losses_of = shared, heads, losses_of
        self.tasks = {name: Depth(name) for name in heads}

    def losses(self, batch: Any, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        return self.losses_of(batch, [task for task in self.tasks if tasks is None or task in tasks])

    def owners(self) -> dict[str, frozenset[str]]:
        return {
            name: frozenset(self.tasks) if name.startswith("shared.") else frozenset({name.split(".")[1]})
            for name, _ in self.named_parameters()
        }

    def shared_parameters(self) -> list[nn.Parameter]:
        return list(self.shared.parameters())

    def own_parameters(self, task: str) -> list[nn.Parameter]:
        return list(self.heads[task].parameters())

    def parameters_of(self, tasks: Sequence[str]) -> list[nn.Parameter]:
        return [*self.shared_parameters(), *(weight for task in tasks for weight in self.own_parameters(task))]


def linear(gradients: np.ndarray, losses: np.ndarray) -> Plain:
    """A network whose loss of task t is `losses[t]` with the gradient `gradients[t]` for its one shared weight [1, P]."""
    rows = torch.from_numpy(np.array(gradients, dtype=np.float64))
    shared = nn.Linear(rows.shape[1], 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(shared.weight)
    names = [f"t{number}" for number in range(len(rows))]
    values = {"losses": torch.from_numpy(np.array(losses, dtype=np.float64)), "gradients": rows}

    def losses_of(batch: Any, tasks: Sequence[str]) -> dict[str, Tensor]:
        at = {name: number for number, name in enumerate(names)}
        return {t: values["losses"][at[t]] + values["gradients"][at[t]] @ shared.weight[0] for t in tasks}

    built = Plain(shared, nn.ModuleDict({name: nn.Identity() for name in names}), losses_of)
    object.__setattr__(built, "values", values)
    return built


def train_phases(architecture: Architecture, strategy: Strategy) -> None:
    """Train through all phases of the architecture, one batch an epoch."""
    for phase in architecture.phases(strategy.run, strategy):
        if phase.skip():
            continue
        phase.begin()
        phase.prepare()
        for epoch in range(phase.epochs):
            losses: dict[str, Tensor] = {}
            for one in phase.passes(epoch):
                losses = one.step(batches(1)[0])
            phase.end_epoch(epoch, {task: float(loss.detach()) for task, loss in losses.items()})
            strategy.run.epoch += 1
        phase.finish()


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """The parameters, copied."""
    return {name: weight.detach().clone() for name, weight in module.named_parameters()}


def train(strategy: Strategy, data: Sequence[Batch], epochs: int = 1) -> None:
    """Train as the harness does: epochs, end of epochs."""
    for _ in range(epochs):
        for batch in data:
            losses = strategy.step(batch)
        strategy.end_epoch({task: float(loss.detach()) for task, loss in losses.items()})
        strategy.run.epoch += 1
