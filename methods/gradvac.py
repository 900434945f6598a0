"""GradVac: gradient vaccine (Wang et al., ICLR 2021, arXiv:2010.05874, algorithm 1), for the whole model at once."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Hyper, JacobianStrategy, Publication, TaskLosses, Uniform

_TINY = 1e-8


class GradVac(JacobianStrategy):
    """Pull each task's gradient towards the cosine that it usually has with each other task's, and sum them.

        where φ < φ̂:   g_i ← g_i + ‖g_i‖ (φ̂ √(1 − φ²) − φ √(1 − φ̂²)) / (‖g_j‖ √(1 − φ̂²)) · g_j
        φ̂ ← (1 − β) φ̂ + β φ

    Legend: φ the cosine between g_i as it is by now and the original g_j; φ̂ its moving target, which starts at 0. Done on
    coefficients of the original gradients; task i visits the others in random order. `gradients="features"`,
    as in LibMTL, compares the gradients of the shared features.
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Wang et al.",
        "ICLR",
        2021,
        "Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively Multilingual Models",
        arxiv="2010.05874",
    )
    compared_with: ClassVar[str] = "LibMTL"

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})
    feature_gradients: ClassVar[bool] = True

    target: Tensor
    beta: float = Hyper(0.5, search=Uniform(0.01, 1.0), ge=0, le=1, help="β: weight of the newest cosine")

    def setup(self) -> None:
        self.register_buffer("target", torch.zeros(len(self.tasks), len(self.tasks), dtype=torch.float64))

    def order(self, task: str, others: Sequence[int]) -> list[int]:
        """The order in which a task visits the others: from the task's own stream."""
        places = torch.randperm(len(others), generator=self.stream("order", task)).tolist()
        return [others[place] for place in places]

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        changed = torch.eye(len(losses), dtype=gramian.dtype)
        norms = gramian.diagonal().sqrt()
        at = [self.tasks.index(task) for task in losses]
        for i, task in enumerate(losses):
            for j in self.order(task, [j for j in range(len(losses)) if j != i]):
                norm = (changed[i] @ gramian @ changed[i]).clamp(min=0).sqrt()
                cosine = (changed[i] @ gramian[j]) / (norm * norms[j] + _TINY)
                target = self.target[at[i], at[j]].clone()
                if cosine < target:
                    sine, target_sine = ((1 - c * c).clamp(min=0).sqrt() for c in (cosine, target))
                    changed[i, j] += norm * (target * sine - cosine * target_sine) / (norms[j] * target_sine + _TINY)
                self.target[at[i], at[j]] = (1 - self.beta) * target + self.beta * cosine
        return changed.sum(0)
