"""The network that tests of MTSL use: three tasks of several kinds on the smallest residual network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mtlbench.contract import Architecture, Batch, NetworkConfig, Run, Strategy, on_device
from mtlbench.methods.mtsl import MTSL
from mtlbench.tasks import Task
from tests.tiny_methods import MIXED_TASKS, SMALLEST, batches, make_run, network_config, strategy_class

SIZE = (32, 32)
NAMES = [task.name for task in MIXED_TASKS]


def config(tasks: Sequence[Task] = MIXED_TASKS, seed: int = 0, backbone: str = SMALLEST) -> NetworkConfig:
    return network_config(tasks, seed, backbone, SIZE)


def network(seed: int = 0, tasks: Sequence[Task] = MIXED_TASKS, **hypers: Any) -> MTSL:
    """MTSL as a trial has it."""
    net = MTSL(config(tasks, seed), MTSL.configure(hypers, "mtsl"))
    return on_device(net, net.mean.device)


def batch(count: int = 4, seed: int = 0) -> Batch:
    """Random images with labels of all tasks."""
    return batches(1, size=count, seed=seed, tasks=MIXED_TASKS, image_size=SIZE)[0]


def run_of(mode: str = "equal_total", epochs: int = 7, **optimizer: Any) -> Run:
    """A run with sixteen fixed training images in batches of eight."""
    run = make_run(epochs=epochs, mode=mode, **optimizer)
    run.batch_size = 8
    run.training_images = lambda count, size: iter([batch(8, seed=5), batch(8, seed=6)])
    return run


def strategy(net: Architecture, run: Run, name: str = "equal") -> Strategy:
    """A strategy of `methods/`, not started."""
    cls = strategy_class(name)
    return cls(net, run, cls.configure({}, name))
