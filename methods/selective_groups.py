"""Selective task group updates (Jeong and Yoon, ICLR 2025, arXiv:2502.11986).

    for every batch, for k = 1 … M in random order:  step on Σ_{t ∈ G_k} L_t at the weights as they are by now
    B_{s→t} ← (1 − β) B_{s→t} + β b_{s→t},      b_{s→t} = (1 − L_t(after) / L_t(before)) / |G_k|     for s ∈ G_k
    G_1 … G_M:  affinity propagation on  ½ (B_{s→t} / B_{t→t} + B_{t→s} / B_{s→s})

Legend: B the proximal inter-task affinity, 0 at first; L(before) and L(after) the losses of the batch on both sides of the
step on G_k, which cost nothing, because every step has a forward pass anyway (with its own dropout masks). The last step of
a batch is not measured.
As in the authors' code: where s and t are in one group and the loss of only one of them falls, both get −max(b); a negative
b_{t→t} is left out; and a single group steps twice, so that there is something to measure.

Deviations from the authors' code, the first two of which mend defects: there the change of the losses is credited to the
group that steps *after* it, against the paper's definition, here to the group that caused it; there the division by B_{t→t}
works in place on what it divides by, so that under current torch it reaches only a part of B; ties in affinity propagation
are broken in a fixed way (there: at random, unseeded; with two tasks that are alike and a third the groups depend on it);
groups of one task last for a fraction of the steps (there: 100 of 40,000); a single task steps once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from mtlbench.contract import Batch, Hyper, LogUniform, Publication, Strategy, TaskLosses, Uniform

from ._shared.affinity_propagation import cluster


class SelectiveGroups(Strategy):
    """Step on one group of tasks after another; tasks whose steps help each other come to share a group.

    One optimizer for all groups, as in the authors' code; clipping and decoupled weight decay apply to each group's step. A
    group without labels in the batch makes no step.
    """

    family: ClassVar[str] = "alternating steps"
    publication: ClassVar[Publication | None] = Publication(
        "Jeong and Yoon", "ICLR", 2025, "Selective Task Group Updates for Multi-Task Optimization", arxiv="2502.11986"
    )
    compared_with: ClassVar[str] = "official code"
    passes: ClassVar[str] = "M forward, M backward (M groups, 2 if all tasks are in one)"
    needs_sharing: ClassVar[bool] = True
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    affinity: Tensor
    group_of_task: Tensor
    steps: Tensor
    rate: float = Hyper(1e-3, search=LogUniform(1e-4, 0.1), gt=0, le=1, help="β: weight of a new measurement of affinity")
    warm_up: float = Hyper(
        0.0025, search=Uniform(0.0, 0.1), ge=0, le=1, help="fraction of the steps with one task per group"
    )
    preference: Literal["median"] | float = Hyper(
        "median", help="of affinity propagation: the higher, the more groups; median: of the normalised affinities"
    )

    def setup(self) -> None:
        count = len(self.tasks)
        self.names = sorted(self.tasks)
        self.register_buffer("affinity", torch.zeros(count, count, dtype=torch.float64))
        self.register_buffer("group_of_task", torch.arange(count))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def groups_of_tasks(self) -> list[tuple[str, ...]]:
        """G_1 … G_M, in the order of the tasks' names."""
        numbers = self.group_of_task.tolist()
        return [
            tuple(task for task, number in zip(self.names, numbers, strict=True) if number == group)
            for group in sorted(set(numbers), key=numbers.index)
        ]

    def artefacts(self) -> dict[str, Any]:
        """The last groups, and the affinities that they are from (row: the task that steps)."""
        affinity = [[float(value) for value in row] for row in self.affinity.tolist()]
        groups = [list(group) for group in self.groups_of_tasks()]
        return {"affinity_groups": {"tasks": self.names, "groups": groups, "affinity": affinity}}

    def updates_per_step(self) -> int:
        return max(min(2, len(self.tasks)), len(self.groups_of_tasks()))

    def step(self, batch: Batch) -> TaskLosses:
        groups = self.groups_of_tasks()
        order = torch.randperm(len(groups), generator=self.stream("order")).tolist()
        sequence = [groups[number] for number in order]
        if len(groups) == 1 < len(self.tasks):
            sequence *= 2
        first: TaskLosses = {}
        stepped: tuple[str, ...] = ()
        before: dict[str, float] = {}
        for group in sequence:
            labelled = tuple(task for task in group if batch.has_labels(task))
            if not labelled:
                continue
            losses = self.losses(batch)
            values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
            self.measure(stepped, before, values)
            self.descend({task: losses[task] for task in labelled})
            first, stepped, before = first or losses, labelled, values
        if first:
            self.steps += 1
            if int(self.steps) >= self.warm_up * self.run.budget.epochs * self.run.images_per_epoch / self.run.batch_size:
                self.regroup()
        return first

    def measure(self, stepped: Sequence[str], before: Mapping[str, float], after: Mapping[str, float]) -> None:
        """Credit the change of the losses to the tasks that have stepped in between."""
        falls = {task: (1 - after[task] / loss) / len(stepped) for task, loss in before.items() if stepped and loss > 0}
        number = {task: place for place, task in enumerate(self.names)}
        affinity = self.affinity.tolist()
        for source in stepped:
            for target, fall in falls.items():
                if target in stepped:
                    if source not in falls or (source == target and fall < 0):
                        continue
                    if fall * falls[source] < 0:
                        fall = -max(fall, falls[source])
                row = affinity[number[source]]
                row[number[target]] += self.rate * (fall - row[number[target]])
        self.affinity.copy_(torch.tensor(affinity, dtype=torch.float64).to(self.affinity))

    def regroup(self) -> None:
        """Group the tasks by their affinities, once all of them are known."""
        affinity = self.affinity.cpu().numpy()
        own = affinity.diagonal()
        if len(own) == 1 or not (np.isfinite(affinity).all() and (own > 0).all()):
            return
        similarity = affinity / own
        similarity = (similarity + similarity.T) / 2
        preference = float(np.median(similarity)) if self.preference == "median" else self.preference
        if (labels := cluster(similarity, preference)) is not None:
            self.group_of_task.copy_(torch.tensor(labels))
