"""TAG's affinity: what a step on one task does to the losses of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mtlbench.contract import Batch, MultiTaskNetwork


def affinities(network: MultiTaskNetwork, batch: Batch, rate: float) -> Tensor:
    """Z of one batch: float64 [T, T] on the CPU, row i column j holds Z_{i→j}; NaN where a task has no labels.

    In full precision, since a step changes a loss by little. The weights are as before to the bit.
    """
    numbers = {task: number for number, task in enumerate(network.tasks)}
    measured = torch.full((len(numbers), len(numbers)), float("nan"), dtype=torch.float64)
    with without_dropout(network):
        losses, shared = network.losses(batch), network.shared_parameters()
        steps = [torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True) for loss in losses.values()]
        with torch.no_grad():
            before = [weight.clone() for weight in shared]
            for task, gradients in zip(losses, steps, strict=True):
                for weight, gradient in zip(shared, gradients, strict=True):
                    if gradient is not None:
                        weight.sub_(gradient, alpha=rate)
                ahead = network.losses(batch)
                for weight, saved in zip(shared, before, strict=True):
                    weight.copy_(saved)
                for other, then in ahead.items():
                    measured[numbers[task], numbers[other]] = float(1 - then.double() / losses[other].detach().double())
    return measured


@contextmanager
def without_dropout(network: nn.Module) -> Iterator[None]:
    """Within the context dropout is off, and BatchNorm goes by the batch as in training."""
    layers = [module for module in network.modules() if isinstance(module, nn.Dropout) and module.training]
    try:
        for layer in layers:
            layer.eval()
        yield
    finally:
        for layer in layers:
            layer.train()
