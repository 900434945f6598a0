"""AdaShare's policy: decisions relaxed and drawn from its logits, and what they are priced by.

Logits A [K, L, 2] hold (select, skip) of every task and block; π = softmax(A)[select]. Pure functions; the equations stand
in `adashare.py`.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

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


def sparsity_loss(logits: Tensor, gated: int, form: str = "code", depth_weighted: bool = False) -> Tensor:
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


def sharing_loss(logits: Tensor, form: str = "code", depth_weighted: bool = True) -> Tensor:
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
