"""TAG: task affinity groupings (Fifty et al., NeurIPS 2021, arXiv:2109.04617).

All tasks are trained together once. On the way it is measured what a step on one task alone does to the others' losses;
groups in which the tasks help each other most are then trained from scratch.

    θ_s|i = θ_s − η ∇_{θ_s} L_i(θ_s, θ_i)                                                       (a look ahead)
    Z_{i→j} = 1 − L_j(θ_s|i, θ_j) / L_j(θ_s, θ_j)                                               (eq. 1)
    Ẑ_{i→j} the mean of Z over training;  score of group g for task j: mean_{i ∈ g, i ≠ j} Ẑ_{i→j}
    choose at most b groups that maximise Σ_j (best score for j of a chosen group)              (`best_networks`)

Legend: i, j tasks; θ_s shared weights, θ_j those of task j's head; η `lookahead`; b `networks`.

Choices and deviations from the official code:
    Look ahead. Plain gradient descent, as in eq. 1; the official code takes the momentum of its SGD into the step. η is the
    protocol's rate for SGD and 0.01 for other optimizers. Dropout is off, since another draw would hide what the step does.
    Measuring costs T + 1 forward and T backward passes beside the step; `measured` is the share of the images it is done on.
    Networks. Groups may overlap, and no task is alone in a group unless it is the only one, as in the official code; a task
    that only helps has an auxiliary head. The choice is exact, by another algorithm.
    Budget. The joint training is part of it: `search` of the epochs (equal_total).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from mtlbench.contract import Batch, Hyper, Phase, Publication, Run, Strategy, Uniform

from .._shared.group_selection import Matrix, Network, best_networks, mean_of_pairs
from .._shared.grouped_networks import GroupedNetworks
from .._shared.search_then_train import FinalTraining, MeasuredTraining, divide
from .look_ahead import affinities

ALONE = -1e6
"""Score of a task in a network of its own: none does so if it can be helped."""


class TAG(GroupedNetworks):
    """Train tasks together that help each other, as far as one step ahead shows it."""

    publication: ClassVar[Publication | None] = Publication(
        "Fifty et al.", "NeurIPS", 2021, "Efficiently Identifying Task Groupings for Multi-Task Learning", arxiv="2109.04617"
    )
    compared_with: ClassVar[str] = "official code"

    search: float = Hyper(
        0.3, search=Uniform(0.1, 0.5), gt=0, lt=1, help="share of the budget that the joint training takes (equal_total)"
    )
    lookahead: Literal["auto"] | float = Hyper("auto", gt=0, help="η; auto: the protocol's rate for SGD, else 0.01")
    measured: float = Hyper(1.0, gt=0, le=1, help="share of train on whose batches affinity is measured")

    def build(self) -> None:
        super().build()
        self.affinity: list[list[float]] = []

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        joint, trained = divide(run, self.search)
        final = FinalTraining("groups", trained, strategy, lambda: self.settle(joint))
        return [Affinity(self, joint, strategy), final]

    def select(self) -> list[Network]:
        return select(np.array(self.affinity).T, self.networks)

    def structure(self) -> dict[str, Any]:
        return {**super().structure(), "affinity": self.affinity}

    def restore_structure(self, structure: dict[str, Any]) -> None:
        self.affinity = structure["affinity"]
        super().restore_structure(structure)

    def artefacts(self) -> dict[str, Any]:
        return {**super().artefacts(), "affinity": {"tasks": list(self.tasks), "matrix": self.affinity}}


def select(received: Matrix, networks: int) -> list[Network]:
    """The best networks by affinities received: [T, T], row j column i holds Ẑ_{i→j}."""
    return best_networks(mean_of_pairs(received, lambda task: ALONE), len(received), networks)


class Affinity(MeasuredTraining):
    """Train all tasks together and measure what each does to the others."""

    def __init__(self, network: TAG, epochs: int, strategy: Strategy) -> None:
        super().__init__(epochs, strategy, self.look_ahead, network.measured)
        self.network, self.run = network, strategy.run
        count = len(network.tasks)
        self.sums = torch.zeros(count, count, dtype=torch.float64)
        self.counts = torch.zeros(count, count, dtype=torch.float64)
        rate, optimizer = network.lookahead, self.run.optimizer
        self.rate = (optimizer.lr if optimizer.name == "sgd" else 0.01) if rate == "auto" else rate

    def look_ahead(self, batch: Batch) -> None:
        """Measure one piece of the batch, where it does not fit into memory at once."""
        self.add(affinities(self.network, batch.pieces(self.run.micro_batches)[0], self.rate))

    def add(self, measured: Tensor) -> None:
        """Count what was measured; pairs without labels in the batch are NaN."""
        known = measured.isfinite()
        self.sums += torch.where(known, measured, 0.0)
        self.counts += known

    def finish(self) -> None:
        mean = self.sums / self.counts.clamp_min(1)
        self.network.affinity = [[float(value) for value in row] for row in mean]

    def state(self) -> dict[str, Any]:
        return {"sums": self.sums, "counts": self.counts}

    def restore(self, state: dict[str, Any]) -> None:
        self.sums, self.counts = state["sums"].cpu(), state["counts"].cpu()
