"""Random select-or-skip plans: what a learned policy has to beat.

Which task executes which residual block is drawn at random, with as many skips as asked for; the network is then trained
as AdaShare's retraining phase trains its own. (The AdaShare paper compares with a random policy in its ablation.)
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch

from mtlbench.contract import Architecture, Hyper, Phase, Run, SharingGraph, Strategy, Uniform, derive_seed

from ._shared.search_budget import POLICY, WARM_UP, split_budget
from ._shared.select_or_skip import Decisions, columns, picture, plan_of


class RandomPlan(Architecture):
    """Every task skips residual blocks that were drawn at random for it; nothing is learned about what to share."""

    needs: ClassVar[frozenset[str]] = frozenset({"residual blocks"})
    family: ClassVar[str] = "control"

    minimum_epochs: ClassVar[int] = 2

    sparsity: float = Hyper(0.5, search=Uniform(0.0, 1.0), ge=0, le=1, help="share of all task-blocks that are skipped")
    drawing: Literal["exact", "bernoulli"] = Hyper(
        "exact", help="exactly that many skips, anywhere; or each block independently, so that it holds on average"
    )
    budget: Literal["retraining", "all"] = Hyper(
        "retraining", help="under budget equal_total: train for the half that AdaShare's retraining has, or for all of it"
    )

    def build(self) -> None:
        units = self.block_units()
        self.depths = [unit.name for unit in units]
        self.decisions = self.draw(len(units) - 1)
        self.graph = SharingGraph(units, plan_of(self.depths, self.decisions))

    def draw(self, blocks: int) -> Decisions:
        """The trial's decisions: they follow from its seed, and do not depend on the order of the tasks."""
        generator = torch.Generator().manual_seed(derive_seed("random plan", self.config.seed))
        draws = torch.rand(len(self.tasks), blocks, generator=generator, dtype=torch.float64)
        if self.drawing == "exact":
            skips = round(self.sparsity * draws.numel())
            rank = draws.flatten().argsort().argsort().view_as(draws)
            keep = rank >= skips
        else:
            keep = draws >= self.sparsity
        decisions: Decisions = dict(zip(sorted(self.tasks), keep.tolist(), strict=True))
        return {task: decisions[task] for task in self.tasks}

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        epochs = run.budget.epochs
        if run.budget.mode == "equal_total" and self.budget == "retraining":
            (epochs,) = split_budget(run, WARM_UP, POLICY, samples=1).retraining
        return [Phase("retraining", epochs, strategy)]

    def extra(self) -> dict[str, float]:
        return columns(self.decisions)

    def artefacts(self) -> dict[str, Any]:
        probability = {task: [1 - self.sparsity] * (len(self.depths) - 1) for task in self.tasks}
        return {"policy": picture(self.depths[1:], self.decisions, probability)}
