"""CGC: customized gate control (Tang et al., RecSys 2020).

    f_t(x) = Σ_e g_t(x)_e S_t(x)_e,   g_t(x) = softmax(W_t x)

Legend: t tasks; S_t the outputs of the experts that all tasks share and of task t's own; g_t task t's gate.

Deviations: those of `mmoe`. As in LibMTL, gates are linear and experts are encoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from mtlbench.contract import Exchange, Hyper, Maps, Publication, SharingPlan

from ._shared.experts import MixtureOfExperts, edges, expert_names, mix_levels


class CGC(MixtureOfExperts):
    """Experts of all tasks and experts of single tasks; a task mixes the former and its own."""

    family: ClassVar[str] = "mixture of experts"
    publication: ClassVar[Publication | None] = Publication(
        "Tang et al.",
        "RecSys",
        2020,
        "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for Personalized Recommendations",
    )
    compared_with: ClassVar[str] = "LibMTL"

    num_shared: int = Hyper(1, ge=1, help="experts that all tasks share")
    num_own: int = Hyper(1, ge=1, help="experts of each task")

    def build(self) -> None:
        super().build()
        self.common, self.private = self.shared_experts(self.num_shared), self.task_experts(self.num_own)
        self.gates = self.task_gates(self.num_shared + self.num_own)
        for task in self.tasks:
            self.own(self.private[task], [task])

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        x, maps = self.run_early(image)
        common = [expert(x) for expert in self.common]
        return {
            task: maps + mix_levels([*common, *(expert(x) for expert in self.private[task])], self.gates[task](x))
            for task in tasks
        }

    def plan(self) -> SharingPlan:
        return self.plan_with_own_experts()

    def exchange(self) -> list[Exchange]:
        names = [[*expert_names(self.num_shared), *[task] * self.num_own] for task in self.tasks]
        return edges(4, self.first, names, dict(self.gates.items()), list(self.tasks))
