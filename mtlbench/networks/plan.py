"""The sharing plan: the table depth × task that says which variant of a unit a task runs at each depth, or that it skips.

Single-task networks, hard sharing, branching, select-or-skip and merging are all such a table. Tasks that have followed
the same entries so far are on the same *path*; the distinct paths form a trie, and the cost of a network is its number of
nodes. The plan is data: it knows no modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mtlbench.errors import UserError, shown

Entry = int | None
"""Number of the unit's variant, or None for a skip (the unit's shortcut is taken)."""

Path = tuple[Entry, ...]
"""The entries a task has followed down to some depth, that depth included."""


@dataclass(frozen=True)
class Exchange:
    """Features that soft sharing passes on: one edge between what runs at a depth and who reads the mixture after it.

    Attributes:
        depth: the depth whose output is passed on, as a position in the plan's depths.
        source: a task whose features they are, or the name of what belongs to no single task ("expert 2", "trunk").
        target: the task that reads them, or such a name.
        weight: how much of them, as the method has learned it: comparable among the edges of one method.
        since: the depth that a source which is no task begins at; what is before it belongs to the plan.
    """

    depth: int
    source: str
    target: str
    weight: float
    since: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class SharingPlan:
    """Which variant of each unit which task runs.

    Attributes:
        depths: names of the units, from the image to the heads.
        tasks: the tasks' names, the table's columns.
        table: one row per depth, one entry per task.
    """

    depths: tuple[str, ...]
    tasks: tuple[str, ...]
    table: tuple[tuple[Entry, ...], ...]

    def __post_init__(self) -> None:
        if len(self.table) != len(self.depths) or any(len(row) != len(self.tasks) for row in self.table):
            raise ValueError(f"a plan of {len(self.depths)} depths and {len(self.tasks)} tasks needs a table of that size")

    @classmethod
    def shared(cls, depths: Sequence[str], tasks: Sequence[str]) -> SharingPlan:
        """Hard sharing: every task runs variant 0 everywhere."""
        return cls(tuple(depths), tuple(tasks), tuple((0,) * len(tasks) for _ in depths))

    @classmethod
    def private(cls, depths: Sequence[str], tasks: Sequence[str]) -> SharingPlan:
        """Single-task networks: task t runs variant t everywhere."""
        return cls(tuple(depths), tuple(tasks), tuple(tuple(range(len(tasks))) for _ in depths))

    @classmethod
    def from_groups(
        cls, depths: Sequence[str], tasks: Sequence[str], groups: Sequence[Sequence[Sequence[str]]]
    ) -> SharingPlan:
        """One partition of the tasks a depth: the tasks of a group run the same variant, numbered in the order given."""
        rows = []
        for partition in groups:
            number = {task: variant for variant, group in enumerate(partition) for task in group}
            rows.append(tuple(number[task] for task in tasks))
        return cls(tuple(depths), tuple(tasks), tuple(rows))

    def column(self, task: str) -> Path:
        """The whole path of one task."""
        at = self.tasks.index(task)
        return tuple(row[at] for row in self.table)

    def variants(self, depth: int) -> list[int]:
        """The variants that are executed at a depth by any task, ascending."""
        return sorted({entry for entry in self.table[depth] if entry is not None})

    def groups(self, depth: int) -> dict[Path, tuple[str, ...]]:
        """The trie's nodes at a depth: path → the tasks that have followed it."""
        nodes: dict[Path, list[str]] = {}
        for task in self.tasks:
            nodes.setdefault(self.column(task)[: depth + 1], []).append(task)
        return {path: tuple(tasks) for path, tasks in nodes.items()}

    def users(self, depth: int, variant: int) -> tuple[str, ...]:
        """The tasks that run a variant."""
        return tuple(task for task, entry in zip(self.tasks, self.table[depth], strict=True) if entry == variant)

    def is_tree(self) -> bool:
        """True when tasks that have parted never run a common variant again and no unit is skipped."""
        return all(
            len(self.groups(depth)) == len(self.variants(depth)) and None not in self.table[depth]
            for depth in range(len(self.depths))
        )

    def to_json(self) -> dict[str, Any]:
        return {"depths": list(self.depths), "tasks": list(self.tasks), "table": [list(row) for row in self.table]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SharingPlan:
        """What `to_json` gave.

        Raises:
            UserError: it is no plan; says what was expected.
        """
        try:
            depths, tasks, table = value["depths"], value["tasks"], value["table"]
            rows = tuple(tuple(row) for row in table)
            entries = [entry for row in rows for entry in row if entry is not None]
            if not all(isinstance(name, str) for name in (*depths, *tasks)):
                raise ValueError("names of depths and tasks are texts")
            if not all(type(entry) is int and entry >= 0 for entry in entries):
                raise ValueError("entries are null or whole numbers of 0 and more")
            return cls(tuple(depths), tuple(tasks), rows)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{shown(value)} is no sharing plan ({error or type(error).__name__}).") from None
