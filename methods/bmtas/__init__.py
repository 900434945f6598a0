"""BMTAS: branched multi-task architecture search (Bruggemann et al., BMVC 2020, arXiv:2008.10292).

Every unit after the stem has T candidate copies. Each task chooses one of them per unit; tasks whose choices have been equal
so far are one branch. The choices are learned under a price on the expected cost of the branched network.

    x_{t,l} = Σ_i g_{t,l,i} O_{l,i}(x_{t,l−1})          task t's features after unit l                         (`relaxed`)
    g_{t,l} = softmax((A_{t,l} + G) / τ)                its relaxed choice, G Gumbel(0, 1) noise   (`SearchedTree.relax`)
    objective of A = Σ_t L_t + λ E[cost] / cost_shared                                              (`price`)
    E[cost] = Σ_l Σ_κ P_l(κ) |κ| c_l                    κ partitions of the tasks, |κ| their branches  (`expected_cost.py`)

Legend: t, T tasks; l units; i copies; A learned logits; τ falls linearly; c_l FLOPs of one copy of unit l; P_l(κ) the
probability that the branches at unit l are κ; cost_shared = Σ_l c_l.

Choices and deviations from the official code:
    Units. Stages; units="blocks" chooses at every residual block, as published.
    Cost. It counts relative to hard sharing's instead of in GFLOPs, so that λ means the same at every resolution.
    P_l(κ). Branches are what the choices of all units so far leave together. The official recursion counts tasks that choose
    the same copy again after they have parted as all separate; cost="official" does so, too.
    Weight steps. The strategy's: published are steps on one task after another (bmtas+alternating). Optimizers keep their
    state; the official ones forget it every epoch. The temperature falls from step to step, not from epoch to epoch.
    BatchNorm. The official copies have none with weights at their end during the search; here units are the trunk's.
    Budget. Search and final training share it; published are 160 epochs of search beside the final training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mtlbench.contract import Hyper, LogUniform, Maps, Publication, SharingPlan, UserError

from .._shared.tree_search import SearchedTree
from .expected_cost import ExpectedCost, unit_flops

MOST_TASKS = 6
"""Partitions of seven tasks come in 769,129 pairs, and they are listed."""


class BMTAS(SearchedTree):
    """Every task learns which copy of each unit it runs, under a price on FLOPs; the branches are trained anew."""

    publication: ClassVar[Publication | None] = Publication(
        "Bruggemann et al.",
        "BMVC",
        2020,
        "Automated Search for Resource-Efficient Branched Multi-Task Networks",
        arxiv="2008.10292",
    )
    compared_with: ClassVar[str] = "official code"

    resources: float = Hyper(0.1, search=LogUniform(0.01, 1.0), ge=0, help="λ: price of the expected cost")
    cost: Literal["exact", "official"] = Hyper("exact", help="P_l(κ): exact, or as the official code has it")
    final_temperature: float = Hyper(0.1, gt=0, help="τ at the end of the search")

    def build(self) -> None:
        if len(self.tasks) > MOST_TASKS:
            raise UserError(
                f"bmtas lists all partitions of the tasks: at most {MOST_TASKS} tasks, and there are {len(self.tasks)}."
            )
        super().build()
        flops = unit_flops([unit.make() for unit in self.parts_of_trunk], self.config.image_size)[1:]
        self.expected = ExpectedCost([value / sum(flops) for value in flops], len(self.tasks), self.cost == "official")

    def choices(self) -> int:
        return len(self.depths) - 1  # the stem is shared

    def start_plan(self) -> SharingPlan:
        tasks = list(self.tasks)
        private = SharingPlan.private(self.depths, tasks)
        return SharingPlan(private.depths, private.tasks, ((0,) * len(tasks), *private.table[1:]))

    def start_gates(self) -> dict[str, Tensor] | None:
        return None  # every task has its own copies

    def temperature_at(self, progress: float) -> float:
        return self.temperature + (self.final_temperature - self.temperature) * progress

    def price(self) -> Tensor:
        return self.resources * self.expected(torch.stack([logits.softmax(-1) for logits in self.logits.values()]))

    def relaxed(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        assert self.graph is not None and self.gates is not None
        stem = self.graph.module(0, 0)(image)
        maps: dict[str, Maps] = {}
        for task in tasks:
            features, maps[task] = stem, []
            for depth, (unit, weights) in enumerate(zip(self.parts_of_trunk[1:], self.gates[task], strict=True), start=1):
                outputs = [weight * self.graph.module(depth, copy)(features) for copy, weight in enumerate(weights)]
                features = sum(outputs[1:], outputs[0])
                if unit.output:
                    maps[task].append(features)
        return maps

    def paths(self) -> dict[str, list[int]]:
        return {task: [0, *logits.argmax(-1).tolist()] for task, logits in self.logits.items()}

    def extra(self) -> dict[str, float]:
        probabilities = torch.stack([logits.detach().softmax(-1) for logits in self.logits.values()])
        return {**super().extra(), "expected cost": float(self.expected(probabilities))}
