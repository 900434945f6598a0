"""Alternating independent task steps (Pascal et al., "Improved Optimization Strategies for Deep Multi-Task Networks",
2021, arXiv:2109.11678).

    for every batch, for k = 1 … G:   L_k = Σ_{t ∈ S_k} L_t at the weights as they are by now;   step on L_k

Legend: S_1 … S_G the groups of tasks. With one optimizer for all groups this is the paper's "independent update" (IUS);
with an optimizer for each its "individual optimizers" (IO), where each group has its own moments for the shared weights.

Deviations from the authors' code: an optimizer owns only what its group's tasks own (there: everything, which lets heads
move in foreign steps under weight decay); groups are drawn from the trial's seed (there: unseeded); a group without labels
in the batch makes no step.
"""

import copy
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from mtlbench.contract import Batch, Choice, Hyper, Publication, Strategy, TaskLosses, detached, total


class Alternating(Strategy):
    """Step on one group of tasks after another, each on a fresh forward pass of the same batch.

    Gradient clipping and decoupled weight decay apply to each group's step; the schedule sets all optimizers alike. A step
    counts as one update for each group. Groups of one task are in the order of the dataset's tasks; larger ones are drawn
    at random and keep that order.

    When groups are drawn anew (`regroup`), optimizer state follows the tasks: a new group takes over the state of the
    shared weights from the old group that it has most tasks in common with (the first of equals), and a task's own
    parameters keep theirs.
    """

    family: ClassVar[str] = "alternating steps"
    publication: ClassVar[Publication | None] = Publication(
        "Pascal et al.", "arXiv", 2021, "Improved Optimization Strategies for Deep Multi-Task Networks", arxiv="2109.11678"
    )
    compared_with: ClassVar[str] = "official code"

    needs_sharing: ClassVar[bool] = True
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "loss_scale"})

    group_of_task: Tensor
    epochs: Tensor
    group_size: int = Hyper(1, search=Choice((1, 2, 4)), ge=1, help="tasks per group (the last one has the rest)")
    state: Literal["per_group", "shared"] = Hyper(
        "per_group", search=Choice(("per_group", "shared")), help="one optimizer per group (IO), or one for all (IUS)"
    )
    regroup: Literal["never"] | int = Hyper(
        "never", ge=1, help="draw new groups every so many epochs; never is the authors' way"
    )
    order: Literal["fixed", "shuffled"] = Hyper(
        "fixed", search=Choice(("fixed", "shuffled")), help="the groups' order within a step; fixed is the authors' way"
    )
    same_point: bool = Hyper(
        False, help="take all groups' gradients at the same weights, before any step (as AdaTask does), on one forward pass"
    )

    def setup(self) -> None:
        self.register_buffer("group_of_task", self.draw(0))
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))

    def draw(self, number: int) -> Tensor:
        """Each task's group, int64 [T]: drawing `number` of the trial."""
        count = len(self.tasks)
        position = torch.arange(count)
        if 1 < self.group_size < count:
            # Drawn over the sorted names, so that the same tasks in another order make the same groups.
            places = torch.randperm(count, generator=self.run.fixed_generator("groups", number)).tolist()
            rank = dict(zip(sorted(self.tasks), places, strict=True))
            position = torch.tensor([rank[task] for task in self.tasks])
        return position // self.group_size

    def groups_of_tasks(self) -> list[tuple[str, ...]]:
        """S_1 … S_G, each in task order."""
        return self.named(self.group_of_task)

    def named(self, group_of_task: Tensor) -> list[tuple[str, ...]]:
        """The tasks of every group, from each task's group number."""
        numbers = group_of_task.tolist()
        return [
            tuple(task for task, number in zip(self.tasks, numbers, strict=True) if number == group)
            for group in range(max(numbers) + 1)
        ]

    def artefacts(self) -> dict[str, Any]:
        """All groups that were trained with, and the epoch that each drawing of them holds from."""
        every, epochs = self.regroup, max(1, int(self.epochs))
        firsts = [0] if every == "never" else range(0, epochs, every)
        return {
            "task_groups": [
                {"from_epoch": first, "groups": [list(group) for group in self.named(self.draw(number))]}
                for number, first in enumerate(firsts)
            ]
        }

    def set_members(self) -> None:
        """The groups' tasks, and the weights that each group moves."""
        self.members = self.groups_of_tasks()
        self.weights_of = [self.network.parameters_of(tasks) for tasks in self.members]

    def start(self) -> None:
        self.set_members()
        if self.state == "shared":
            super().start()
        else:
            build = self.run.optimizer.build
            self.optimizers = {
                self.optimizer_of(group): build([{"params": weights}]) for group, weights in enumerate(self.weights_of)
            }

    def optimizer_of(self, group: int) -> str:
        """The name of the optimizer that steps a group."""
        return "weights" if self.state == "shared" else f"group{group}"

    def updates_per_step(self) -> int:
        return len(self.groups_of_tasks())

    def sequence(self) -> list[int]:
        """The order of the groups in the next step."""
        if self.order == "fixed":
            return list(range(len(self.members)))
        return torch.randperm(len(self.members), generator=self.stream("order")).tolist()

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.step_at_one_point(batch) if self.same_point else self.step_in_turn(batch)
        return {task: losses[task] for task in self.tasks if task in losses}

    def step_in_turn(self, batch: Batch) -> TaskLosses:
        """A forward pass, a backward pass and an update per group; each sees the weights as the groups before left them."""
        seen: TaskLosses = {}
        for group in self.sequence():
            losses = self.losses(batch, self.members[group])
            self.descend(losses, self.optimizer_of(group))
            seen.update(detached(losses))
        return seen

    def step_at_one_point(self, batch: Batch) -> TaskLosses:
        """One forward pass; every group's gradients there; then every group's update."""
        losses = self.losses(batch)
        groups = [group for group in self.sequence() if not losses.keys().isdisjoint(self.members[group])]
        gradients = []
        for group in groups:
            loss = total([losses[task] for task in self.members[group] if task in losses])
            keep = group != groups[-1]
            gradients.append(torch.autograd.grad(loss, self.weights_of[group], retain_graph=keep, allow_unused=True))
        for group, gradients_of_group in zip(groups, gradients, strict=True):
            self.optimizers[self.optimizer_of(group)].zero_grad(set_to_none=True)
            for weight, gradient in zip(self.weights_of[group], gradients_of_group, strict=True):
                weight.grad = gradient
            self.advance(self.optimizer_of(group))
        return losses

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        self.epochs += 1
        if self.regroup != "never" and int(self.epochs) % self.regroup == 0:
            self.change_groups(self.draw(int(self.epochs) // self.regroup))

    def change_groups(self, group_of_task: Tensor) -> None:
        """Take on new groups; the optimizers' states follow by the rule of the class's description."""
        before, group_before = self.members, dict(zip(self.tasks, self.group_of_task.tolist(), strict=True))
        self.group_of_task.copy_(group_of_task)
        self.set_members()
        if self.state == "shared":
            return
        known = [self.optimizers[self.optimizer_of(group)].state for group in range(len(before))]
        private = {weight: group_before[task] for task in self.tasks for weight in self.network.own_parameters(task)}
        for group, tasks in enumerate(self.members):
            in_common = [len(set(tasks) & set(others)) for others in before]
            nearest = in_common.index(max(in_common))
            state: defaultdict[Tensor, Any] = defaultdict(dict)
            for weight in self.weights_of[group]:
                if weight in (source := known[private.get(weight, nearest)]):
                    # A copy: two groups may have the same nearest group.
                    state[weight] = copy.deepcopy(source[weight])
            optimizer = self.optimizers[self.optimizer_of(group)]
            optimizer.param_groups[0]["params"] = self.weights_of[group]
            optimizer.state = state
