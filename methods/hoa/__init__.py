"""HOA: task groups by higher-order approximation (Standley et al., ICML 2020, arXiv:1905.07553).

Networks of all pairs of tasks and of every task alone are trained. From these it is predicted how well larger groups would
do, and the best groups are trained from scratch.

    L̂_t(g) = mean_{u ∈ g, u ≠ t} L_t({t, u}),   L̂_t({t}) = L_t({t})                       (section 6)
    choose at most b groups that minimise Σ_t (least L̂_t of a chosen group)               (`best_networks`)

Legend: t, u tasks; g a group; L_t(g) task t's loss, on held-out images, in a network that is trained on g; b `networks`.

Choices and deviations:
    Held-out images. A part of train (`held_out`) that the search does not train on; the paper uses the validation set, which
    here is for selection alone.
    Losses. Each task's are divided by its loss alone, so that no task's unit decides; the paper weighs its tasks by hand.
    BatchNorm goes by the batch when they are measured: running statistics are not there yet after a short training.
    Order. In every round each task is trained in exactly one network, so a round's epochs are epochs per task: T rounds, in
    which every pair and every single task comes once (`rounds`).
    Budget. The rounds together take `search` of it (equal_total); T tasks need T + 1 epochs or more. Under "paper" each
    network is trained as long as a plain one.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from mtlbench.contract import Hyper, Phase, Publication, Run, Strategy, Uniform, UserError

from .._shared.group_selection import Matrix, Network, best_networks, mean_of_pairs
from .._shared.grouped_networks import GroupedNetworks
from .._shared.search_then_train import FinalTraining
from .rounds import Round, rounds


class HigherOrderApproximation(GroupedNetworks):
    """Train tasks together that do best together, as networks of all pairs predict it."""

    minimum_epochs: ClassVar[int] = 4
    publication: ClassVar[Publication | None] = Publication(
        "Standley et al.",
        "ICML",
        2020,
        "Which Tasks Should Be Learned Together in Multi-task Learning?",
        arxiv="1905.07553",
    )
    compared_with: ClassVar[str] = "official code of TAG"

    search: float = Hyper(
        0.5, search=Uniform(0.3, 0.7), gt=0, lt=1, help="share of the budget that all rounds take (equal_total)"
    )
    held_out: float = Hyper(0.2, gt=0, lt=1, help="share of train that losses are measured on in the search")

    def build(self) -> None:
        super().build()
        self.rounds = rounds(len(self.tasks))
        self.round = -1
        self.measured: list[dict[str, float]] = []

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        count, epochs = len(self.rounds), run.budget.epochs
        each = trained = epochs
        if run.budget.mode == "equal_total":
            if epochs <= count:
                raise UserError(f"hoa: {count} tasks need {count + 1} epochs or more, and there are {epochs}.")
            each = max(1, int(self.search * epochs / count))  # as long for every network: their losses are compared
            trained = epochs - count * each
        elif run.budget.mode == "equal_final":
            each = max(1, round(epochs * self.search / (1 - self.search) / count))
        search = [Round(number, each, strategy, self.held_out, self.enter, self.record) for number in range(count)]
        return [*search, FinalTraining("groups", trained, strategy, lambda: self.settle(count * each))]

    def enter(self, number: int) -> None:
        """Become the networks of a round."""
        self.round = number
        self.become(self.rounds[number])

    def record(self, losses: dict[str, float]) -> None:
        """Keep the losses of a round."""
        self.measured.append(losses)

    def losses_of_pairs(self) -> Matrix:
        """[T, T]: the loss of the row's task beside the column's; alone on the diagonal."""
        matrix = np.zeros((len(self.tasks), len(self.tasks)))
        for groups, losses in zip(self.rounds, self.measured, strict=True):
            by_number = list(losses.values())
            for group in groups:
                for task, other in zip(group, reversed(group), strict=True):
                    matrix[task, other] = by_number[task]
        return matrix

    def select(self) -> list[Network]:
        losses = self.losses_of_pairs()
        return select(losses / np.maximum(losses.diagonal()[:, None], 1e-12), self.networks)

    def structure(self) -> dict[str, Any]:
        return {**super().structure(), "round": self.round, "measured": self.measured}

    def restore_structure(self, structure: dict[str, Any]) -> None:
        self.measured = structure["measured"]
        if structure["round"] >= 0:
            self.enter(structure["round"])
        super().restore_structure(structure)

    def artefacts(self) -> dict[str, Any]:
        pairs = self.losses_of_pairs().tolist() if len(self.measured) == len(self.rounds) else []
        return {**super().artefacts(), "losses_of_pairs": {"tasks": list(self.tasks), "matrix": pairs}}


def select(losses: Matrix, networks: int) -> list[Network]:
    """The best networks by the losses of pairs [T, T], which are comparable between tasks."""
    return best_networks(mean_of_pairs(-losses, lambda task: float(-losses[task, task])), len(losses), networks)
