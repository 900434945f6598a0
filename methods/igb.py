"""IGB: improvable gap balancing, first version (Dai, Fei and Lu, UAI 2023, arXiv:2307.15429)."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Batch, Hyper, Publication, Strategy, TaskLosses

_TINY = 1e-12
"""Keeps the logarithm of a loss of 0 finite."""


class IGB(Strategy):
    """Descend the losses' logarithms, weighted by how much of each loss is left.

        Σ_t w_t log L_t,        w = T softmax(L_t / B_t)

    Legend: B_t the task's mean training loss in epoch `base_epoch` (counted from 0; official code: 1); until that epoch has
    ended w_t = 1, and the step is log_loss's. L_t in the softmax is that of the batch, taken as a constant. T counts the
    tasks in the batch. A task without labels in the base epoch gets its B_t in its first later one, and weighs as if
    L_t = B_t before.

    This is the published IGBv1. IGBv2, where an agent trained by reinforcement learning chooses the weights, is left out.
    """

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Dai et al.", "UAI", 2023, "Improvable Gap Balancing for Multi-Task Learning", arxiv="2307.15429"
    )
    compared_with: ClassVar[str] = "official code"
    invariances: ClassVar[frozenset[str]] = frozenset({"task_order", "loss_scale"})

    base: Tensor
    epochs: Tensor
    base_epoch: int = Hyper(1, ge=0, help="epoch whose mean losses the gaps are measured against, counted from 0")

    def setup(self) -> None:
        self.register_buffer("base", torch.full((len(self.tasks),), float("nan"), device=self.run.device))
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        if losses:
            weights = self.task_weights(losses)
            values = torch.stack(list(losses.values()))
            self.descend((weights * (values + _TINY).log()).sum())
        return losses

    def task_weights(self, losses: TaskLosses) -> Tensor:
        """w for the batch's tasks, in their order."""
        values = torch.stack([loss.detach() for loss in losses.values()])
        base = self.base[[self.tasks.index(task) for task in losses]]
        if bool(base.isnan().all()):
            return torch.ones_like(values)
        gaps = torch.where(base.isnan(), torch.ones_like(values), values / base.clamp(min=_TINY).to(values))
        return len(losses) * torch.softmax(gaps, 0)

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        if int(self.epochs) >= self.base_epoch:
            given = torch.tensor([losses.get(task, float("nan")) for task in self.tasks]).to(self.base)
            self.base = torch.where(self.base.isnan(), given, self.base)
        self.epochs += 1
