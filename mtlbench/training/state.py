"""Everything that a training goes on from: what it trains, what happened so far, and how both are saved and restored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mtlbench.contract import Architecture, Phase, Run, Strategy
from mtlbench.networks.placement import on_device
from mtlbench.records import Point
from mtlbench.training.checkpoints import CheckpointStore
from mtlbench.training.diagnostics import Diagnostics
from mtlbench.training.flops import TrainingCost
from mtlbench.training.selection import Selection


@dataclass(frozen=True)
class Position:
    """Where training goes on: the phase, its next epoch, and whether the phase has begun."""

    phase: int = 0
    epoch: int = 0
    begun: bool = False


@dataclass
class TrainingState:
    """A method in training, and what happened so far.

    Attributes:
        network, strategy, phases, run: the method.
        selection: the epochs that are selected so far.
        diagnostics: measures taken on the way, on request.
        curve: one point per epoch.
        cost: images, updates and FLOPs so far.
        seconds: wall time of the epochs so far.
        stopped: why training ended before its last epoch; empty where it did not.
        saved_best: the selected epochs of the last checkpoint, whose weights it needs.
    """

    network: Architecture
    strategy: Strategy
    phases: Sequence[Phase]
    run: Run
    selection: Selection
    diagnostics: Diagnostics | None = None
    curve: list[Point] = field(default_factory=list)
    cost: TrainingCost = field(default_factory=TrainingCost)
    seconds: float = 0.0
    stopped: str = ""
    saved_best: dict[str, int] = field(default_factory=dict)

    def prepare(self, phase: Phase) -> None:
        """Make a phase's optimizers, when it begins and when it is taken up again."""
        phase.prepare()
        if self.diagnostics is not None:
            self.diagnostics.begin(phase.name, self.strategy.optimizers.values())

    def save(self, checkpoints: CheckpointStore, position: Position) -> None:
        """Write a checkpoint from which training goes on at the position."""
        current = self.phases[position.phase] if position.begun else None
        optimizers = {} if current is None else current.optimizers
        checkpoints.save(
            {
                "position": vars(position),
                "structure": self.network.structure(),
                "network": self.network.state_dict(),
                "strategy": self.strategy.state_dict(),
                "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
                "phase_state": {} if current is None else current.state(),
                "curve": [point.model_dump() for point in self.curve],
                "cost": vars(self.cost),
                "best": self.selection.best,
                "seconds": self.seconds,
                "stopped": self.stopped,
                "micro_batches": self.run.micro_batches,
                "diagnostics": None if self.diagnostics is None else self.diagnostics.state(),
            }
        )
        # The checkpoint before this one stays, and so does what it refers to.
        checkpoints.keep_only(self.selection.epochs, self.saved_best)
        self.saved_best = self.selection.epochs

    def restore(self, checkpoints: CheckpointStore) -> Position:
        """Take up the last checkpoint: structure before weights, weights before optimizers. Returns where to go on.

        A training that went on in more pieces per batch, since memory ran out, stays with them.
        """
        saved = checkpoints.load(self.run.device, lambda state: checkpoints.has_best(_epochs_of(state["best"])))
        if saved is None:
            return Position()
        self.network.restore_structure(saved["structure"])
        on_device(self.network, self.run.device)
        self.network.load_state_dict(saved["network"])
        self.strategy.load_state_dict(saved["strategy"])
        self.curve = [Point.model_validate(point) for point in saved["curve"]]
        self.cost = TrainingCost(**saved["cost"])
        self.selection.best, self.seconds, self.stopped = saved["best"], saved["seconds"], saved["stopped"]
        self.saved_best = self.selection.epochs
        self.run.micro_batches = max(self.run.micro_batches, saved.get("micro_batches", 1))
        self.run.epoch = len(self.curve)
        position = Position(**saved["position"])
        if position.begun:
            phase = self.phases[position.phase]
            phase.restore(saved["phase_state"])
            self.prepare(phase)
            for name, optimizer in phase.optimizers.items():
                optimizer.load_state_dict(steps_on_host(saved["optimizers"][name]))
        if self.diagnostics is not None:
            self.diagnostics.restore(saved["diagnostics"])
        return position


def _epochs_of(best: Mapping[str, tuple[float, int]]) -> dict[str, int]:
    return {part: epoch for part, (_, epoch) in best.items()}


def steps_on_host(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state with its step counts on the CPU, where Adam keeps them.

    A checkpoint that was loaded onto a GPU would leave them there, and every update would wait for the device once per
    parameter to read them.
    """
    moved = {
        key: {name: value.cpu() if name == "step" and isinstance(value, Tensor) else value for name, value in entry.items()}
        for key, entry in state["state"].items()
    }
    return {**state, "state": moved}
