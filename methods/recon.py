"""Recon: layers with conflicting gradients become task-specific (Shi et al., ICLR 2023, arXiv:2302.11289).

All tasks are trained on a shared trunk first, and it is counted how often their gradients conflict in each of its units. The
units with most conflicts get a variant per task, the others stay shared, and this network is trained from scratch.

    s_k = Σ over steps, Σ_{i<j} 1[cos(g_i^k, g_j^k) < S]                   (S-conflict score of unit k, definition 2)
    the K units with the largest s_k become task-specific                  (algorithm 1)

Legend: i, j tasks; k units; g_i^k task i's gradient for the unit's weights; S `severity`; K = `specific` · number of units.

Choices and deviations from the official code:
    Units. The stem and residual blocks; the official code splits single layers (a convolution, a BatchNorm's scales).
    Gradients are taken on a forward pass of their own, so that the joint training may use any strategy; `measured` is the
    share of the images it is done on.
    Shared units after a task-specific one see other features per task: they are executed once per task, with BatchNorm
    statistics of their own.
    Budget. The joint training is part of it: `search` of the epochs (equal_total). The official code trains both in full.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, ClassVar

import torch
from torch import Tensor

from mtlbench.contract import (
    Architecture,
    Batch,
    Hyper,
    Phase,
    Publication,
    Run,
    SharingGraph,
    SharingPlan,
    Strategy,
    Uniform,
)

from ._shared.initial_weights import restart_with
from ._shared.search_then_train import FinalTraining, MeasuredTraining, divide


class Recon(Architecture):
    """Share the trunk but for the units in which the tasks' gradients conflict most."""

    minimum_epochs: ClassVar[int] = 2
    family: ClassVar[str] = "branched"
    publication: ClassVar[Publication | None] = Publication(
        "Shi et al.",
        "ICLR",
        2023,
        "Recon: Reducing Conflicting Gradients from the Root for Multi-Task Learning",
        arxiv="2302.11289",
    )
    compared_with: ClassVar[str] = "official code"

    severity: float = Hyper(0.0, search=Uniform(-0.1, 0.0), ge=-1, le=1, help="S: cosines below it are conflicts")
    specific: float = Hyper(0.4, search=Uniform(0.1, 0.8), ge=0, le=1, help="share of the units that become task-specific")
    search: float = Hyper(
        0.3, search=Uniform(0.1, 0.5), gt=0, lt=1, help="share of the budget that the joint training takes (equal_total)"
    )
    measured: float = Hyper(1.0, gt=0, le=1, help="share of train on whose batches conflicts are counted")

    def build(self) -> None:
        self.units = self.block_units()
        self.graph = SharingGraph(self.units, self.plan_with([]))
        self.scores: list[int] = []
        self.chosen: list[int] | None = None

    def plan_with(self, specific: list[int]) -> SharingPlan:
        """The plan in which the given units have a variant per task."""
        count = len(self.tasks)
        apart, together = tuple(range(count)), (0,) * count
        table = tuple(apart if depth in specific else together for depth in range(len(self.units)))
        return SharingPlan(tuple(unit.name for unit in self.units), tuple(self.tasks), table)

    def split(self, specific: list[int]) -> None:
        """Become the network with these task-specific units, with the trial's initial weights."""
        self.chosen = specific
        restart_with(SharingGraph(self.units, self.plan_with(specific)), self)

    def most_conflicting(self) -> list[int]:
        """The K units with the largest scores, of equals the first, in ascending order."""
        count = round(self.specific * len(self.units))
        return sorted(sorted(range(len(self.units)), key=lambda depth: -self.scores[depth])[:count])

    def structure(self) -> dict[str, Any]:
        return {"specific": self.chosen, "scores": self.scores}

    def restore_structure(self, structure: dict[str, Any]) -> None:
        self.scores = structure["scores"]
        if structure["specific"] is not None:
            self.split(structure["specific"])

    def extra(self) -> dict[str, float]:
        return {"task-specific units": float(len(self.chosen or []))}

    def artefacts(self) -> dict[str, Any]:
        return {"conflict_scores": {"units": [unit.name for unit in self.units], "scores": self.scores}}

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        joint, trained = divide(run, self.search)
        final = FinalTraining("split", trained, strategy, lambda: self.split(self.most_conflicting()))
        return [Conflicts(self, joint, strategy), final]


class Conflicts(MeasuredTraining):
    """Train all tasks on the shared trunk, and count conflicts in its units."""

    def __init__(self, network: Recon, epochs: int, strategy: Strategy) -> None:
        super().__init__(epochs, strategy, self.count, network.measured)
        self.network = network
        self.counts = torch.zeros(len(network.units), dtype=torch.int64)

    def count(self, batch: Batch) -> None:
        """Add the conflicts of a batch."""
        graph = self.network.graph
        assert graph is not None
        by_unit = [list(graph.module(depth, 0).parameters()) for depth in range(len(self.network.units))]
        weights = [weight for unit in by_unit for weight in unit]
        losses = self.strategy.losses(batch)
        rows = [torch.autograd.grad(loss, weights, retain_graph=True) for loss in losses.values()]
        if len(rows) > 1:
            start = 0
            for depth, unit in enumerate(by_unit):
                parts = [torch.cat([g.flatten() for g in row[start : start + len(unit)]]) for row in rows]
                self.counts[depth] += conflicts(torch.stack(parts), self.network.severity)
                start += len(unit)

    def finish(self) -> None:
        self.network.scores = self.counts.tolist()

    def state(self) -> dict[str, Any]:
        return {"counts": self.counts}

    def restore(self, state: dict[str, Any]) -> None:
        self.counts = state["counts"].cpu()


def conflicts(rows: Tensor, severity: float) -> int:
    """How many pairs of gradients [T, P] have a cosine below the severity. A zero gradient's cosines are 0."""
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    cosines = (unit @ unit.T).cpu()
    return sum(bool(cosines[i, j] < severity) for i, j in combinations(range(len(rows)), 2))
