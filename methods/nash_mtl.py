"""Nash-MTL: the Nash bargaining solution (Navon et al., ICML 2022, arXiv:2202.01017, algorithm 1)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from mtlbench.contract import Choice, Hyper, JacobianStrategy, Publication, TaskLosses

if TYPE_CHECKING:
    from torchjd.aggregation import NashMTL as Aggregator


class NashMTL(JacobianStrategy):
    """Weigh the task gradients so that all tasks agree: G Gᵀ α = 1 / α.

    torchjd's weighting, a sequence of convex problems from the last batch's solution. It stops after `iterations` of them,
    well short of the solution where gradients differ much in size. The combined gradient is cut to `max_norm`, as in the
    official code.
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Navon et al.", "ICML", 2022, "Multi-Task Learning as a Bargaining Game", arxiv="2202.01017"
    )
    compared_with: ClassVar[str] = "LibMTL and torchjd"

    requires: ClassVar[dict[str, str]] = {
        "cvxpy": "pip install 'mtlbench[solvers]'",
        "ecos": "pip install 'mtlbench[solvers]'",
    }
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    alpha: Tensor
    age: Tensor
    solved: Tensor
    max_norm: float = Hyper(1.0, ge=0, help="bound on the combined gradient's norm; 0 for none")
    update_every: int = Hyper(1, search=Choice((1, 10, 50)), ge=1, help="steps that one solution is used for")
    iterations: int = Hyper(20, ge=1, help="convex problems solved at most")

    def setup(self) -> None:
        # The last solution, whose it is, and how many steps it has been used for; all are needed to resume.
        self.register_buffer("alpha", torch.ones(len(self.tasks), dtype=torch.float64))
        self.register_buffer("age", torch.zeros((), dtype=torch.int64))
        self.register_buffer("solved", torch.zeros(len(self.tasks), dtype=torch.bool))
        self.solvers: dict[int, Aggregator] = {}

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        at = [self.tasks.index(task) for task in losses]
        if int(self.age) == 0 or not bool(self.solved[at].all()):
            self.alpha[at] = self.solve(gramian, self.alpha[at])
            self.solved.zero_()
            self.solved[at] = True
            self.age.zero_()
        self.age.copy_((self.age + 1) % self.update_every)
        alpha = self.alpha[at]
        norm = (alpha @ gramian @ alpha).clamp(min=0).sqrt()
        return alpha * self.max_norm / norm if 0 < self.max_norm < norm else alpha

    def solve(self, gramian: Tensor, start: Tensor) -> Tensor:
        """torchjd's solution for these inner products; it takes their square root in place of the gradients."""
        from torchjd.aggregation import NashMTL as Aggregator

        if len(start) == 1:
            return gramian[0].rsqrt()
        if len(start) not in self.solvers:
            self.solvers[len(start)] = Aggregator(len(start), 0.0, 1, self.iterations)
        weighting = self.solvers[len(start)].weighting
        weighting.prvs_alpha = start.numpy().astype(np.float64)
        values, vectors = torch.linalg.eigh(gramian)
        with warnings.catch_warnings():
            # cvxpy remarks that it must compile the problem anew each time; nothing can be done about it from here.
            warnings.filterwarnings("ignore", message=".*not DPP.*")
            solution: Tensor = weighting((vectors * values.clamp(min=0).sqrt()) @ vectors.T)
            return solution
