"""CAGrad: conflict-averse gradient descent (Liu et al., NeurIPS 2021, arXiv:2110.14048, algorithm 1)."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from mtlbench.contract import Hyper, JacobianStrategy, Publication, TaskLosses, Uniform


class CAGrad(JacobianStrategy):
    """Choose, of all directions near the mean gradient, the one that helps the worst-off task most.

        g_0 + c ‖g_0‖ g_w / ‖g_w‖,        w on the simplex minimising g_w · g_0 + c ‖g_0‖ ‖g_w‖

    Legend: g_0 the mean of the task gradients, g_w = Σ_t w_t g_t. torchjd's weighting, not rescaled afterwards (the
    official code divides by 1 + c²).
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Liu et al.", "NeurIPS", 2021, "Conflict-Averse Gradient Descent for Multi-task Learning", arxiv="2110.14048"
    )
    compared_with: ClassVar[str] = "LibMTL and torchjd"

    requires: ClassVar[dict[str, str]] = {
        "cvxpy": "pip install 'mtlbench[solvers]'",
        "clarabel": "pip install 'mtlbench[solvers]'",
    }
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    c: float = Hyper(0.4, search=Uniform(0.1, 0.9), ge=0, help="radius around the mean gradient, in its norms")

    def setup(self) -> None:
        from torchjd.aggregation import CAGradWeighting

        self.weighting: Callable[[Tensor], Tensor] = CAGradWeighting(c=self.c)

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        # The weights do not depend on the overall scale, torchjd's guard against gradients of 0 does.
        return self.weighting(gramian / gramian.diagonal().sum())
