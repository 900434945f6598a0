"""ConFIG: conflict-free inverse gradients (Liu, Chu and Thuerey, ICLR 2025, arXiv:2408.11104, eq. 2)."""

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import JacobianStrategy, Publication, TaskLosses

_RANK_TOLERANCE = 1e-6
"""Of the largest eigenvalue: below it the cosines of float32 gradients are noise."""


class ConFIG(JacobianStrategy):
    """Step in the direction that makes the same angle with all task gradients, at the length of their projections onto it.

        d = U⁺ 1,   u = d / ‖d‖,        step along (Σ_t g_t · u) u

    Legend: U the rows g_t / ‖g_t‖, U⁺ its pseudo-inverse. Computed from inner products: with C = U Uᵀ the tasks' cosines,
    d = Uᵀ C⁺ 1. (Where gradients are linearly dependent, C⁺ leaves out what rounding alone decides, and no common direction
    may exist: nothing moves between two opposite gradients.) For two tasks d is that of IMTL-G; for more it differs.

    The variant with momentum (M-ConFIG), which back-propagates one loss per step, is left out. Named config_grad, since
    "config" says nothing.
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Liu et al.",
        "ICLR",
        2025,
        "ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks",
        arxiv="2408.11104",
    )
    compared_with: ClassVar[str] = "official code"
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order", "loss_scale"})

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        norms = gramian.diagonal().sqrt()
        cosines = gramian / torch.outer(norms, norms)
        direction = torch.linalg.pinv(cosines, hermitian=True, rtol=_RANK_TOLERANCE).sum(1) / norms
        length = direction @ gramian @ direction
        if length <= 0:
            return torch.zeros_like(norms)
        return direction * (gramian.sum(0) @ direction) / length
