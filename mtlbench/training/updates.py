"""Counts the optimizer steps that move a network's weights, whoever makes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook


class UpdateCounter:
    """Counts while its context is open.

    Optimizers of a strategy's own weights alone (FAMO's logits, for example) do not count.

    Args:
        network: whose weights an update moves.

    Attributes:
        count: updates so far.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.count = 0
        self._moves_network: WeakKeyDictionary[Optimizer, bool] = WeakKeyDictionary()

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Within the context every step of an optimizer over weights of the network is counted."""
        handle = register_optimizer_step_post_hook(self._stepped)
        try:
            yield
        finally:
            handle.remove()

    def _stepped(self, optimizer: Optimizer, *_: Any) -> None:
        if optimizer not in self._moves_network:
            weights = {id(weight) for weight in self.network.parameters()}
            moved = (weight for group in optimizer.param_groups for weight in group["params"])
            self._moves_network[optimizer] = any(id(weight) in weights for weight in moved)
        self.count += self._moves_network[optimizer]
