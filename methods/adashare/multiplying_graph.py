"""Skipping as AdaShare's official code does it while it trains: by multiplying with zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from mtlbench.contract import Maps, Rows, SharingGraph, SharingPlan, Unit

from .._shared.select_or_skip import Decisions, plan_of
from .decisions import as_gates


class MultiplyingGraph(SharingGraph):
    """Every task runs every block, and BatchNorm mixes the statistics of all of them.

    Args:
        units: the stem and the L blocks.
        decisions: which blocks which task's features keep.
    """

    def __init__(self, units: Sequence[Unit], decisions: Decisions) -> None:
        names = [unit.name for unit in units]
        super().__init__(units, SharingPlan.shared(names, list(decisions)), path_statistics=False)
        self.decisions = decisions

    def forward(
        self,
        image: Tensor,
        tasks: Sequence[str] | None = None,
        rows: Rows = None,
        gates: Mapping[str, Tensor] | None = None,
        gated: Sequence[int] = (),
    ) -> dict[str, Maps]:
        """As in `SharingGraph`, gated by the decisions whatever gates are given."""
        hard = {task: decisions.to(image.device) for task, decisions in as_gates(self.decisions).items()}
        return super().forward(image, tasks, rows, hard, range(1, len(self.units)))

    def owners(self) -> dict[str, frozenset[str]]:
        """By what the tasks keep, not by what they execute."""
        kept = self.skipping().owners()
        return {name: kept.get(name, tasks) for name, tasks in super().owners().items()}

    def skipping(self) -> SharingGraph:
        """A graph of the same modules that really skips; blocks that no task executes are not in it."""
        units = [Unit(unit.name, partial(self.module, depth, 0), unit.output) for depth, unit in enumerate(self.units)]
        return SharingGraph(units, plan_of(self.plan.depths, self.decisions), path_statistics=False).train(self.training)
