"""UPGrad: unconflicting projection of gradients (Quinton and Rey, "Jacobian Descent", 2024, arXiv:2406.16232, eq. 6)."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from mtlbench.contract import JacobianStrategy, Publication, TaskLosses


class UPGrad(JacobianStrategy):
    """Project each task gradient onto the cone of directions that harm no task, and average the projections.

    torchjd's weighting. It adds 10⁻⁴ to the diagonal of the trace-normalised inner products, which with badly scaled
    gradients costs some accuracy (up to 11 % measured).
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Quinton and Rey", "arXiv", 2024, "Jacobian Descent for Multi-Objective Optimization", arxiv="2406.16232"
    )
    compared_with: ClassVar[str] = "exact solution; torchjd"

    requires: ClassVar[dict[str, str]] = {
        "qpsolvers": "pip install 'mtlbench[solvers]'",
        "quadprog": "pip install 'mtlbench[solvers]'",
    }
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    def setup(self) -> None:
        from torchjd.aggregation import UPGradWeighting

        self.weighting: Callable[[Tensor], Tensor] = UPGradWeighting()

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        # The weights do not depend on the overall scale, torchjd's guard against gradients of 0 does.
        return self.weighting(gramian / gramian.diagonal().sum())
