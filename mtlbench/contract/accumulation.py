"""Gradient accumulation, with one meaning for every strategy: a step's losses are means over pieces of its batch.

The pieces go through the network one after another, and again when their gradient is asked for (activation
checkpointing, Chen et al., arXiv:1604.06174): memory is that of one piece, at the price of another forward pass per
backward pass. A strategy sees the losses of the whole batch, whatever it does with them: products, logarithms, one
gradient per task, a second evaluation. A step stays one step, clipped once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mtlbench.contract.batch import Batch
from mtlbench.networks.batchnorm import FrozenStatistics

Losses = Callable[[Batch], dict[str, Tensor]]


def accumulated(losses: Losses, batch: Batch, count: int, network: nn.Module) -> dict[str, Tensor]:
    """Each labelled task's loss: the mean over the pieces, weighted by how many of their images carry its label.

    BatchNorm sees a piece at a time, and once: the count is part of the protocol, and how often a strategy asks for
    gradients leaves no trace in running statistics.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), FrozenStatistics(network)

    terms: dict[str, list[Tensor]] = {}
    for piece in batch.pieces(count):
        for task, loss in checkpoint(losses, piece, use_reentrant=False, context_fn=contexts).items():
            share = piece.labelled[task].sum() / batch.labelled[task].sum()
            terms.setdefault(task, []).append(float(share) * loss)
    return {task: torch.stack(parts).sum() for task, parts in terms.items()}
