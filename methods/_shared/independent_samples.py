"""What strategies share that need the gradients of several independent samples in one step."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Batch, JacobianStrategy, TaskLosses


class IndependentSamples(JacobianStrategy):
    """Cuts every batch into `samples` disjoint parts; `weights` gets the products of the first part's rows and the second's.

    Published code draws a batch for each sample. Here all methods see the same number of images per step, so the samples
    share one batch. Each part passes through the network by itself: BatchNorm normalises over its images alone (as it does
    for other methods with as many `micro_batches`) and updates its running statistics once per part; the gradients of two
    parts have no image in common, which one pass of the whole batch could not give.

    A part has two images at least, for BatchNorm: smaller batches have fewer parts, some of which serve twice, and the
    weights are biased then. What a task owns alone gets its gradient over all parts. A task without labels in a part has
    a row of zeros there.
    """

    samples: ClassVar[int]

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        """The weight of each row.

        Args:
            gramian: float64 [T, T], inner products of the first part's rows with the second's. Not symmetric.
            losses: the rows' tasks, in order, and their values.
        """
        raise NotImplementedError

    def step(self, batch: Batch) -> TaskLosses:
        names = sorted(task for task in self.tasks if batch.has_labels(task))
        if not self.shared or not names:
            return super().step(batch)  # without shared weights there is nothing to weigh
        parts = batch.pieces(self.samples)
        self.optimizers["weights"].zero_grad(set_to_none=True)
        rows: list[Tensor] = []
        reached: set[int] = set()
        totals: TaskLosses = {}
        own: dict[Tensor, Tensor] = {}
        for part in parts:
            losses = dict(sorted(self.losses(part).items()))
            share = {task: float(part.labelled[task].sum() / batch.labelled[task].sum()) for task in losses}
            reduced, touched = self.task_gradients(losses) if losses else (torch.empty(0), set())
            reached |= touched
            rows.append(self._spread(reduced, list(losses), names))
            for task, loss in losses.items():
                totals[task] = totals.get(task, torch.zeros_like(loss)) + share[task] * loss.detach()
                for weight in self.own[task]:
                    if weight.grad is not None:
                        own[weight] = own.get(weight, torch.zeros_like(weight)) + share[task] * weight.grad
        for owned, gradient in own.items():
            owned.grad = gradient
        ordered = {task: totals[task] for task in names}
        self.descend_along(self._combined(rows, ordered) if reached else None, reached)
        return {task: totals[task] for task in self.tasks if task in totals}

    def _spread(self, rows: Tensor, tasks: list[str], names: list[str]) -> Tensor:
        """The rows of `tasks` among those of `names`: zeros for tasks that have no labels in a part."""
        if tasks == names:
            return rows
        spread = torch.zeros(len(names), sum(weight.numel() for weight in self.shared), device=self.run.device)
        for number, task in enumerate(tasks):
            spread[names.index(task)] = rows[number]
        return spread

    def _combined(self, rows: list[Tensor], losses: TaskLosses) -> Tensor:
        """Weights from the first two parts, for the third's rows; where there is no third, for the mean of all."""
        products = (rows[0] @ rows[min(1, len(rows) - 1)].T).double().cpu()
        weights = torch.ones(len(losses), dtype=torch.float64)
        if bool(products.isfinite().all()):
            weights = self.weights(products, losses)
        # In place: rows are as large as T networks.
        descended = rows[-1] if len(rows) != 2 else rows[0].add_(rows[1]).div_(2)
        return weights.to(descended) @ descended
