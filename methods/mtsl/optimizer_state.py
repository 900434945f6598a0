"""Optimizer state that follows parameters by name through changes of structure, and through checkpoints on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mtlbench.contract import Strategy, restore_by_name, state_by_name

States = dict[str, dict[str, dict[str, Any]]]
"""Optimizer's name → parameter's name → its state, as torch.optim keeps it."""

T = TypeVar("T")


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


def average(values: Sequence[T]) -> T | Tensor:
    """The mean of tensors, exact where they are equal; the largest of counters; the first of anything else."""
    first = values[0]
    if not isinstance(first, Tensor):
        return first
    stacked = torch.stack([value for value in values if isinstance(value, Tensor)])
    return first + (stacked - first).mean(0) if first.is_floating_point() else stacked.amax(0)


def average_members(states: States, members: Sequence[Sequence[str]]) -> None:
    """Let the first member's parameters have the mean of all members' states, and forget those of the others.

    Args:
        members: per member, the names of its parameters, in the same order.
    """
    for state in states.values():
        for names in zip(*members, strict=True):
            known = [state.pop(name) for name in names if name in state]
            if known:
                state[names[0]] = {key: average([own[key] for own in known]) for key in known[0]}


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
