"""CoV-Weighting: multi-loss weighting with coefficient of variations (Groenendijk et al., WACV 2021, arXiv:2009.01717).

    descend Σ_t α_t L_t,      α_t = c_t / Σ_s c_s,      c_t = σ_{l_t} / μ_{l_t},      l_t = L_t / μ_{L_t}

Legend: μ and σ the running mean and standard deviation over the steps before this one; l_t the loss in units of
its own mean. In a task's first two steps α is equal for all.

As in the authors' code σ² has 1e-8 added. Deviation: statistics are kept per task over the batches that have labels of it.
"""

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Batch, Publication, Strategy, TaskLosses

_TINY = 1e-8


class CoVWeighting(Strategy):
    """Give more weight to tasks whose loss still varies much, in comparison with its mean."""

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Groenendijk et al.", "WACV", 2021, "Multi-Loss Weighting with Coefficient of Variations", arxiv="2009.01717"
    )
    compared_with: ClassVar[str] = "official code"
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    count: Tensor
    mean_loss: Tensor
    mean_ratio: Tensor
    squares: Tensor

    def setup(self) -> None:
        for name in ("count", "mean_loss", "mean_ratio", "squares"):
            self.register_buffer(name, torch.zeros(len(self.tasks), device=self.run.device))

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        if losses:
            values = torch.stack(list(losses.values()))
            rows = torch.tensor([self.tasks.index(task) for task in losses], device=self.count.device)
            weights = self.task_weights(rows)
            self.observe(rows, values.detach().to(self.count))
            self.descend((weights.to(values) * values).sum())
        return losses

    def task_weights(self, rows: Tensor) -> Tensor:
        """α of the tasks with these numbers; they sum to 1."""
        variance = self.squares[rows] / self.count[rows].clamp(min=1)
        variation = (variance + _TINY).sqrt() / self.mean_ratio[rows]
        known = (self.count[rows] >= 2).all() & variation.isfinite().all()
        variation = torch.where(known, variation, torch.ones_like(variation))
        return variation / variation.sum()

    def observe(self, rows: Tensor, losses: Tensor) -> None:
        """Update the running statistics (Welford's algorithm)."""
        self.count[rows] += 1
        share = 1 / self.count[rows]
        ratio = torch.where(share == 1, torch.ones_like(losses), losses / self.mean_loss[rows].clamp(min=_TINY))
        before = self.mean_ratio[rows]
        after = torch.lerp(before, ratio, share)
        self.squares[rows] += (ratio - before) * (ratio - after)
        self.mean_ratio[rows] = after
        self.mean_loss[rows] = torch.lerp(self.mean_loss[rows], losses, share)
