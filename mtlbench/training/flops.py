"""Counts what training costs: FLOPs by execution, images and optimizer updates, per phase and in total."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mtlbench.contract import Batch, TaskLosses
from mtlbench.measure.cost import count_flops

PhaseCost = dict[str, int]
"""`images`, `updates` and `training_flops` of one phase."""


@dataclass
class TrainingCost:
    """What training has cost so far.

    Attributes:
        images: training images seen, all phases.
        updates: optimizer steps.
        training_flops: of all steps, forward and backward, and of what phases compute before and after their epochs.
        phases: the same for each phase by name.
        step_flops: kind of step → FLOPs of one such step, for a given number of images and labelled tasks.
    """

    images: int = 0
    updates: int = 0
    training_flops: int = 0
    phases: dict[str, PhaseCost] = field(default_factory=dict)
    step_flops: dict[str, int] = field(default_factory=dict)

    def add(self, phase: str, images: int = 0, updates: int = 0, training_flops: int = 0) -> None:
        """Add to a phase and to the total."""
        own = self.phases.setdefault(phase, {"images": 0, "updates": 0, "training_flops": 0})
        own["images"] += images
        own["updates"] += updates
        own["training_flops"] += training_flops
        self.images += images
        self.updates += updates
        self.training_flops += training_flops

    def measure_step(self, step: Callable[[Batch], TaskLosses], batch: Batch, kind: str) -> TaskLosses:
        """Run the first step of its kind under the FLOP counter; all others of this kind cost the same."""
        returned: list[TaskLosses] = []
        self.step_flops[kind] = count_flops(lambda: returned.append(step(batch)))
        return returned[0]
