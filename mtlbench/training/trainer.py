"""The training loop: phases, epochs, passes, batches. It validates, selects and saves, and yields a report per epoch.

Everything is saved after every epoch. All randomness follows from (seed, epoch), so that a training that was killed and is
started again ends in the same result as one that never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mtlbench.contract import Batch, Pass, Phase, TaskLosses
from mtlbench.contract.optim import set_lr
from mtlbench.contract.run import derive_seed
from mtlbench.data.loader import Loader
from mtlbench.data.order import part as fixed_part
from mtlbench.measure.cost import count_flops
from mtlbench.records import Evaluation, Point
from mtlbench.training.checkpoints import CheckpointStore
from mtlbench.training.divergence import broken_tasks, divergence
from mtlbench.training.report import EpochReport
from mtlbench.training.returned import check_losses
from mtlbench.training.state import Position, TrainingState
from mtlbench.training.updates import UpdateCounter


class Trainer:
    """Trains a network through its phases.

    Args:
        state: the method and what happened so far.
        loader: training batches.
        validate: the network as it is now, evaluated on val.
        checkpoints: where everything is saved.
    """

    def __init__(
        self, state: TrainingState, loader: Loader, validate: Callable[[], Evaluation], checkpoints: CheckpointStore
    ) -> None:
        self.state, self.loader, self.validate, self.checkpoints = state, loader, validate, checkpoints
        self.updates = UpdateCounter(state.network)

    # -- the loop ---------------------------------------------------------------------------------------------------

    def epochs(self) -> Iterator[EpochReport]:
        """Train, and yield after every epoch that has been saved. Takes up a training that was interrupted.

        Ends early where training has diverged (`TrainingState.stopped`).
        """
        state = self.state
        start = state.restore(self.checkpoints)
        if state.stopped:
            return
        planned = sum(phase.epochs for phase in state.phases)
        for number, phase in enumerate(state.phases[start.phase :], start=start.phase):
            resumed = start.begun and number == start.phase
            if not resumed:
                if phase.skip():
                    continue
                self._begin(number, phase)
            for epoch in range(start.epoch if resumed else 0, phase.epochs):
                started = time.perf_counter()
                point = self.train_epoch(phase, epoch)
                state.seconds += time.perf_counter() - started
                state.stopped = divergence(state.network.scored_parts(), state.curve)
                if epoch + 1 < phase.epochs or state.stopped:
                    state.save(self.checkpoints, Position(number, epoch + 1, begun=True))
                else:
                    self._count(phase, phase.finish)
                    state.save(self.checkpoints, Position(number + 1))
                skill = None if point.val is None else point.val.mean_skill
                yield EpochReport(len(state.curve), planned, phase.name, point.train_loss, skill, state.seconds)
                if state.stopped:
                    return

    def train_epoch(self, phase: Phase, epoch: int) -> Point:
        """One epoch of a phase: its passes over the training images, then validation and selection."""
        state, run = self.state, self.state.run
        run.epoch = number = len(state.curve)
        self._seed("epoch", number)
        state.network.train()
        passes = [(each, fixed_part(run.seed, run.images_per_epoch, *each.part)) for each in phase.passes(epoch)]
        steps, done = sum(self.loader.batches(len(images)) for _, images in passes), 0
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        with self.updates.counting():
            for each, images in passes:
                for batch in self.loader.epoch(number, images):
                    first, last = phase.schedule
                    progress = (epoch + done / steps) / phase.epochs
                    set_lr(phase.optimizers.values(), run.optimizer.factor(first + (last - first) * progress))
                    for task, loss in self.train_batch(phase, each, batch).items():
                        sums[task] = sums[task] + loss.detach() if task in sums else loss.detach().clone()
                        counts[task] = counts.get(task, 0) + 1
                    done += 1
        losses = {task: float(value) / counts[task] for task, value in sums.items()}
        return self._end_epoch(phase, epoch, losses)

    def train_batch(self, phase: Phase, each: Pass, batch: Batch) -> TaskLosses:
        """One step of a pass, and what it cost. Returns the losses to be logged."""
        state, cost = self.state, self.state.cost
        if state.diagnostics is not None:
            state.diagnostics.before_step(batch, state.strategy.optimizers.values())
        # Steps of one kind cost the same for as many images, in as many pieces, with labels of the same tasks.
        labelled = ",".join(filter(batch.has_labels, state.network.tasks))
        kind = f"{phase.name}/{each.kind}/{len(batch)}/{state.run.micro_batches}/{labelled}"
        updates_before = self.updates.count
        if kind in cost.step_flops:
            losses = each.step(batch)
        else:
            losses = cost.measure_step(each.step, batch, kind)
            check_losses(losses, each.step, state.network.tasks)
        cost.add(phase.name, len(batch), self.updates.count - updates_before, cost.step_flops[kind])
        return losses

    def _end_epoch(self, phase: Phase, epoch: int, losses: dict[str, float]) -> Point:
        state = self.state
        logged = phase.end_epoch(epoch, losses)
        if state.diagnostics is not None:
            state.diagnostics.end_epoch()
        val = self.validate() if phase.deployable else None
        rates = [group["lr"] for optimizer in phase.optimizers.values() for group in optimizer.param_groups]
        point = Point(
            epoch=state.run.epoch,
            phase=phase.name,
            selectable=phase.selectable,
            images=state.cost.images,
            updates=state.cost.updates,
            training_flops=state.cost.training_flops,
            lr=max(rates, default=0.0),
            train_loss=losses,
            val=val,
            logged=logged,
        )
        state.curve.append(point)
        if phase.selectable and val is not None:
            state.selection.offer(state.network, val, point.epoch, broken_tasks(state.curve))
        return point

    def _begin(self, number: int, phase: Phase) -> None:
        self._seed("begin", number)
        self._count(phase, phase.begin)
        self.state.prepare(phase)

    def _count(self, phase: Phase, action: Callable[[], None]) -> None:
        """What a phase does before and after its epochs (measuring similarities, say) counts as training's FLOPs, too."""
        self.state.cost.add(phase.name, training_flops=count_flops(action))

    def _seed(self, *name: object) -> None:
        torch.manual_seed(derive_seed("trial", self.state.run.seed, *name))
