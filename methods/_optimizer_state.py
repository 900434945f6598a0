"""Optimizer state that follows parameters by name through changes of structure, and through checkpoints on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtlbench.contract import Strategy, restore_by_name, state_by_name

States = dict[str, dict[str, Any]]
"""Optimizer's name → parameter's name → its state."""


def collect(strategy: Strategy) -> States:
    """The state of every parameter of the network, and of the strategy's own."""
    return {
        name: {**state_by_name(optimizer, strategy.network), **state_by_name(optimizer, strategy)}
        for name, optimizer in strategy.optimizers.items()
    }


def restore(strategy: Strategy, states: States) -> None:
    """Give the strategy's optimizers what was collected; parameters that are new start afresh."""
    for name, optimizer in strategy.optimizers.items():
        restore_by_name(optimizer, strategy.network, states.get(name, {}))
        restore_by_name(optimizer, strategy, states.get(name, {}))


def average(values: Sequence[Any]) -> Any:
    """The mean of tensors, exact where they are equal; the largest of counters; the first of anything else."""
    first = values[0]
    if not isinstance(first, Tensor):
        return first
    stacked = torch.stack(list(values))
    return first + (stacked - first).mean(0) if first.is_floating_point() else stacked.amax(0)


class Carried(nn.Module):
    """Holds states between two phases, as a part of the network, so that they are saved with it."""

    def __init__(self, states: States) -> None:
        super().__init__()
        self.states = states

    def get_extra_state(self) -> States:
        return self.states

    def set_extra_state(self, state: States) -> None:
        # Loading moves all tensors to the network's device, and optimizers count steps on the CPU.
        for parameters in state.values():
            for own in parameters.values():
                own.update({key: value.cpu() for key, value in own.items() if key == "step" and isinstance(value, Tensor)})
        self.states = state
