"""MoDo: multi-objective gradient descent with double sampling (Chen et al., NeurIPS 2023, arXiv:2305.20057, eq. 2.9)."""

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Hyper, LogUniform, Publication, TaskLosses

from ._shared.independent_samples import IndependentSamples
from ._shared.simplex import move_share, onto_simplex


class MoDo(IndependentSamples):
    """Move MGDA's weights by one unbiased gradient step, from two independent samples of the task gradients.

        λ ← Π_Δ(λ − γ (J₁ J₂ᵀ + ρ I) λ),        then descend Σ_t λ_t L_t

    Legend: J_i the task gradients on sample i; Π_Δ the projection onto the simplex; the equation's number is the JMLR
    version's. From one sample alone, J Jᵀ would count the noise of each gradient as length.

    The two samples are the halves of a batch, and the step is made with the mean of their gradients, as in the official code
    (which adds them; LibMTL draws a third batch for the step). Heads are trained by their own tasks, unweighted.
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Chen et al.",
        "NeurIPS",
        2023,
        "Three-Way Trade-Off in Multi-Objective Learning: Optimization, Generalization and Conflict-Avoidance",
        arxiv="2305.20057",
    )
    compared_with: ClassVar[str] = "official code"
    passes: ClassVar[str] = "1 forward, T backward through the trunk, each in 2 halves of the batch"
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})
    samples: ClassVar[int] = 2

    lambdas: Tensor
    gamma: float = Hyper(0.1, search=LogUniform(1e-3, 1.0), gt=0, help="γ: step size of the weights λ")
    rho: float = Hyper(0.1, search=LogUniform(1e-3, 1.0), ge=0, help="ρ: pull of the weights λ towards equal ones")

    def setup(self) -> None:
        self.register_buffer("lambdas", torch.full((len(self.tasks),), 1 / len(self.tasks), dtype=torch.float64))

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        at = [self.tasks.index(task) for task in losses]
        return move_share(self.lambdas, at, lambda old: onto_simplex(old - self.gamma * (gramian @ old + self.rho * old)))
