"""Phases: stretches of training, each with its own rule for what a step does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer

from mtlbench.contract.batch import Batch
from mtlbench.contract.run import TaskLosses
from mtlbench.contract.strategy import Strategy


@dataclass(frozen=True)
class Pass:
    """One run over a part of the training images.

    Attributes:
        step: what to do with each batch; returns the losses to be logged.
        part: the part of a fixed random order of train that the images are from, as fractions [start, stop).
        kind: steps of one kind cost the same FLOPs, so that counting one of them is enough. A step that gets dearer or
            cheaper as training goes on (more gates, fewer networks) says so by another kind.
        updates: optimizer steps that one call of `step` makes.
    """

    step: Callable[[Batch], TaskLosses]
    part: tuple[float, float] = (0.0, 1.0)
    kind: str = "train"
    updates: int = 1


class Phase:
    """A stretch of training. This one trains all tasks with the method's strategy; methods derive their own from it.

    The harness calls, in this order: `skip`; `begin` (once, never again after a resume); `prepare`; then every epoch
    `passes` and `end_epoch`; at last `finish`. Everything a phase decides must follow from its constructor's arguments,
    the network's structure and weights, and `state`.

    Args:
        name: as shown in curves and costs.
        epochs: passes over the training images.
        strategy: the method's strategy.
        selectable: whether the network after each of these epochs may be the final one. Only epochs of the final
            structure may.
        schedule: the stretch of the learning-rate schedule that the phase runs through.
        deployable: whether the network can be validated in this phase at all.
    """

    def __init__(
        self,
        name: str,
        epochs: int,
        strategy: Strategy,
        *,
        selectable: bool = True,
        schedule: tuple[float, float] = (0.0, 1.0),
        deployable: bool = True,
    ) -> None:
        self.name = name
        self.epochs = epochs
        self.strategy = strategy
        self.selectable = selectable
        self.schedule = schedule
        self.deployable = deployable

    def skip(self) -> bool:
        """Whether there is nothing to do in this phase; asked just before it would begin."""
        return False

    def begin(self) -> None:
        """What happens once, before the first epoch: changes of structure, fresh weights."""

    def prepare(self) -> None:
        """Create the optimizers; called when the phase begins and when it is resumed (their states are restored then)."""
        self.strategy.start()

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """The optimizers in use, by name: the harness sets their learning rates and saves their states."""
        return self.strategy.optimizers

    def passes(self, epoch: int) -> list[Pass]:
        """What the epoch (counted from the phase's start) does; together the passes make one epoch of images."""
        return [Pass(self.strategy.step, kind=f"{self.name}", updates=self.strategy.updates_per_step())]

    def end_epoch(self, epoch: int, losses: dict[str, float]) -> dict[str, Any]:
        """Called with the epoch's mean losses; returns what the curve should log (JSON)."""
        self.strategy.end_epoch(losses)
        return {}

    def finish(self) -> None:
        """What happens once, after the last epoch."""

    def state(self) -> dict[str, Any]:
        """What a resumed phase needs beyond its arguments (tensors and plain values)."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a saved `state`."""
