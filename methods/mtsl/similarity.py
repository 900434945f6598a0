"""How similar tasks represent images: debiased linear CKA between their features, and the loss that aligns them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

DEGENERATE = 1e-6
"""What is left after centring below this share of what was there is rounding, not signal."""


def centred_gram(features: Tensor) -> Tensor:
    """U-centred Gram matrix of features [..., N, C], scaled to norm 1: [..., N, N]; zero where there is no signal.

    The diagonal is left out throughout, which makes the Hilbert-Schmidt independence criterion unbiased (Song et al., JMLR
    2012, eq. 5; Székely and Rizzo, Ann. Statist. 2014). It means something for N ≥ 4.
    """
    n = features.shape[-2]
    # U-centring does the same to the Gram matrix, but only after the digits are lost that a large common part takes.
    centred = features - features.mean(-2, keepdim=True)
    varies = _size(centred) > DEGENERATE * _size(features)
    gram = centred @ centred.mT
    if n < 4:
        return gram * 0
    scale = _size(gram)
    diagonal = torch.eye(n, dtype=torch.bool, device=gram.device)
    gram = gram.masked_fill(diagonal, 0.0)
    means = gram.sum(-1, keepdim=True) / (n - 2)
    means = means - means.sum(-2, keepdim=True) / (2 * (n - 1))
    gram = (gram - means - means.mT).masked_fill(diagonal, 0.0)
    norm = gram.norm(dim=(-2, -1), keepdim=True)
    real = varies & (norm > DEGENERATE * scale)
    return torch.where(real, gram, 0.0) / torch.where(real, norm, 1.0)


def _size(matrix: Tensor) -> Tensor:
    size: Tensor = matrix.detach().norm(dim=(-2, -1), keepdim=True)
    return size


def cka(features: Sequence[Tensor]) -> Tensor:
    """Pairwise debiased linear CKA of feature sets of the same N images, each [N, C_i]: [T, T] in [−1, 1], diagonal 1.

    CKA(X, Y) = ⟨K̃, L̃⟩ / (‖K̃‖ ‖L̃‖), K̃ and L̃ the U-centred Gram matrices (Kornblith et al., ICML 2019; debiased by
    Nguyen et al., ICLR 2021). Where it is undefined (fewer than four images, constant features) it is 0.
    """
    grams = torch.stack([centred_gram(own).flatten() for own in features])
    similarity = grams @ grams.T
    return similarity.masked_fill(torch.eye(len(features), dtype=torch.bool, device=grams.device), 1.0)


def alignment_loss(features: Sequence[Tensor]) -> Tensor:
    """L_align / λ of pooled features, each [B, C]: 1 − mean CKA over pairs."""
    similarity = cka(features)
    rows, cols = torch.triu_indices(len(features), len(features), 1, device=similarity.device)
    return 1 - similarity[rows, cols].mean()


def rounded(similarity: Tensor) -> list[list[float]]:
    """For records."""
    return [[round(value, 4) for value in row] for row in similarity.tolist()]
