"""Random loss weighting (Lin et al., "Reasonable Effectiveness of Random Weighting", TMLR 2022, arXiv:2111.10603)."""

from typing import ClassVar

import torch

from mtlbench.contract import Batch, Publication, Strategy, TaskLosses


class RLW(Strategy):
    """Draw new loss weights for every batch: the softmax of independent standard normal numbers.

    The weights of a batch's labelled tasks sum to 1. Every task draws from a random stream of its own.
    """

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Lin et al.",
        "TMLR",
        2022,
        "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning",
        arxiv="2111.10603",
    )
    compared_with: ClassVar[str] = "LibMTL"

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    def draw(self, task: str) -> float:
        """A standard normal number of the task's own stream."""
        return float(torch.randn((), generator=self.stream("weight", task)))

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        weights = torch.softmax(torch.tensor([self.draw(task) for task in losses]), 0).tolist()
        self.descend({task: weight * loss for (task, loss), weight in zip(losses.items(), weights, strict=True)})
        return losses
