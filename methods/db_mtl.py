"""DB-MTL: dual-balancing multi-task learning (Lin et al., 2023, arXiv:2308.12029).

    ĝ_t ← β_k ĝ_t + (1 − β_k) ∇ log L_t,     β_k = β / k^σ;      shared gradient  Σ_t α_t ĝ_t,   α_t = max_s ‖ĝ_s‖ / ‖ĝ_t‖

Legend: k the step; ĝ_t = 0 at first. What a task owns alone gets the gradient of log L_t.

k counts the steps in which the task has labels, and a task without any takes no part in a step.
"""

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Hyper, JacobianStrategy, Publication, TaskLosses, Uniform

from ._shared.row_state import RowState

_TINY = 1e-8
"""Keeps the logarithm of a loss of 0, and the factor of a gradient of 0, finite."""


class DBMTL(JacobianStrategy):
    """Balance losses by their logarithm, and smoothed gradients by their norm.

    Keeps a gradient per task, as many numbers as the T gradients of a step.
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Lin et al.", "arXiv", 2023, "Dual-Balancing for Multi-Task Learning", arxiv="2308.12029"
    )
    compared_with: ClassVar[str] = "LibMTL"
    invariances: ClassVar[frozenset[str]] = frozenset({"task_order", "loss_scale"})

    beta: float = Hyper(0.9, search=Uniform(0.0, 0.99), ge=0, lt=1, help="β: how much of the former gradient is kept")
    decay: float = Hyper(0.0, search=Uniform(0.0, 1.0), ge=0, help="σ: β falls with the step k as 1 / k^σ; 0 keeps it")

    def start(self) -> None:
        super().start()
        self.row_of = {task: number for number, task in enumerate(sorted(self.tasks))}
        size = sum(weight.numel() for weight in self.shared)
        like = next(self.network.parameters())
        self.kept = RowState({"mean": like.new_zeros(len(self.tasks), size), "count": like.new_zeros(len(self.tasks))})
        self.optimizers["means"] = self.kept

    def objectives(self, losses: TaskLosses) -> TaskLosses:
        return {task: (loss + _TINY).log() for task, loss in losses.items()}

    def combine(self, rows: Tensor, losses: TaskLosses) -> Tensor:
        means, counts = self.kept["mean"], self.kept["count"]
        present = [self.row_of[task] for task in losses]
        counts[present] += 1
        for row, at in zip(rows, present, strict=True):
            means[at].lerp_(row, 1 - self.beta / counts[at] ** self.decay)
        norms = means.norm(dim=1)
        factors = torch.zeros_like(norms)
        factors[present] = norms[present].max() / (norms[present] + _TINY)
        return factors @ means
