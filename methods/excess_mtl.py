"""ExcessMTL: robust multi-task learning with excess risks (He et al., ICML 2024, arXiv:2402.02009).

    E_t = Σ_i g_ti² / √(Σ_k g_ti(k)² + ε);      w_t ← w_t exp(η E_t / E_t(1)),  then  Σ_t w_t = T;      descend Σ_t w_t L_t

Legend: g_t the gradient of L_t for the shared weights, i one of them; the sum over k runs over the steps so far (a diagonal
Hessian by the gradients' outer products, as in AdaGrad); E_t(1) the estimate at the first step; ε = 1e-7.

The excess risk, unlike the loss, does not hold a task's noise, so a task with noisy labels is not preferred. In a batch
without labels of a task its w_t changes by the normalisation alone.
"""

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Hyper, JacobianStrategy, LogUniform, Publication, TaskLosses

from ._shared.row_state import RowState

_TINY = 1e-7


class ExcessMTL(JacobianStrategy):
    """Weigh tasks up by the estimate of how far their loss is from its minimum.

    The weights hold for the heads, too, as in the authors' code. Keeps a sum of squares per task, as many numbers as the T
    gradients of a step. Where a phase changes the network, the sums begin anew and the weights stay.
    """

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "He et al.", "ICML", 2024, "Robust Multi-Task Learning with Excess Risks", arxiv="2402.02009"
    )
    compared_with: ClassVar[str] = "official code"
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    weight: Tensor
    step_size: float = Hyper(0.01, search=LogUniform(1e-4, 1.0), gt=0, help="η: step size of the weights")

    def setup(self) -> None:
        self.register_buffer("weight", torch.ones(len(self.tasks), device=self.run.device))

    def start(self) -> None:
        super().start()
        self.row_of = {task: number for number, task in enumerate(sorted(self.tasks))}
        size = sum(weight.numel() for weight in self.shared)
        like = next(self.network.parameters())
        # E_t(1) is NaN until the task has a gradient.
        first = like.new_full((len(self.tasks),), float("nan"))
        self.kept = RowState({"squares": like.new_zeros(len(self.tasks), size), "first": first})
        self.optimizers["squares"] = self.kept

    def combine(self, rows: Tensor, losses: TaskLosses) -> Tensor:
        present = [self.row_of[task] for task in losses]
        risks = torch.stack([self.excess_risk(row, at) for row, at in zip(rows, present, strict=True)])
        first = self.kept["first"]
        first[present] = torch.where(first[present].isnan() & (risks > 0), risks, first[present])
        # At a task's first step its ratio is 1; without any gradient so far it is 0.
        factors = (self.step_size * torch.nan_to_num(risks / first[present])).exp()
        self.weight[present] *= factors.to(self.weight)
        self.weight *= len(self.tasks) / self.weight.sum()
        weights = self.weight[present].to(rows)
        for task, weight in zip(losses, weights, strict=True):
            for parameter in self.own[task]:
                if parameter.grad is not None:
                    parameter.grad *= weight
        return weights @ rows

    def excess_risk(self, row: Tensor, at: int) -> Tensor:
        """E_t of one task's gradient [P], whose squares are added to the sums."""
        squares = self.kept["squares"][at].addcmul_(row, row)
        return (row * row / (squares + _TINY).sqrt()).sum()
