"""IMTL: impartial multi-task learning, both parts (Liu et al., ICLR 2021, eq. 3 and section 3.2, algorithm 1)."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from mtlbench.contract import JacobianStrategy, Publication, TaskLosses


class IMTL(JacobianStrategy):
    """IMTL-L's learned scales for the losses, and IMTL-G's weights for the gradients of the scaled losses.

        K_t = exp(s_t) L_t − s_t;        heads and s_t descend their own K_t; shared weights step along Σ_t α_t ∂K_t/∂θ,
        with Σ_t α_t = 1 and equal projections onto all ∂K_t/∂θ

    The s_t are 0 at first and trained by the network's optimizer, without weight decay. The direction for the shared weights
    is IMTL-G's, since that does not depend on the losses' scales; its length is another. The paper's algorithm takes
    gradients of the shared features: `gradients="features"`. torchjd's weighting for α, which also covers linearly dependent
    gradients.
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Liu et al.", "ICLR", 2021, "Towards Impartial Multi-task Learning"
    )
    compared_with: ClassVar[str] = "LibMTL"
    invariances: ClassVar[frozenset[str]] = frozenset({"task_order", "loss_scale"})
    feature_gradients: ClassVar[bool] = True

    def setup(self) -> None:
        from torchjd.aggregation import IMTLGWeighting

        self.weighting: Callable[[Tensor], Tensor] = IMTLGWeighting()
        self.log_scale = nn.ParameterList([self.learn(torch.tensor(0.0)) for _ in self.tasks])

    def start(self) -> None:
        super().start()
        for task, scale in zip(self.tasks, self.log_scale, strict=True):
            self.own[task] = [*self.own[task], scale]

    def objectives(self, losses: TaskLosses) -> TaskLosses:
        s = dict(zip(self.tasks, self.log_scale, strict=True))
        return {task: s[task].exp() * loss - s[task] for task, loss in losses.items()}

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        # The weights do not depend on the overall scale, torchjd's guard against a sum of 0 does.
        return self.weighting(gramian / gramian.diagonal().sum())
