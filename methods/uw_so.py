"""UW-SO: soft optimal uncertainty weighting (Kirchdorfer et al., GCPR 2024, arXiv:2408.07985).

    descend Σ_t w_t L_t,      w = softmax_t(1 / (τ L_t)),  a constant

1 / L_t is where uncertainty weighting would end for a fixed loss; the softmax with temperature τ bounds it. There is no
official code.
"""

from typing import ClassVar

import torch

from mtlbench.contract import Batch, Hyper, LogUniform, Publication, Strategy, TaskLosses

_TINY = 1e-12
"""Keeps the weight of a task whose loss is 0 finite."""


class UWSO(Strategy):
    """Weigh each loss by a softmax over the inverse losses of the batch's labelled tasks."""

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Kirchdorfer et al.",
        "GCPR",
        2024,
        "Analytical Uncertainty-Based Loss Weighting in Multi-Task Learning",
        arxiv="2408.07985",
    )
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    temperature: float = Hyper(10.0, search=LogUniform(1.0, 100.0), gt=0, help="τ: the higher, the more equal")

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        if losses:
            values = torch.stack(list(losses.values()))
            weights = torch.softmax(1 / (self.temperature * (values.detach() + _TINY)), 0)
            self.descend((weights * values).sum())
        return losses
