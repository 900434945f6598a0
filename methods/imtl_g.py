"""IMTL-G: impartial multi-task learning, gradient part (Liu et al., ICLR 2021, eq. 3)."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from mtlbench.contract import JacobianStrategy, Publication, TaskLosses


class IMTLG(JacobianStrategy):
    """Find weights (of sum 1, some perhaps negative) whose combined gradient has equal projections on all task gradients.

    torchjd's weighting, which also covers linearly dependent gradients. The paper's algorithm takes gradients of the shared
    features: `gradients="features"`.
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Liu et al.", "ICLR", 2021, "Towards Impartial Multi-task Learning"
    )
    compared_with: ClassVar[str] = "LibMTL and torchjd"

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order", "loss_scale"})
    feature_gradients: ClassVar[bool] = True

    def setup(self) -> None:
        from torchjd.aggregation import IMTLGWeighting

        self.weighting: Callable[[Tensor], Tensor] = IMTLGWeighting()

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        # The weights do not depend on the overall scale, torchjd's guard against a sum of 0 does.
        return self.weighting(gramian / gramian.diagonal().sum())
