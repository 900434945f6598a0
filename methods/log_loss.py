"""Scale-invariant losses: the sum of the losses' logarithms (baseline SI of Navon et al., ICML 2022, arXiv:2202.01017)."""

from typing import ClassVar

from mtlbench.contract import Batch, Publication, Strategy, TaskLosses

_TINY = 1e-12
"""Keeps the logarithm of a loss of 0 finite."""


class LogLoss(Strategy):
    """Descend Σ_t log L_t: each gradient is divided by its loss, so that the unit of a loss does not matter."""

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Navon et al.", "ICML", 2022, "Multi-Task Learning as a Bargaining Game", arxiv="2202.01017"
    )

    invariances: ClassVar[frozenset[str]] = frozenset({"task_order", "loss_scale"})

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        self.descend({task: (loss + _TINY).log() for task, loss in losses.items()})
        return losses
