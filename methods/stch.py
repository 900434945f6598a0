"""STCH: smooth Tchebycheff scalarization (Lin et al., ICML 2024, arXiv:2402.19078).

    warm-up: descend Σ_t log L_t;      afterwards:  T · μ log Σ_t exp(f_t / μ),      f_t = log(L_t / L̄_t)

Legend: L̄_t the task's mean training loss in the last epoch of the warm-up; μ the smoothing. As in the authors' code, which
LibMTL took over: preferences are equal, the ideal point is 0 in normalised log losses, and the value is multiplied by T.

Deviation: the warm-up is a fraction of the epochs (there: the first 5 of 200), and at least one epoch.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Batch, Hyper, LogUniform, Publication, Strategy, TaskLosses, Uniform

_TINY = 1e-20
"""Keeps the logarithm of a loss of 0 finite."""


class STCH(Strategy):
    """Descend a smooth maximum over the tasks of how high each loss still is, compared with the warm-up's.

    A task without labels in the last epoch of the warm-up is compared with its first epoch that has some; until then with
    the batch's own loss.
    """

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Lin et al.", "ICML", 2024, "Smooth Tchebycheff Scalarization for Multi-Objective Optimization", arxiv="2402.19078"
    )
    compared_with: ClassVar[str] = "official code"
    invariances: ClassVar[frozenset[str]] = frozenset({"task_order", "loss_scale"})

    epochs: Tensor
    reference: Tensor
    mu: float = Hyper(1.0, search=LogUniform(0.1, 10.0), gt=0, help="μ: the smaller, the more the worst task counts alone")
    warm_up: float = Hyper(0.025, search=Uniform(0.0, 0.2), ge=0, lt=1, help="fraction of the epochs before it begins")

    def setup(self) -> None:
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))
        # L̄_t; NaN where there is none yet.
        self.register_buffer("reference", torch.full((len(self.tasks),), float("nan"), dtype=torch.float64))
        self.first_epochs = max(1, round(self.warm_up * self.run.budget.epochs))

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        if not losses:
            return losses
        if int(self.epochs) < self.first_epochs:
            self.descend({task: (loss + _TINY).log() for task, loss in losses.items()})
            return losses
        references = dict(zip(self.tasks, self.reference.tolist(), strict=True))
        heights = []
        for task, loss in losses.items():
            reference = loss.detach() if references[task] != references[task] else references[task]
            heights.append((loss / reference + _TINY).log())
        self.descend(len(heights) * self.mu * torch.logsumexp(torch.stack(heights) / self.mu, 0))
        return losses

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        self.epochs += 1
        if int(self.epochs) >= self.first_epochs:
            means = torch.tensor([losses.get(task, float("nan")) for task in self.tasks], dtype=torch.float64)
            means[means <= 0] = float("nan")
            self.reference = torch.where(self.reference.isnan(), means.to(self.reference), self.reference)
