"""How alike tasks are, from networks trained on one task each: representation similarity analysis.

Dwivedi and Roig (CVPR 2019, arXiv:1904.11740); Vandenhende et al. (BMVC 2020, arXiv:1904.02920).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

Floats = NDArray[np.float64]


def dissimilarity_matrix(features: Tensor) -> Tensor:
    """RDM of features [K, ...] of K images: 1 − Pearson correlation between every two images, [K, K].

    An image whose features do not vary correlates with none.
    """
    rows = features.flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
    correlation: Tensor = rows @ rows.T
    return 1 - correlation


def affinity(matrices: Sequence[Tensor]) -> Floats:
    """Spearman correlation between the strict upper triangles of the tasks' RDMs at one location, [T, T], diagonal 1.

    The triangles alone: with the other half left in as zeros unrelated features seem alike. Undefined ones (RDMs that do
    not vary, fewer than three images) are 0.
    """
    count = len(matrices[0])
    upper = torch.triu_indices(count, count, 1)
    ranks = np.stack([rankdata(matrix[upper[0], upper[1]].double().cpu().numpy()) for matrix in matrices])
    ranks -= ranks.mean(1, keepdims=True)
    norm = np.linalg.norm(ranks, axis=1, keepdims=True)
    ranks = np.divide(ranks, norm, out=np.zeros_like(ranks), where=norm > 0)
    correlation: Floats = ranks @ ranks.T
    np.fill_diagonal(correlation, 1.0)
    return correlation
