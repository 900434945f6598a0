"""DualProj: gradient episodic memory's projection (Lopez-Paz and Ranzato, NeurIPS 2017, arXiv:1706.08840, eq. 11)."""

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import JacobianStrategy, Publication, TaskLosses


class DualProj(JacobianStrategy):
    """Step along the vector nearest to the mean gradient that conflicts with no task's.

        min_v ½ ‖Jᵀ(u + v)‖²,   v ≥ 0,   u = 1/T each,        step along Jᵀ(u + v)

    From continual learning, where one task's gradient is projected; for several at once in Quinton and Rey, 2024
    (arXiv:2406.16232), who name it so. Where nothing conflicts it is the mean gradient. Solved exactly, as a non-negative
    least-squares problem (torchjd's quadratic program adds 10⁻⁴ to the diagonal). UPGrad projects every gradient first and
    averages then.
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Lopez-Paz and Ranzato", "NeurIPS", 2017, "Gradient Episodic Memory for Continual Learning", arxiv="1706.08840"
    )
    compared_with: ClassVar[str] = "torchjd"
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        import numpy as np
        from scipy.optimize import nnls

        # G = R Rᵀ, so that ‖Jᵀx‖ = ‖Rᵀx‖. Only the ratio of the gradients matters.
        values, vectors = np.linalg.eigh((gramian / gramian.diagonal().max()).numpy())
        root = vectors * np.sqrt(values.clip(min=0))
        mean = np.full(len(root), 1 / len(root))
        added, _ = nnls(root.T, -root.T @ mean)
        return torch.from_numpy(mean + added)
