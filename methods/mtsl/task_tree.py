"""The tree of units that MTSL's tasks share, and how it grows together: measure, group, replace.

At first every task has units of its own. A group is a set of tasks that share everything before a unit and have copies of
their own of it; groups only split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mtlbench.contract import MultiTaskNetwork, Run, SharingGraph, SharingPlan, Unit, on_device

from .._shared.trees import Frame, Similarity, frame, table_of
from .._shared.typed_modules import TypedModuleDict
from .amalgamation import Fusion, average_into
from .grouping import merging
from .optimizer_state import Carried, States, average_members
from .similarity import cka, rounded


class Group(NamedTuple):
    """Tasks that share everything before a unit, and have copies of their own of it."""

    unit: int
    tasks: list[str]


@dataclass(frozen=True)
class Criterion:
    """When tasks merge.

    Attributes:
        threshold: of the members' mean similarity.
        images: training images that similarity is measured on.
        strict_official: search as the official code does.
        transfer: how a new unit gets its weights, "amalgamation" or "average".
    """

    threshold: float
    images: int
    strict_official: bool
    transfer: str


class TaskTree(nn.Module):
    """The tree of a network whose graph is a tree of units.

    Args:
        network: it has a graph, with one copy of every unit per task.
        units: of the graph.
        criterion: when tasks merge.

    Attributes:
        groups: the tasks that may still merge, with the unit that comes next.
        pending: groups that have been chosen and not yet merged.
        fusions: their new units.
        frames, history: what is shown: the tree after every change, and every similarity that was measured.
        elapsed: epochs of the trial that are over.
        carried: optimizer states between two phases.
    """

    network: MultiTaskNetwork
    carried: Carried | None

    def __init__(self, network: MultiTaskNetwork, units: Sequence[Unit], criterion: Criterion) -> None:
        super().__init__()
        # Not a submodule: this is a part of the network.
        object.__setattr__(self, "network", network)
        self.units, self.criterion = tuple(units), criterion
        tasks = list(network.tasks)
        self.groups = [Group(0, tasks)] if len(tasks) > 1 else []
        self.pending: list[Group] = []
        self.fusions: TypedModuleDict[Fusion] = TypedModuleDict()
        self.elapsed = 0
        self.frames: list[Frame] = []
        self.history: list[Similarity] = []
        self.carried = None

    @property
    def graph(self) -> SharingGraph:
        """The network's graph."""
        assert self.network.graph is not None
        return self.network.graph

    @property
    def plan(self) -> SharingPlan:
        """The tree."""
        return self.graph.plan

    def key(self, unit: int, task: str) -> str:
        """The graph's name of the copy of a unit that a task runs. A shared one has the number of its first task."""
        return f"{unit}_{self.plan.table[unit][self.plan.tasks.index(task)]}"

    def copy_of(self, unit: int, task: str) -> nn.Module:
        """The copy of a unit that a task runs."""
        return self.graph.variants[self.key(unit, task)]

    # -- features ---------------------------------------------------------------------------------------------------

    def inputs(self, image: Tensor, unit: int, task: str, done: dict[str, Tensor]) -> list[Tensor]:
        """What a task's copy of a unit reads; `done` keeps what has been computed on these images."""
        below = self.output(image, unit - 1, task, done) if unit else image
        return [below, *(self.output(image, lateral, task, done) for lateral in self.units[unit].laterals)]

    def output(self, image: Tensor, unit: int, task: str, done: dict[str, Tensor]) -> Tensor:
        """A unit's output on a task's own path, from normalised images."""
        key = self.key(unit, task)
        if key not in done:
            done[key] = self.copy_of(unit, task)(*self.inputs(image, unit, task, done))
        return done[key]

    @contextmanager
    def pooled_outputs(self, groups: Sequence[Group]) -> Iterator[dict[str, Tensor]]:
        """Within the context every run of a group's next units leaves its globally averaged output, by the unit's key."""
        pooled: dict[str, Tensor] = {}
        hooks = []
        for key in {self.key(group.unit, task) for group in groups for task in group.tasks}:

            def keep(_: nn.Module, __: object, output: Tensor, key: str = key) -> None:
                pooled[key] = output.float().mean((2, 3))

            hooks.append(self.graph.variants[key].register_forward_hook(keep))
        try:
            yield pooled
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def pooled(self, run: Run, groups: Sequence[Group]) -> list[list[Tensor]]:
        """Z of every member of every group, [N, C] in double precision, on the run's fixed images, in evaluation mode."""
        features: list[list[list[Tensor]]] = [[[] for _ in group.tasks] for group in groups]
        training = self.network.training
        self.network.eval()
        for batch in run.training_images(self.criterion.images, run.batch_size):
            done: dict[str, Tensor] = {}
            with run.autocast():
                image = self.network.normalised(batch.image)
                for group, chunks_of_group in zip(groups, features, strict=True):
                    for task, chunks in zip(group.tasks, chunks_of_group, strict=True):
                        chunks.append(self.output(image, group.unit, task, done).double().mean((2, 3)))
        self.network.train(training)
        return [[torch.cat(chunks) for chunks in chunks_of_group] for chunks_of_group in features]

    # -- growing together -------------------------------------------------------------------------------------------

    def regroup(self, run: Run, phase: int) -> None:
        """Measure similarity, decide which tasks merge, and prepare their new units."""
        criterion, following = self.criterion, []
        for group, features in zip(self.groups, self.pooled(run, self.groups), strict=True):
            similarity = cka(features)
            members = merging(similarity, criterion.threshold, criterion.strict_official)
            chosen = [[group.tasks[number] for number in numbers] for numbers in members]
            left = [task for task in group.tasks if not any(task in tasks for tasks in chosen)]
            for tasks in chosen:
                self.pending.append(Group(group.unit, tasks))
                self.prepare_fusion(self.pending[-1], features[0].shape[1])
                if group.unit + 1 < len(self.units):
                    following.append(Group(group.unit + 1, tasks))
            if len(left) > 1:
                following.append(Group(group.unit, left))
            self.history.append(
                {
                    "phase": phase,
                    "epoch": self.elapsed,
                    "unit": self.units[group.unit].name,
                    "tasks": group.tasks,
                    "merged": chosen,
                    "before": rounded(similarity),
                    "after": None,
                }
            )
        self.groups = following

    def compare(self, run: Run, phase: int) -> None:
        """Measure the similarity again at the end of a phase, of groups that merged in part.

        Tasks that merged run one unit on one input, so that theirs is 1 without measuring.
        """
        entries = [entry for entry in self.history if entry["phase"] == phase and entry["merged"]]
        for entry in entries:
            entry["after"] = rounded(torch.ones(len(entry["tasks"]), len(entry["tasks"])))
        partly = [entry for entry in entries if entry["merged"] != [entry["tasks"]]]
        groups = [Group(self.plan.depths.index(entry["unit"]), entry["tasks"]) for entry in partly]
        for entry, features in zip(partly, self.pooled(run, groups) if groups else [], strict=True):
            entry["after"] = rounded(cka(features))

    def prepare_fusion(self, group: Group, channels: int) -> None:
        """Make a group's new unit: the trial's initial weights (pre-trained ones, where the backbone has them)."""
        fusion = Fusion(self.units[group.unit].make(), len(group.tasks), channels)
        self.fusions[self.key(group.unit, group.tasks[0])] = on_device(fusion, self.network.mean.device)

    def fusion(self, group: Group) -> Fusion:
        """The new unit of a group that is about to merge."""
        return self.fusions[self.key(group.unit, group.tasks[0])]

    def merge(self, states: States) -> None:
        """Put the new units in place of their members', and average the optimizer's states of those."""
        plan, names = self.plan, {id(parameter): name for name, parameter in self.network.named_parameters()}
        modules = dict(self.graph.variants.items())
        for group in self.pending:
            new = self.fusion(group).unit
            members = [self.copy_of(group.unit, task) for task in group.tasks]
            if self.criterion.transfer == "average":
                average_into(new, members)
            average_members(states, [[names[id(parameter)] for parameter in member.parameters()] for member in members])
            modules[self.key(group.unit, group.tasks[0])] = new
            plan = merged(plan, group.unit, group.tasks)
        self.pending = []
        self.fusions = TypedModuleDict()
        self.rewire(plan, modules)

    def rewire(self, plan: SharingPlan, modules: Mapping[str, nn.Module]) -> None:
        """Take on a plan, with the given modules (by the graph's names) where it has use for them."""
        graph = SharingGraph(self.units, plan)
        for key in graph.variants:
            if key in modules:
                graph.variants[key] = modules[key]
        self.network.graph = graph

    # -- what is saved and shown ------------------------------------------------------------------------------------

    def snapshot(self) -> None:
        """Remember what the network looks like, if it has changed."""
        if not self.frames or self.frames[-1]["table"] != table_of(self.plan):
            # Units that are still to replace others are no part of what would be deployed.
            self.frames.append(frame(self.network, self.plan, self.elapsed, without=self.fusions))

    def structure(self) -> dict[str, Any]:
        """All that is needed to restore the tree (JSON)."""
        return {
            "plan": self.plan.to_json(),
            "groups": [list(group) for group in self.groups],
            "pending": [list(group) for group in self.pending],
            "channels": [self.fusion(group).channels for group in self.pending],
            "history": self.history,
            "frames": self.frames,
            "elapsed": self.elapsed,
            "carried": self.carried is not None,
        }

    def restore_structure(self, structure: dict[str, Any]) -> None:
        """Take on a saved structure; weights are loaded afterwards."""
        self.rewire(SharingPlan.from_json(structure["plan"]), {})
        self.groups = [Group(unit, tasks) for unit, tasks in structure["groups"]]
        self.pending = [Group(unit, tasks) for unit, tasks in structure["pending"]]
        self.history, self.frames, self.elapsed = structure["history"], structure["frames"], structure["elapsed"]
        self.fusions = TypedModuleDict()
        for group, channels in zip(self.pending, structure["channels"], strict=True):
            self.prepare_fusion(group, channels)
        self.carried = Carried({}) if structure["carried"] else None


def merged(plan: SharingPlan, depth: int, group: Sequence[str]) -> SharingPlan:
    """The plan with one variant for the tasks of a group at a depth: that of the group's first task."""
    members = [plan.tasks.index(task) for task in group]
    row = list(plan.table[depth])
    for member in members:
        row[member] = row[min(members)]
    return SharingPlan(plan.depths, plan.tasks, (*plan.table[:depth], tuple(row), *plan.table[depth + 1 :]))
