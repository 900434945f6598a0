"""IMTL-L: impartial multi-task learning, loss part (Liu et al., ICLR 2021, section 3.2)."""

from typing import ClassVar

import torch
from torch import nn

from mtlbench.contract import Batch, Publication, Strategy, TaskLosses


class IMTLL(Strategy):
    """Learn a scale for each loss that brings all of them to 1.

        total = Σ_t exp(s_t) L_t − s_t        (least over s_t where exp(s_t) L_t = 1)

    The s_t are 0 at first and trained by the network's optimizer, without weight decay. A task that has no label in a batch
    keeps its s_t. In the limit of instantly fitted scales this is log_loss.
    """

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Liu et al.", "ICLR", 2021, "Towards Impartial Multi-task Learning"
    )
    compared_with: ClassVar[str] = "LibMTL"
    invariances: ClassVar[frozenset[str]] = frozenset({"task_order"})

    def setup(self) -> None:
        # One parameter per task, so that an optimizer with momentum leaves those of absent tasks alone.
        self.log_scale = nn.ParameterList([self.learn(torch.tensor(0.0)) for _ in self.tasks])

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        s = dict(zip(self.tasks, self.log_scale, strict=True))
        self.descend({task: s[task].exp() * loss - s[task] for task, loss in losses.items()})
        return losses
