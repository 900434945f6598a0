"""Decisions of AdaShare's policy: relaxed ones to learn it by, and drawn ones.

Logits A [..., L, 2] hold (select, skip) of every block; π = softmax(A)[select]. The equations stand in `__init__.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._shared.select_or_skip import Decisions

SELECT, SKIP = 0, 1


def relaxed(logits: Tensor, noise: Tensor, temperature: float, straight_through: bool = False) -> Tensor:
    """Gumbel-softmax: decisions [..., L, 2] from logits and Gumbel(0, 1) noise of that shape.

    With `straight_through` the values are one-hot, and the gradient is that of the soft decisions.
    """
    soft = ((logits + noise) / temperature).softmax(-1)
    if not straight_through:
        return soft
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return hard + soft - soft.detach()


def sampled(logits: Tensor, uniform: Tensor) -> Tensor:
    """Bernoulli decisions, bool [..., L]: select where a uniform draw in [0, 1) is below π."""
    return uniform < logits.softmax(-1)[..., SELECT]


def as_gates(decisions: Decisions) -> dict[str, Tensor]:
    """Decisions as gates [L, 2] of zeros and ones: column 0 selects, column 1 skips."""
    return {
        task: torch.tensor([[float(selected), float(not selected)] for selected in blocks])
        for task, blocks in decisions.items()
    }
