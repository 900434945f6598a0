"""PCGrad: gradient surgery (Yu et al., NeurIPS 2020, arXiv:2001.06782, algorithm 1)."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import JacobianStrategy, Publication, TaskLosses


class PCGrad(JacobianStrategy):
    """Project each task's gradient off those it conflicts with, one after another in random order, and sum them.

        g_i ← g_i − (g_i · g_j / ‖g_j‖²) g_j        for every j ≠ i with g_i · g_j < 0

    Done on coefficients: row i of `projected` says what g_i has become in terms of the original gradients. The paper's code
    and most others sum; some divide by T. For two conflicting tasks the result is twice that of UPGrad.
    `gradients="features"`, as in LibMTL, removes the conflicts of feature gradients: those of the weights may remain.
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Yu et al.", "NeurIPS", 2020, "Gradient Surgery for Multi-Task Learning", arxiv="2001.06782"
    )
    compared_with: ClassVar[str] = "LibMTL, torchjd, and code of Navon et al., 2022"

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})
    feature_gradients: ClassVar[bool] = True

    def order(self, task: str, others: Sequence[int]) -> list[int]:
        """The order in which a task visits the others: from the task's own stream."""
        places = torch.randperm(len(others), generator=self.stream("order", task)).tolist()
        return [others[place] for place in places]

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        projected = torch.eye(len(losses), dtype=gramian.dtype)
        for i, task in enumerate(losses):
            for j in self.order(task, [j for j in range(len(losses)) if j != i]):
                overlap = projected[i] @ gramian[j]
                if overlap < 0:
                    projected[i, j] -= overlap / gramian[j, j]
        return projected.sum(0)
