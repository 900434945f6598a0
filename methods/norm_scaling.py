"""Gradient-norm scaling (Guo et al., 2025, arXiv:2509.23915)."""

from typing import ClassVar

from torch import Tensor

from mtlbench.contract import JacobianStrategy, Publication, TaskLosses


class NormScaling(JacobianStrategy):
    """Divide each task's gradient by its norm, and sum.

        Σ_t g_t / ‖g_t‖

    The paper scales the losses by the norms of their gradients; here the norm is that of the current batch, over all shared
    weights, and only shared weights are scaled: heads get their own gradients. The sum's length does not shrink with the
    gradients, so that without an adaptive optimizer the learning rate alone decides it. (DB-MTL, arXiv:2308.12029, scales to
    the largest norm of the averaged gradients of the losses' logarithms.)
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Guo et al.",
        "arXiv",
        2025,
        "Revisit the Imbalance Optimization in Multi-task Learning: An Experimental Analysis",
        arxiv="2509.23915",
    )
    compared_with: ClassVar[str] = ""
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order", "loss_scale"})
    feature_gradients: ClassVar[bool] = True

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        return gramian.diagonal().rsqrt()
