"""What AdaShare's policy is priced by: executing blocks, and deciding differently from other tasks.

Both published forms; the equations stand in `__init__.py`. Logits A [K, L, 2] hold (select, skip) of K tasks and L blocks.
"""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from .decisions import SELECT, SKIP

Form = Literal["code", "paper"]


def sparsity_loss(logits: Tensor, gated: int, form: Form = "code", depth_weighted: bool = False) -> Tensor:
    """What executing blocks costs, over the last `gated` blocks of logits [K, L, 2].

    code:  Σ_k mean_l −log(1 − π_{l,k});  with `depth_weighted` each term times 2 l / L
    paper: Σ_k Σ_l log π_{l,k}
    """
    blocks = logits.shape[1]
    gated = min(gated, blocks)
    log_policy = logits.log_softmax(-1)[:, blocks - gated :]
    if form == "paper":
        return log_policy[..., SELECT].sum()
    cost = -log_policy[..., SKIP]
    if depth_weighted:
        cost = cost * (2 * depths(logits) / blocks)[blocks - gated :]
    return cost.mean(1).sum()


def sharing_loss(logits: Tensor, form: Form = "code", depth_weighted: bool = True) -> Tensor:
    """What deciding differently costs, over all L blocks of logits [K, L, 2] and every pair of tasks i < j.

    code:  Σ_{i<j} Σ_l (l / L) |A_{l,i}[select] − A_{l,j}[select]|        raw logits, later blocks weigh more
    paper: Σ_{i<j} Σ_l ((L − l) / L) |π_{l,i} − π_{l,j}|                  earlier blocks weigh more
    """
    blocks = logits.shape[1]
    weight = depths(logits) / blocks
    values = logits[..., SELECT]
    if form == "paper":
        weight, values = 1 - weight, logits.softmax(-1)[..., SELECT]
    if not depth_weighted:
        weight = torch.ones_like(weight)
    pairs = combinations(range(len(logits)), 2)
    return sum(((weight * (values[i] - values[j]).abs()).sum() for i, j in pairs), logits.new_zeros(()))


def depths(logits: Tensor) -> Tensor:
    """l = 1 … L."""
    return torch.arange(1, logits.shape[1] + 1, dtype=logits.dtype, device=logits.device)
