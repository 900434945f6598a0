"""Fixed weighting: the dataset's published loss weights, or the user's own."""

from typing import ClassVar

from mtlbench.contract import Batch, Hyper, Strategy, TaskLosses, UserError


class Fixed(Strategy):
    """Descend the sum of the task losses, each with a fixed weight."""

    family: ClassVar[str] = "baseline"

    invariances: ClassVar[frozenset[str]] = frozenset({"task_order"})

    weights: dict[str, float] = Hyper({}, help="weight by task; tasks not named here have the dataset's published weight")

    def setup(self) -> None:
        if unknown := sorted(set(self.weights) - set(self.tasks)):
            raise UserError(f"fixed: weights names {unknown[0]!r}, but the tasks are {', '.join(self.tasks)}.")
        published = {name: task.weight for name, task in self.network.tasks.items()}
        self.weight_of = {**published, **self.weights}

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        self.descend({task: self.weight_of[task] * loss for task, loss in losses.items()})
        return losses
