"""What the tests of select-or-skip methods are built from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from mtlbench.contract import Budget, Phase, Run, Strategy
from mtlbench.networks.backbone import LAYOUTS, Layout
from mtlbench.networks.residual import BasicBlock
from mtlbench.tasks import Task
from tests.methods.strategy_toys import TASKS, batches, make, make_run, network_config, plugin

LAYOUTS.setdefault("resnet_six", Layout(BasicBlock, (2, 2, 1, 1), width=8))
"""Six blocks, some with and some without a projection."""

BLOCKS = 6


def network(architecture: str = "adashare", tasks: Sequence[Task] = TASKS, seed: int = 0, **hypers: Any) -> Any:
    """An architecture of `methods/` with six residual blocks, in training mode."""
    plan = network_config(tasks, seed)
    plan = replace(plan, backbone=replace(plan.backbone, name="resnet_six"))
    cls = plugin(architecture)
    return cls(plan, cls.configure(hypers, architecture)).train()


def started(
    net: Any, epochs: int = 10, mode: str = "equal_total", strategy: str = "equal", images: int = 40
) -> tuple[Run, Strategy, list[Phase]]:
    """A run over so many images (batches of four), with the network's phases."""
    run = make_run()
    run.budget, run.images_per_epoch = Budget(mode, epochs), images  # type: ignore[arg-type]
    built = make(strategy, net, run)
    return run, built, net.phases(run, built)


def some_policy(net: Any, seed: int = 0, scale: float = 2.0) -> None:
    """Give the network logits that differ."""
    draw = torch.Generator().manual_seed(seed)
    for logits in net.logits.values():
        logits.data.copy_(torch.randn(logits.shape, generator=draw) * scale)


__all__ = ["BLOCKS", "TASKS", "batches", "network", "some_policy", "started"]
