"""Training one part of a network while the rest is frozen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def training_only(network: nn.Module, chosen: Iterable[nn.Parameter]) -> Iterator[None]:
    """Within the context the chosen parameters, which are frozen otherwise, are trainable, and all others are not."""
    switched = [parameter for parameter in network.parameters() if parameter.requires_grad] + list(chosen)
    try:
        for parameter in switched:
            parameter.requires_grad_(not parameter.requires_grad)
        yield
    finally:
        for parameter in switched:
            parameter.requires_grad_(not parameter.requires_grad)
