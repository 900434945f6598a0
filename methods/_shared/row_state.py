"""Tensors as large as the tasks' gradients, which a strategy keeps from one step to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class RowState(Optimizer):
    """Named tensors that belong to the network's present structure; saved, restored and forgotten as moments are.

    A phase may change how many weights are shared, and a resumed trial loads a strategy's buffers before it knows. So such
    tensors cannot be buffers. Made in `start` and put among the strategy's `optimizers`, they are restored after it. This
    optimizer has no weights of the network, and is never stepped.

    Args:
        tensors: name → tensor of floating-point numbers; all of one type, on one device.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        # States are kept per parameter, and loaded with its type and device.
        self.keeper = nn.Parameter(torch.empty_like(next(iter(tensors.values())).flatten()[:0]))
        super().__init__([{"params": [self.keeper], "lr": 0.0, "fixed_lr": True}], {})
        self.state[self.keeper] = dict(tensors)

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self.state[self.keeper][name]
        return tensor

    def step(self, closure: Callable[[], float] | None = None) -> Any:  # type: ignore[override]
        """Nothing: it only keeps."""
