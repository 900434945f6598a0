"""GradDrop: gradient sign dropout (Chen et al., "Just Pick a Sign", NeurIPS 2020, arXiv:2010.06808, algorithm 1)."""

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import JacobianStrategy, TaskLosses


class GradDrop(JacobianStrategy):
    """For every single weight keep only the positive or only the negative task gradients, at random.

        P = ½ (1 + Σ_t g_t / Σ_t |g_t|);   keep the positive g_t where U < P, else the negative ones;   U uniform in [0, 1)

    The form on parameter gradients, without leaks; the paper's own acts on the gradients of the shared features.
    """

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    def setup(self) -> None:
        self.drawn_in: int | None = None

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform numbers, one a weight, drawn where the gradients are: they are as many as the weights."""
        if self.drawn_in != self.run.epoch:
            seed = int(torch.randint(2**62, (), generator=self.run.generator("uniform")))
            self.source, self.drawn_in = torch.Generator(like.device).manual_seed(seed), self.run.epoch
        return torch.rand(like.shape, generator=self.source, device=like.device, dtype=like.dtype)

    def combine(self, rows: Tensor, losses: TaskLosses) -> Tensor:
        positive, negative = torch.zeros_like(rows[0]), torch.zeros_like(rows[0])
        for row in rows:
            positive += row.clamp(min=0)
            negative += row.clamp(max=0)
        # P = positive / (positive + |negative|); where all gradients are 0 it is NaN, and either choice is 0.
        return torch.where(self.uniform(positive) < positive / (positive - negative), positive, negative)
