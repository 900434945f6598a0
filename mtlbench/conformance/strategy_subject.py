"""A strategy that is checked, and what the properties of strategies have in common: batches, training, comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from mtlbench.conformance.examples import (
    PartlySharedTrunk,
    SeparateTrunks,
    SharedTrunk,
    build_example,
    dense_tasks,
    make_batch,
    make_run,
)
from mtlbench.conformance.suite import Failed
from mtlbench.contract import Architecture, Batch, OptimizerSpec, Run, Strategy, TaskLosses
from mtlbench.tasks import Task

PLAIN_SGD = OptimizerSpec("sgd", lr=1e-3, momentum=0.0)

TOLERANCE = 1e-3
"""Of the way that training moved the weights: ten times what rounding leaves."""


@dataclass(frozen=True)
class StrategySubject:
    """A strategy to be checked, with its hyper-parameters at their defaults."""

    name: str
    cls: type[Strategy]

    def create(self, network: Architecture, run: Run | None = None) -> Strategy:
        """The strategy before `start`."""
        return self.cls(network, run or make_run(), self.cls.configure({}, self.name))

    def start(self, network: Architecture, run: Run | None = None) -> Strategy:
        """The strategy after `start`."""
        strategy = self.create(network, run)
        strategy.start()
        return strategy

    def networks(self) -> list[Architecture]:
        """Networks that the strategy means something on."""
        kinds: list[type[Architecture]] = [SharedTrunk, PartlySharedTrunk]
        if not self.cls.needs_sharing:
            kinds.append(SeparateTrunks)
        return [build_example(kind) for kind in kinds]


def batches(
    count: int, tasks: Sequence[Task] | None = None, unlabelled: Mapping[int, Sequence[str]] | None = None, seed: int = 0
) -> list[Batch]:
    """Random batches; `unlabelled` names, by batch, the tasks that lack their labels."""
    # Drawn for all tasks, so that a task has the same targets among any others.
    drawn = [make_batch(dense_tasks(), seed + number, (unlabelled or {}).get(number, ())) for number in range(count)]
    if tasks is None:
        return drawn
    names = [task.name for task in tasks]
    return [
        replace(
            batch,
            targets={name: batch.targets[name] for name in names},
            labelled={name: batch.labelled[name] for name in names},
        )
        for batch in drawn
    ]


def losses_of(strategy: Strategy, batch: Batch) -> TaskLosses:
    """What a step returns."""
    returned = strategy.step(batch)
    if not isinstance(returned, dict):
        raise Failed(f"`step` returned {type(returned).__name__}: return the losses, a dict of task → scalar")
    return returned


def train(strategy: Strategy, data: Sequence[Batch], epochs: int = 1) -> None:
    """Train as the harness does: steps, then the end of the epoch."""
    for _ in range(epochs):
        sums = dict.fromkeys(strategy.tasks, 0.0)
        for batch in data:
            returned = strategy.step(batch)
            # What `step` returns is another property's business.
            for task, loss in returned.items() if isinstance(returned, dict) else ():
                sums[task] += float(torch.as_tensor(loss).detach()) / len(data)
        strategy.end_epoch(sums)
        strategy.run.epoch += 1


def difference(network: nn.Module, other: nn.Module) -> float:
    """The largest difference of any single weight."""
    weights = dict(other.named_parameters())
    largest = [(weight - weights[name]).detach().abs().max() for name, weight in network.named_parameters()]
    value = float(torch.stack(largest).max())
    return value if value == value else float("inf")


def relative_difference(network: Architecture, other: Architecture, tasks: Sequence[Task]) -> float:
    """The same, as a fraction of the furthest that training moved a weight of a `SharedTrunk`."""
    apart, moved = difference(network, other), difference(network, build_example(SharedTrunk, tasks))
    if not 0 < moved < float("inf"):
        return 0.0 if apart == 0 else float("inf")
    return apart / moved
