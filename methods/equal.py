"""Equal weighting: the sum of the task losses, the plain way to train."""

from typing import ClassVar

from mtlbench.contract import Strategy


class Equal(Strategy):
    """Descend the sum of the task losses."""

    family: ClassVar[str] = "baseline"

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})
