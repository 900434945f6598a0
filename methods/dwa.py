"""Dynamic weight averaging (Liu, Johns and Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019,
arXiv:1803.10704, eq. 7)."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Batch, Hyper, LogUniform, Publication, Strategy, TaskLosses


class DWA(Strategy):
    """Give more weight to tasks whose loss falls more slowly than it did.

        w_t = T · softmax_t(r_t / τ),        r_t = L_t(e − 1) / L_t(e − 2)

    Legend: L_t(e) the mean training loss of epoch e; τ the `temperature`. The first two epochs have weights of 1, and a
    task without two losses to compare has r_t = 1.
    """

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Liu et al.", "CVPR", 2019, "End-to-End Multi-Task Learning with Attention", arxiv="1803.10704"
    )
    compared_with: ClassVar[str] = "LibMTL"

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    history: Tensor
    temperature: float = Hyper(2.0, search=LogUniform(0.5, 8.0), gt=0, help="τ: the higher, the more equal")

    def setup(self) -> None:
        # Mean losses of the last epoch but one, and of the last; NaN where there was none.
        self.register_buffer("history", torch.full((2, len(self.tasks)), float("nan"), dtype=torch.float64))

    def task_weights(self) -> dict[str, float]:
        """The weights of the current epoch; they sum to T."""
        before, last = self.history
        rates = torch.nan_to_num(last / before, nan=1.0, posinf=1.0)
        weights = len(self.tasks) * torch.softmax(rates / self.temperature, 0)
        return dict(zip(self.tasks, weights.tolist(), strict=True))

    def step(self, batch: Batch) -> TaskLosses:
        losses, weights = self.losses(batch), self.task_weights()
        self.descend({task: weights[task] * loss for task, loss in losses.items()})
        return losses

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        latest = torch.tensor([losses.get(task, float("nan")) for task in self.tasks], dtype=torch.float64)
        self.history = torch.stack([self.history[1], latest.to(self.history)])
