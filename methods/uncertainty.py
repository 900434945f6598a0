"""Uncertainty weighting (Kendall, Gal and Cipolla, CVPR 2018, arXiv:1705.07115, eq. 7-10)."""

from typing import ClassVar

import torch
from torch import nn

from mtlbench.contract import Batch, Hyper, Publication, Strategy, TaskLosses, Uniform


class Uncertainty(Strategy):
    """Weigh each loss by its learned homoscedastic uncertainty.

        total = Σ_t ½ exp(−s_t) · L_t + ½ s_t,        s_t = log σ_t²

    One form for all tasks, as published code has it; the paper's own has twice the weight for classification. The s_t are
    trained by the network's optimizer, without weight decay. A task that has no label in a batch keeps its s_t.
    """

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Kendall et al.",
        "CVPR",
        2018,
        "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics",
        arxiv="1705.07115",
    )
    compared_with: ClassVar[str] = "LibMTL and torchjd"

    invariances: ClassVar[frozenset[str]] = frozenset({"task_order"})

    initial_log_variance: float = Hyper(0.0, search=Uniform(-1.0, 1.0), help="s_t at the start, for every task")

    def setup(self) -> None:
        # One parameter per task, so that an optimizer with momentum leaves those of absent tasks alone.
        self.log_variance = nn.ParameterList([self.learn(torch.tensor(self.initial_log_variance)) for _ in self.tasks])

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        s = dict(zip(self.tasks, self.log_variance, strict=True))
        self.descend({task: (torch.exp(-s[task]) * loss + s[task]) / 2 for task, loss in losses.items()})
        return losses
