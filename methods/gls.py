"""Geometric loss strategy (Chennupati et al., "MultiNet++", CVPR workshops 2019, arXiv:1904.08492, eq. 2)."""

from typing import ClassVar

import torch

from mtlbench.contract import Batch, Publication, Strategy, TaskLosses

_TINY = 1e-12
"""Keeps the logarithm of a loss of 0 finite."""


class GLS(Strategy):
    """Descend the geometric mean of the losses of the batch's labelled tasks: (Π_t L_t)^(1/T).

    The unit of a loss scales the objective as a whole, so it does not change the balance between the tasks.
    """

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Chennupati et al.",
        "CVPR workshops",
        2019,
        "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for Multi-Task Learning",
        arxiv="1904.08492",
    )
    compared_with: ClassVar[str] = "LibMTL"

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order", "loss_scale"})

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        if losses:
            self.descend((torch.stack(list(losses.values())) + _TINY).log().mean().exp())
        return losses
