"""MGDA for multi-task learning (Désidéri 2012; Sener and Koltun, NeurIPS 2018, arXiv:1810.04650, eq. 3)."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from mtlbench.contract import Choice, Hyper, JacobianStrategy, Publication, TaskLosses


class MGDA(JacobianStrategy):
    """Descend the shortest convex combination of the task gradients.

        min ‖Σ_t α_t g_t‖²,        α_t ≥ 0,  Σ_t α_t = 1

    Solved exactly, as a non-negative least-squares problem: with S Sᵀ the gradients' inner products, x ≥ 0 minimising
    ‖Sᵀx‖² + (Σ x − 1)² is a multiple of α. (The Frank-Wolfe loop of published code and of torchjd stops up to 20 % above
    the minimum.) `gradients="features"` is the paper's upper bound, MGDA-UB, over the features of all images of the batch
    (LibMTL sums each gradient over the images first).

    `normalisation` divides each gradient first, by its norm ("l2"), its task's loss ("loss"), or both ("loss+").
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Sener and Koltun", "NeurIPS", 2018, "Multi-Task Learning as Multi-Objective Optimization", arxiv="1810.04650"
    )
    compared_with: ClassVar[str] = "exact minimum; LibMTL and torchjd"

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})
    feature_gradients: ClassVar[bool] = True

    normalisation: Literal["none", "l2", "loss", "loss+"] = Hyper(
        "none", search=Choice(("none", "l2", "loss", "loss+")), help="what each task gradient is divided by first"
    )

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        scale = torch.ones(len(losses), dtype=gramian.dtype)
        if self.normalisation in ("l2", "loss+"):
            scale = gramian.diagonal().sqrt()
        if self.normalisation in ("loss", "loss+"):
            scale = scale * torch.stack(list(losses.values())).to(scale).clamp(min=1e-12)
        return min_norm(gramian / torch.outer(scale, scale)) / scale


def min_norm(gramian: Tensor) -> Tensor:
    """The weights α, on the simplex, of the shortest convex combination of vectors with these inner products."""
    import numpy as np
    from scipy.optimize import nnls

    values, vectors = np.linalg.eigh((gramian / gramian.diagonal().max()).numpy())
    root = vectors * np.sqrt(values.clip(min=0))
    x, _ = nnls(np.vstack([root.T, np.ones(len(root))]), np.append(np.zeros(len(root)), 1.0))
    return torch.from_numpy(x / x.sum())
