"""The network that tests of select-or-skip methods use: three tasks and six residual blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import torch

from mtlbench.contract import Architecture, Phase, Run, Strategy
from mtlbench.methods._shared.select_or_skip import Decisions
from mtlbench.methods.adashare import AdaShare
from mtlbench.tasks import Task
from tests.tiny import A
from tests.tiny_methods import SIX_BLOCKS, TASKS, build, graph_of, make, make_run, network_config

BLOCKS = 6


@overload
def network(*, tasks: Sequence[Task] = ..., seed: int = ..., **hypers: Any) -> AdaShare: ...
@overload
def network(cls: type[A], *, tasks: Sequence[Task] = ..., seed: int = ..., **hypers: Any) -> A: ...
def network(cls: Any = AdaShare, *, tasks: Sequence[Task] = TASKS, seed: int = 0, **hypers: Any) -> Any:
    """An architecture with six residual blocks, in training mode."""
    return build(cls, network_config(tasks, seed, SIX_BLOCKS), **hypers)


def start(
    net: Architecture, epochs: int = 10, mode: str = "equal_total", strategy: str = "equal", images: int = 40
) -> tuple[Run, Strategy, list[Phase]]:
    """A run over so many images (batches of four), with the network's phases."""
    run = make_run(epochs=epochs, mode=mode)
    run.images_per_epoch = images
    started = make(strategy, net, run)
    return run, started, net.phases(run, started)


def some_policy(net: AdaShare, seed: int = 0, scale: float = 2.0) -> None:
    """Give the network logits that differ."""
    draw = torch.Generator().manual_seed(seed)
    for logits in net.policies.by_task().values():
        logits.data.copy_(torch.randn(logits.shape, generator=draw) * scale)


def decisions_of(blocks: Callable[[], list[bool]]) -> Decisions:
    """Decisions of every task, each from a call."""
    return {task.name: blocks() for task in TASKS}


__all__ = ["BLOCKS", "decisions_of", "graph_of", "network", "some_policy", "start"]
