"""GradDrop: gradient sign dropout (Chen et al., "Just Pick a Sign", NeurIPS 2020, arXiv:2010.06808, algorithm 1)."""

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import JacobianStrategy, Publication, TaskLosses


class GradDrop(JacobianStrategy):
    """For every single weight keep only the positive or only the negative task gradients, at random.

        P = ½ (1 + Σ_t g_t / Σ_t |g_t|);   keep the positive g_t where U < P, else the negative ones;   U uniform in [0, 1)

    The form on parameter gradients, without leaks; the paper's own acts on the gradients of the shared
    features: so does `gradients="features"`, for every image by itself (the paper sums over the batch).
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Chen et al.",
        "NeurIPS",
        2020,
        "Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout",
        arxiv="2010.06808",
    )
    compared_with: ClassVar[str] = "torchjd"

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})
    feature_gradients: ClassVar[bool] = True

    def setup(self) -> None:
        self.drawn_in: int | None = None

    def uniform(self, into: Tensor) -> Tensor:
        """Fill with uniform numbers in [−1, 1), drawn where the gradients are: they are as many as the weights."""
        if self.drawn_in != self.run.epoch:
            seed = int(torch.randint(2**62, (), generator=self.run.generator("uniform")))
            self.source, self.drawn_in = torch.Generator(into.device).manual_seed(seed), self.run.epoch
        return into.uniform_(-1, 1, generator=self.source)

    def combine(self, rows: Tensor, losses: TaskLosses) -> Tensor:
        # With s = Σ g and a = Σ |g| what is kept is (s ± a) / 2, and U < P means (2U − 1) a < s. In few passes and little
        # memory, because there are as many numbers as weights.
        total, size = rows[0].clone(), rows[0].abs()
        part = torch.empty_like(size)
        for row in rows[1:]:
            total += row
            size += torch.abs(row, out=part)
        above = self.uniform(part).mul_(size).sub_(total)
        return total.sub_(torch.copysign(size, above, out=above)).mul_(0.5)
