"""TIES-Merging: trim, elect sign and merge (Yadav et al., NeurIPS 2023, arXiv:2306.01708).

    τ̂_t = τ_t where |τ_t| is among its largest k, else 0                       (trim)
    γ = sgn(Σ_t τ̂_t)                                                           (elect)
    τ = mean of the τ̂_t with sgn(τ̂_t) = γ, per parameter                       (disjoint merge)
    θ = θ_0 + λ τ

Legend: τ_t = θ_t − θ_0 task vectors (`_shared/merging.py`); k `kept`, a share of all parameters; λ `scale`. Where the sum is
zero, γ is the sign that most parameters have, as in the official code.
"""

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Hyper, Publication, Uniform

from ._shared.merging import Merging, Weights, moved, task_vectors


class TIES(Merging):
    """Merge only large changes of the trunk, and of these only the ones that agree in sign."""

    publication: ClassVar[Publication | None] = Publication(
        "Yadav et al.", "NeurIPS", 2023, "TIES-Merging: Resolving Interference When Merging Models", arxiv="2306.01708"
    )
    compared_with: ClassVar[str] = "official code"

    kept: float = Hyper(0.2, search=Uniform(0.05, 1.0), gt=0, le=1, help="k: share of every task vector that is kept")
    scale: float = Hyper(1.0, search=Uniform(0.3, 1.5), ge=0, help="λ: how much of the merged vector is added")

    def merged(self, start: Weights, ends: list[Weights]) -> Weights:
        return moved(start, self.scale * merge_vectors(task_vectors(start, ends), self.kept))


def merge_vectors(vectors: Tensor, kept: float) -> Tensor:
    """τ_t [T, P] → τ [P]."""
    size = vectors.shape[1]
    smallest = vectors.abs().kthvalue(max(1, size - int(size * kept)), dim=1, keepdim=True).values
    trimmed = torch.where(vectors.abs() >= smallest, vectors, 0.0)
    signs = trimmed.sum(0).sign()
    signs = torch.where(signs == 0, signs.sum().sign(), signs)
    agreeing = torch.where(trimmed * signs > 0, trimmed, 0.0)
    return agreeing.sum(0) / (agreeing != 0).sum(0).clamp_min(1)
