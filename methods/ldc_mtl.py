"""LDC-MTL: loss discrepancy control (Xiao et al., 2025, arXiv:2502.08585).

    upper level, over w:  λ Σ_t |σ_t l_t − σ_{t+1} l_{t+1}|        lower level, over θ:  Σ_t σ_t l_t / Σ_t σ_t
    single loop:  descend the sum of both, over θ and w at once

Legend: σ_t = sigmoid(w_t), w_t = 1 at first; l_t the normalised loss: L_t ("none"), L_t · min_s L_s(1) / L_t(1)
("initial"), log(L_t / L_t(1)) ("log"), with L_t(1) the task's loss in its first batch. Σ σ_t is a constant.

The paper's router reads the shared features in some of its experiments; here the w_t are learned by themselves, as in its
CelebA experiment, so that the strategy does not depend on an architecture. Pairs of neighbours are taken in the order of the
tasks' names.
"""

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mtlbench.contract import Batch, Choice, Hyper, LogUniform, Publication, Strategy, TaskLosses, total

_TINY = 1e-12
"""Keeps a normalised loss finite where a loss is 0."""


class LDCMTL(Strategy):
    """Train towards weighted losses that are low and equal."""

    family: ClassVar[str] = "bilevel"
    publication: ClassVar[Publication | None] = Publication(
        "Xiao et al.",
        "arXiv",
        2025,
        "LDC-MTL: Balancing Multi-Task Learning through Scalable Loss Discrepancy Control",
        arxiv="2502.08585",
    )
    compared_with: ClassVar[str] = "official code"
    invariances: ClassVar[frozenset[str]] = frozenset({"task_order"})

    first: Tensor
    discrepancy: float = Hyper(0.05, search=LogUniform(1e-3, 1.0), ge=0, help="λ: weight of the losses' differences")
    normalisation: Literal["none", "initial", "log"] = Hyper(
        "initial", search=Choice(("none", "initial", "log")), help="how the losses are brought to one scale"
    )

    def setup(self) -> None:
        self.router = nn.ParameterList([self.learn(torch.tensor(1.0)) for _ in self.tasks])
        # L_t(1); NaN until the task has labels.
        self.register_buffer("first", torch.full((len(self.tasks),), float("nan"), device=self.run.device))

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        if losses:
            normalised = self.normalised({task: losses[task] for task in sorted(losses)})
            sigma = {task: torch.sigmoid(self.router[self.tasks.index(task)]) for task in normalised}
            weighted = [sigma[task] * loss for task, loss in normalised.items()]
            self.descend(total(weighted) / total(sigma).detach() + self.discrepancy * self.gap(weighted))
        return losses

    def normalised(self, losses: TaskLosses) -> TaskLosses:
        """l_t of the tasks with these losses."""
        if self.normalisation == "none":
            return losses
        rows = [self.tasks.index(task) for task in losses]
        first = self.first[rows]
        self.first[rows] = torch.where(first.isnan(), torch.stack(list(losses.values())).detach().to(first), first)
        scale = dict(zip(losses, self.first[rows].clamp(min=_TINY), strict=True))
        if self.normalisation == "log":
            return {task: (loss / scale[task]).clamp(min=_TINY).log() for task, loss in losses.items()}
        least = self.first[~self.first.isnan()].min().clamp(min=_TINY)
        return {task: loss * (least / scale[task]) for task, loss in losses.items()}

    @staticmethod
    def gap(weighted: list[Tensor]) -> Tensor:
        """The sum of the absolute differences of neighbours."""
        differences = [(one - other).abs() for one, other in pairwise(weighted)]
        return total(differences) if differences else torch.zeros_like(weighted[0])
