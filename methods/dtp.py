"""Dynamic task prioritization (Guo et al., ECCV 2018), with a key performance indicator that needs no extra evaluation."""

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Batch, Hyper, Publication, Strategy, TaskLosses, Uniform

_LOWEST = 1e-6
"""κ of a task that gets nothing right: keeps its weight finite (at most 13.8)."""


class DTP(Strategy):
    """Give more weight to the tasks that are still bad.

        w_t = −(1 − κ_t)^γ · log κ_t,        κ_t ← α k_t + (1 − α) κ_t

    Legend: k_t ∈ (0, 1] the task's key performance indicator (KPI) on the batch, κ_t its moving average; γ `focus`;
    α `smoothing`.

    Deviation: the paper's KPIs are accuracies, which would need metrics on every training batch, and regression tasks have
    none. Here k_t = exp(−L_t). For a cross-entropy that is the geometric mean of the probabilities of the right classes;
    for other losses it is a stand-in that falls from 1 as the loss rises, and that depends on the loss's unit.
    """

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Guo et al.", "ECCV", 2018, "Dynamic Task Prioritization for Multitask Learning"
    )

    invariances: ClassVar[frozenset[str]] = frozenset({"task_order"})

    kpi: Tensor
    focus: float = Hyper(1.0, search=Uniform(0.0, 3.0), ge=0, help="γ: how strongly easy tasks are turned down")
    smoothing: float = Hyper(0.1, search=Uniform(0.01, 1.0), gt=0, le=1, help="α: weight of the newest batch in κ")

    def setup(self) -> None:
        self.register_buffer("kpi", torch.full((len(self.tasks),), float("nan"), device=self.run.device))

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        terms = {}
        for task, loss in losses.items():
            kpi, now = self.kpi[self.tasks.index(task)], torch.exp(-loss.detach()).clamp(_LOWEST, 1.0)
            kpi.copy_(torch.where(kpi.isnan(), now, self.smoothing * now + (1 - self.smoothing) * kpi))
            terms[task] = -((1 - kpi) ** self.focus) * kpi.log() * loss
        self.descend(terms)
        return losses
