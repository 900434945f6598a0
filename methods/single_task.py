"""Single-task networks: the reference that Δ is measured against."""

from typing import ClassVar

from mtlbench.contract import Architecture, SharingGraph, SharingPlan


class SingleTask(Architecture):
    """One whole network per task, trained side by side on the same batches; nothing is shared.

    Since the networks share no parameter, each is selected at an epoch of its own.
    """

    family: ClassVar[str] = "baseline"

    shares: ClassVar[bool] = False

    def build(self) -> None:
        units = self.block_units()
        self.graph = SharingGraph(units, SharingPlan.private([unit.name for unit in units], list(self.tasks)))
