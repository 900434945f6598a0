"""PLE: progressive layered extraction (Tang et al., RecSys 2020).

At every depth ℓ of the experts (stem or stage):

    x_t^ℓ = Σ_e g_t^ℓ(x_t^{ℓ−1})_e S_t^ℓ_e        S_t^ℓ: shared experts of x_s^{ℓ−1}, task t's own of x_t^{ℓ−1}
    x_s^ℓ = Σ_e g_s^ℓ(x_s^{ℓ−1})_e S_s^ℓ_e        S_s^ℓ: all experts of this depth; not at the last

Legend: t tasks; s the shared path; g = softmax(W x) a gate. The head of t reads x_t of the last depth.

Deviations: those of `mmoe`. LibMTL has no shared path: its shared experts run once per task, on the task's own features.
With `expert_depths` = 1 there is a single level, and PLE is CGC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from mtlbench.contract import Exchange, Hyper, Maps, Publication, SharingPlan

from ._shared.experts import MixtureOfExperts, edges, expert_names, mix
from ._shared.typed_modules import TypedModuleDict, TypedModuleList

SHARED = "shared path"
LAST = 4


class PLE(MixtureOfExperts):
    """Shared and task-specific experts at every depth; tasks and a shared path mix them by gates, depth by depth."""

    needs: ClassVar[frozenset[str]] = frozenset({"feature maps"})
    family: ClassVar[str] = "mixture of experts"
    publication: ClassVar[Publication | None] = Publication(
        "Tang et al.",
        "RecSys",
        2020,
        "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for Personalized Recommendations",
    )
    compared_with: ClassVar[str] = "LibMTL"

    num_shared: int = Hyper(1, ge=1, help="experts per depth that all tasks share")
    num_own: int = Hyper(1, ge=1, help="experts per depth of each task")

    def build(self) -> None:
        super().build()
        self.common, self.private = self.shared_experts(self.num_shared), self.task_experts(self.num_own)
        seen_by_task = self.num_shared + self.num_own
        seen_by_all = self.num_shared + self.num_own * len(self.tasks)
        depths = range(self.first, LAST + 1)
        self.gates = TypedModuleDict(
            {task: TypedModuleList(self.new_gate(task, depth, seen_by_task) for depth in depths) for task in self.tasks}
        )
        self.shared_gates = TypedModuleList(self.new_gate(SHARED, depth, seen_by_all) for depth in depths[:-1])
        for task in self.tasks:
            # What is before reaches all tasks through the shared path; the last gate but one feeds the task's experts alone.
            for expert in self.private[task]:
                self.own(expert[-1], [task])
            for gate in self.gates[task][-2:]:
                self.own(gate, [task])

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        x, early = self.run_early(image)
        maps: dict[str, Maps] = {task: list(early) for task in tasks}
        shared, own = x, dict.fromkeys(self.tasks, x)
        for level, depth in enumerate(range(self.first, LAST + 1)):
            # The shared path mixes the experts of all tasks, until it ends.
            running = tasks if depth == LAST else list(self.tasks)
            common = [expert[level](shared) for expert in self.common]
            private = {task: [expert[level](own[task]) for expert in self.private[task]] for task in running}
            following = tasks if depth >= LAST - 1 else running
            mixed = {task: mix([*common, *private[task]], self.gates[task][level](own[task])) for task in following}
            if depth < LAST:
                every = [*common, *(output for task in sorted(private) for output in private[task])]
                shared = mix(every, self.shared_gates[level](shared))
            own = mixed
            if depth:
                for task in tasks:
                    maps[task].append(own[task])
        return maps

    def plan(self) -> SharingPlan:
        return self.plan_with_own_experts()

    def exchange(self) -> list[Exchange]:
        shared = expert_names(self.num_shared)
        found: list[Exchange] = []
        for level, depth in enumerate(range(self.first, LAST + 1)):
            names = [[*shared, *[task] * self.num_own] for task in self.tasks]
            found += edges(depth, depth, names, {task: gates[level] for task, gates in self.gates.items()}, list(self.tasks))
            if depth < LAST:
                everyone = [*shared, *(task for task in sorted(self.tasks) for _ in range(self.num_own))]
                found += edges(depth, depth, [everyone], {shared[0]: self.shared_gates[level]}, [shared[0]])
        return found
