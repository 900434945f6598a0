"""Networks of groups of tasks: each is hard sharing, and tasks may be trained in networks that do not predict them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from mtlbench.contract import Architecture, Hyper, Maps, Rows, SharingGraph, SharingPlan, UserError, resize

from .group_selection import Network
from .initial_weights import restart_with
from .trees import Frame, columns, frame, picture

MOST_TASKS = 12
"""3^12 = 531,441 pairs of a group and a set that it serves."""


class GroupedNetworks(Architecture):
    """Base of methods that choose groups of tasks and train one network per group.

    A task that is trained in further networks has a head in each of them: an auxiliary prediction, added to the task's loss
    and left out in the end. In the graph it has a column of its own there, named `task@number`.

    Attributes:
        chosen: the networks, once they are chosen.
    """

    family: ClassVar[str] = "task grouping"
    minimum_epochs: ClassVar[int] = 2

    networks: int = Hyper(2, ge=1, help="networks that may be shipped, at most; one per task suffices")

    chosen: list[Network]

    def build(self) -> None:
        if len(self.tasks) > MOST_TASKS:
            raise UserError(
                f"Task grouping tries all groups of tasks: at most {MOST_TASKS} tasks, and there are {len(self.tasks)}."
            )
        self.units = self.block_units()
        self.graph = SharingGraph(self.units, self.plan_of([tuple(range(len(self.tasks)))]))
        self.auxiliary = nn.ModuleDict()
        self.chosen, self.frames = [], list[Frame]()

    def plan_of(self, groups: Sequence[Sequence[int]]) -> SharingPlan:
        """The plan of separate networks for disjoint groups of all tasks."""
        names = list(self.tasks)
        partition = [[names[number] for number in group] for group in groups]
        return SharingPlan.from_groups([unit.name for unit in self.units], names, [partition] * len(self.units))

    def become(self, groups: Sequence[Sequence[int]]) -> None:
        """Become separate networks for disjoint groups, with the trial's initial weights."""
        restart_with(SharingGraph(self.units, self.plan_of(groups)), self)

    def choose(self, networks: Sequence[Network]) -> None:
        """Become the networks that were chosen, with the trial's initial weights."""
        self.chosen, names = list(networks), list(self.tasks)
        plan = self.plan_of([network.serves for network in networks])
        row = list(plan.table[0])
        helping = [
            (f"{names[task]}@{number}", names[task], number)
            for number, network in enumerate(networks)
            for task in network.members
            if task not in network.serves
        ]
        tasks = (*plan.tasks, *(column for column, _, _ in helping))
        table = tuple((*row, *(number for _, _, number in helping)) for _ in plan.table)
        self.auxiliary = nn.ModuleDict({column: self.new_head(task) for column, task, _ in helping})
        for column, task, _ in helping:
            self.own(self.auxiliary[column], [task])
        restart_with(SharingGraph(self.units, SharingPlan(plan.depths, tasks, table)), self)

    def plan(self) -> SharingPlan:
        """Without the columns of tasks that only help."""
        assert self.graph is not None
        plan, count = self.graph.plan, len(self.tasks)
        return SharingPlan(plan.depths, plan.tasks[:count], tuple(row[:count] for row in plan.table))

    def owners(self) -> dict[str, frozenset[str]]:
        owners = super().owners()
        return {
            name: frozenset(task if task in self.tasks else task.rsplit("@", 1)[0] for task in tasks)
            for name, tasks in owners.items()
        }

    def predict_all(
        self, image: Tensor, tasks: Sequence[str], rows: Rows
    ) -> tuple[dict[str, Tensor], list[tuple[str, Tensor, float]]]:
        assert self.graph is not None
        helping = {column: column.rsplit("@", 1)[0] for column in self.auxiliary}
        helping = {column: task for column, task in helping.items() if task in tasks}
        own_rows = None if rows is None else {**rows, **{column: rows[task] for column, task in helping.items()}}
        maps = self.graph(self.normalised(image), [*tasks, *helping], own_rows)
        predictions = {task: self.read_out(task, maps[task], image) for task in tasks}
        further = [(task, self.read_further(column, task, maps[column], image), 1.0) for column, task in helping.items()]
        return predictions, further

    def read_further(self, column: str, task: str, maps: Maps, image: Tensor) -> Tensor:
        """A task's prediction in a network that it only helps."""
        prediction: Tensor = self.auxiliary[column](maps)
        return resize(prediction, (image.shape[-2], image.shape[-1])) if self.tasks[task].dense else prediction

    def deploy(self) -> nn.Module:
        shipped = copy.copy(self)
        shipped._modules = {name: module for name, module in self._modules.items() if name != "auxiliary"}
        return shipped

    # -- what is saved and shown ------------------------------------------------------------------------------------

    def structure(self) -> dict[str, Any]:
        return {"networks": [[list(part) for part in network] for network in self.chosen], "frames": self.frames}

    def restore_structure(self, structure: dict[str, Any]) -> None:
        self.frames = structure["frames"]
        if structure["networks"]:
            self.choose([Network(tuple(members), tuple(serves)) for members, serves in structure["networks"]])

    def extra(self) -> dict[str, float]:
        helped = sum(len(network.members) - len(network.serves) for network in self.chosen)
        return {**columns(self.plan()), "networks": float(len(self.chosen) or 1), "helping tasks": float(helped)}

    def artefacts(self) -> dict[str, Any]:
        names = list(self.tasks)
        groups = [[names[number] for number in network.members] for network in self.chosen] or [names]
        return {
            "merge_tree": picture(self.plan(), self.frames or [frame(self, self.plan(), 0)]),
            "networks": groups,
        }

    def select(self) -> list[Network]:
        """The networks that the search speaks for."""
        raise NotImplementedError

    def settle(self, searched: int) -> None:
        """Become the networks that are selected, after so many epochs of search."""
        self.choose(self.select())
        self.frames.append(frame(self, self.plan(), searched, without=self.auxiliary))
