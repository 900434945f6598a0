"""What methods share that train once to find a structure, and then train that structure from the trial's initial weights."""

from __future__ import annotations

from collections.abc import Callable

from mtlbench.contract import Batch, Pass, Phase, Run, Strategy, TaskLosses


def divide(run: Run, search: float) -> tuple[int, int]:
    """Epochs of the search and of the final training.

    Args:
        search: its share under "equal_total". Under "equal_final" it comes on top, in the same proportion; under "paper" it
            takes as long as the final training.
    """
    epochs = run.budget.epochs
    if run.budget.mode == "equal_total":
        searched, trained = run.budget.split(search, 1 - search)
        return searched, trained
    return (epochs if run.budget.mode == "paper" else max(1, round(epochs * search / (1 - search)))), epochs


class MeasuredTraining(Phase):
    """Train with the method's strategy and measure something before steps; the weights are thrown away.

    Args:
        measure: called with a batch before the strategy's step on it.
        share: of the training images on whose batches it is called.
    """

    def __init__(self, epochs: int, strategy: Strategy, measure: Callable[[Batch], None], share: float) -> None:
        super().__init__("joint", epochs, strategy, selectable=False)
        self.measure, self.share = measure, share

    def passes(self, epoch: int) -> list[Pass]:
        updates = self.strategy.updates_per_step()
        measured = Pass(self.measured_step, (0.0, self.share), "measured", updates)
        if self.share == 1:
            return [measured]
        return [measured, Pass(self.strategy.step, (self.share, 1.0), "plain", updates)]

    def measured_step(self, batch: Batch) -> TaskLosses:
        """Measure, then the strategy's step."""
        self.measure(batch)
        return self.strategy.step(batch)


class FinalTraining(Phase):
    """Train the structure that was found.

    Args:
        settle: makes the network that of the structure, with the trial's initial weights.
    """

    def __init__(self, name: str, epochs: int, strategy: Strategy, settle: Callable[[], None]) -> None:
        super().__init__(name, epochs, strategy)
        self.settle = settle

    def begin(self) -> None:
        self.settle()
        self.strategy.reset()  # what it learned belongs to other weights
