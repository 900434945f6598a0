"""Small methods for tests: runs, batches, networks of some thousand weights, and networks without convolutions."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtlbench.config.plugins import Registry
from mtlbench.contract import (
    Architecture,
    Batch,
    Budget,
    MultiTaskNetwork,
    NetworkConfig,
    OptimizerSpec,
    Phase,
    Run,
    SharingGraph,
    Strategy,
    TaskLosses,
)
from mtlbench.networks.backbone import LAYOUTS, Layout
from mtlbench.networks.residual import BasicBlock
from mtlbench.tasks import Classification, Depth, Segmentation, Task
from tests import tiny
from tests.tiny import A, S

GOLDEN = Path(__file__).parent / "golden"

SIZE = (16, 16)

SMALLEST, SIX_BLOCKS = "resnet_smallest", "resnet_six"
"""Backbones: one block per stage; six blocks, some with and some without a projection."""

LAYOUTS.setdefault(SMALLEST, replace(LAYOUTS["resnet_tiny"], blocks=(1, 1, 1, 1), width=8))
LAYOUTS.setdefault(SIX_BLOCKS, Layout(BasicBlock, (2, 2, 1, 1), width=8))

TASKS: tuple[Task, ...] = tuple(Classification(name, 4) for name in ("colour", "shape", "kind"))
"""Tasks of an image."""

MIXED_TASKS: tuple[Task, ...] = (Segmentation("seg", 3), Depth("depth"), Classification("kind", 4))
"""Dense tasks and one of an image."""

# -- plugins ------------------------------------------------------------------------------------------------------------


def architecture_class(name: str) -> type[Architecture]:
    """The class of an architecture; skips the test where a package is missing that it needs."""
    skip_without_packages(name)
    return Registry().architecture(name).cls


def strategy_class(name: str) -> type[Strategy]:
    """The class of a strategy; skips the test where a package is missing that it needs."""
    skip_without_packages(name)
    return Registry().strategy(name).cls


def skip_without_packages(name: str) -> None:
    """Skip the test where a package is missing that a method needs."""
    plugin = Registry().group("methods")[name]
    if plugin.lacks_package:
        pytest.skip(f"{name} {plugin.broken}")


def strategy_names() -> list[str]:
    """All strategies, and the methods that lack a package (whose tests say so)."""
    return [
        name for name, plugin in Registry().group("methods").items() if plugin.kind == "strategy" or plugin.lacks_package
    ]


# -- runs and batches ---------------------------------------------------------------------------------------------------


def make_run(seed: int = 0, epochs: int = 4, mode: str = "equal_total", **optimizer: Any) -> Run:
    """A run without a harness over sixteen images; the learning rate is constant unless `set_lr` is called.

    Args:
        optimizer: arguments of `OptimizerSpec`, or `spec`, a whole one.
    """
    spec = optimizer.pop("spec", None) or OptimizerSpec(**{"lr": 1e-3, **optimizer})
    return Run(
        seed=seed,
        budget=Budget(mode, epochs),  # type: ignore[arg-type]
        optimizer=spec,
        batch_size=4,
        images_per_epoch=16,
        device=torch.device("cpu"),
        training_images=lambda count, size: iter(batches(1)),
    )


def batches(
    count: int,
    without: Mapping[int, Iterable[str]] | None = None,
    size: int = 4,
    seed: int = 0,
    tasks: tuple[Task, ...] = TASKS,
    image_size: tuple[int, int] = SIZE,
) -> list[Batch]:
    """Random batches with labels of all tasks; `without` names, by batch, the tasks that lack theirs."""
    absent = {number: tuple(names) for number, names in (without or {}).items()}
    return [
        tiny.batch(tasks, size, seed=1000 * seed + number, unlabelled=absent.get(number, ()), size=image_size)
        for number in range(count)
    ]


class SignDescent(torch.optim.Optimizer):
    """Steps by the gradient's sign alone: an optimizer that cannot tell how long a gradient is."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, {"lr": lr})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.data.sub_(group["lr"] * weight.grad.sign())


class SignSpec(OptimizerSpec):
    """An `OptimizerSpec` of `SignDescent`."""

    def build(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        return SignDescent([{**group, "peak_lr": 1e-3} for group in groups], 1e-3)


# -- networks -----------------------------------------------------------------------------------------------------------


def network_config(
    tasks: Sequence[Task] = TASKS, seed: int = 0, backbone: str = SMALLEST, size: tuple[int, int] = SIZE
) -> NetworkConfig:
    """A network of some thousand weights."""
    return replace(tiny.network_config(tuple(tasks), seed, backbone), image_size=size)


def build(cls: type[A], config: NetworkConfig | None = None, **hypers: Any) -> A:
    """An architecture in training mode; of `network_config()` unless another is given."""
    return cls(config or network_config(), cls.configure(hypers, cls.__name__)).train()


def network(architecture: str = "hard_sharing", tasks: Sequence[Task] = TASKS, seed: int = 0) -> Architecture:
    """An architecture of `methods/` in training mode, by its name."""
    return build(architecture_class(architecture), network_config(tasks, seed))


def make(name: str, net: Architecture | Plain, run: Run, **hypers: Any) -> Strategy:
    """A started strategy, by its name."""
    return started(strategy_class(name), net, run, **hypers)


def started(cls: type[S], net: Architecture | Plain, run: Run, **hypers: Any) -> S:
    """A started strategy, by its class."""
    # A `Plain` network does for a strategy what a `MultiTaskNetwork` does.
    strategy = cls(cast(MultiTaskNetwork, net), run, cls.configure(hypers, cls.__name__))
    strategy.start()
    return strategy


def graph_of(net: Architecture) -> SharingGraph:
    """The network's sharing graph."""
    assert net.graph is not None
    return net.graph


def parameters_of(net: nn.Module) -> int:
    """How many single weights a network has."""
    return sum(weight.numel() for weight in net.parameters())


class Plain(nn.Module):
    """A network without convolutions: strategies use it as they use a `MultiTaskNetwork`.

    Args:
        shared: parameters that all tasks own.
        heads: task → its own module.
        losses_of: (batch, tasks) → losses.
    """

    def __init__(
        self, shared: nn.Module, heads: Mapping[str, nn.Module], losses_of: Callable[[Any, Sequence[str]], TaskLosses]
    ) -> None:
        super().__init__()
        self.shared = shared
        self.heads = nn.ModuleDict(dict(heads))
        self.losses_of = losses_of
        self.tasks = {name: Depth(name) for name in heads}

    def losses(self, batch: Any, tasks: Sequence[str] | None = None) -> TaskLosses:
        return self.losses_of(batch, [task for task in self.tasks if tasks is None or task in tasks])

    def owners(self) -> dict[str, frozenset[str]]:
        owner = {id(weight): frozenset({task}) for task in self.tasks for weight in self.own_parameters(task)}
        return {name: owner.get(id(weight), frozenset(self.tasks)) for name, weight in self.named_parameters()}

    def shared_parameters(self) -> list[nn.Parameter]:
        return list(self.shared.parameters())

    def own_parameters(self, task: str) -> list[nn.Parameter]:
        return list(self.heads[task].parameters())

    def parameters_of(self, tasks: Sequence[str]) -> list[nn.Parameter]:
        return [*self.shared_parameters(), *(weight for task in tasks for weight in self.own_parameters(task))]

    def part_of_parameters(self) -> dict[int, int]:
        """One part: all tasks own the shared weights."""
        return {id(weight): 0 for weight in self.parameters()}


class Linear(Plain):
    """Losses that are linear in one shared weight [1, P]: that of task t is `losses[t]`, its gradient `gradients[t]`.

    Attributes:
        weight: the shared weight, 0 at first.
        gradients: float64 [T, P].
        values: float64 [T], the losses at 0.
    """

    def __init__(self, gradients: NDArray[np.float64], losses: NDArray[np.float64]) -> None:
        layer = nn.Linear(gradients.shape[1], 1, bias=False, dtype=torch.float64)
        nn.init.zeros_(layer.weight)
        super().__init__(layer, {f"t{number}": nn.Identity() for number in range(len(gradients))}, self.linear_losses)
        self.weight = layer.weight
        self.gradients = torch.from_numpy(np.array(gradients, dtype=np.float64))
        self.values = torch.from_numpy(np.array(losses, dtype=np.float64))

    def linear_losses(self, batch: object, tasks: Sequence[str]) -> TaskLosses:
        number = {name: place for place, name in enumerate(self.tasks)}
        return {task: self.values[number[task]] + self.gradients[number[task]] @ self.weight[0] for task in tasks}


# -- training -----------------------------------------------------------------------------------------------------------


def run_phase(phase: Phase, batch: Callable[[int], Batch] | None = None, between: Callable[[], None] | None = None) -> None:
    """Train through a phase as the harness does, one batch per pass.

    Args:
        batch: a batch from the epoch's number in the trial; default: always the same.
        between: called after every epoch.
    """
    if phase.skip():
        return
    run = phase.strategy.run
    phase.begin()
    phase.prepare()
    for epoch in range(phase.epochs):
        losses: TaskLosses = {}
        for part in phase.passes(epoch):
            losses = part.step(batch(run.epoch) if batch else batches(1)[0])
        phase.end_epoch(epoch, mean_losses(losses))
        run.epoch += 1
        if between:
            between()
    phase.finish()


def train_phases(architecture: Architecture, strategy: Strategy) -> None:
    """Train through all phases of the architecture, one batch per pass."""
    for phase in architecture.phases(strategy.run, strategy):
        run_phase(phase)


def train(strategy: Strategy, data: Sequence[Batch], epochs: int = 1) -> None:
    """Train as the harness does: epochs, end of epochs."""
    for _ in range(epochs):
        for batch in data:
            losses = strategy.step(batch)
        strategy.end_epoch(mean_losses(losses))
        strategy.run.epoch += 1


def mean_losses(losses: TaskLosses) -> dict[str, float]:
    """Losses as numbers."""
    return {task: float(loss.detach()) for task, loss in losses.items()}


def reloaded(value: Any) -> Any:
    """What a checkpoint gives back: tensors, numbers, strings and plain containers are all that it may hold."""
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """The parameters, copied."""
    return {name: weight.detach().clone() for name, weight in module.named_parameters()}
