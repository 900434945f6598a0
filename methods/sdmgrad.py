"""SDMGrad: direction-oriented multi-objective learning (Xiao, Ban and Ji, NeurIPS 2023, arXiv:2305.18409, algorithm 1)."""

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Hyper, LogUniform, Publication, TaskLosses

from ._shared.independent_samples import IndependentSamples
from ._shared.simplex import move_share, onto_simplex


class SDMGrad(IndependentSamples):
    """MGDA's direction, pulled towards the mean gradient, from three independent samples of the task gradients.

        w ← Π_Δ(w − β J₁ J₂ᵀ (w + λ w̃)), several times;        then descend Σ_t (w_t + λ w̃_t) / (1 + λ) · L_t on sample 3

    Legend: J_i the task gradients on sample i; w̃ = 1/T each; w goes on from the last step's. The samples are thirds of a
    batch. Heads are trained by their own tasks on all of it.

    Where paper and official code differ:
      samples      The paper draws new ones for every inner step; the code takes one pair for all, as here: 20 pairs would
                   cost 40 backward passes per task. The code means to keep three samples apart, but its list holds one
                   array three times (`[tensor] * 3`), so that all products are of the last sample with itself: a defect,
                   not followed here.
      inner steps  The code divides J₁ J₂ᵀ by the square of the mean gradient norm (from the diagonal's roots) and uses
                   momentum 0.5 with β = 10: as here, since β would mean nothing across losses otherwise. Negative entries
                   of the diagonal, which independent samples can give, count as 0 (as in LibMTL); without a positive one w
                   stays.
      length       The code divides by 1 + λ, as here, and multiplies by T, not done here.
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Xiao et al.",
        "NeurIPS",
        2023,
        "Direction-oriented Multi-objective Learning: Simple and Provable Stochastic Algorithms",
        arxiv="2305.18409",
    )
    compared_with: ClassVar[str] = "official code"
    passes: ClassVar[str] = "1 forward, T backward through the trunk, each in 3 thirds of the batch"
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})
    samples: ClassVar[int] = 3

    w: Tensor
    strength: float = Hyper(0.3, search=LogUniform(0.1, 10.0), ge=0, help="λ: pull towards the mean gradient")
    step_size: float = Hyper(10.0, gt=0, help="β: step size of the weights w")
    momentum: float = Hyper(0.5, ge=0, lt=1, help="momentum of the weights w within a step")
    iterations: int = Hyper(20, ge=1, help="inner steps of the weights w")

    def setup(self) -> None:
        self.register_buffer("w", torch.full((len(self.tasks),), 1 / len(self.tasks), dtype=torch.float64))

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        at = [self.tasks.index(task) for task in losses]
        w = move_share(self.w, at, lambda old: self.solve(gramian, old))
        return (w + self.strength / len(at)) / (1 + self.strength)

    def solve(self, products: Tensor, w: Tensor) -> Tensor:
        """The inner steps on the weights w [T]."""
        length = products.diagonal().clamp(min=0).sqrt().mean()
        if length == 0:
            return w
        velocity = torch.zeros_like(w)
        for _ in range(self.iterations):
            velocity = self.momentum * velocity + products @ (w + self.strength / len(w)) / length**2
            w = onto_simplex(w - self.step_size * velocity)
        return w
