"""MTSL's phases: task learning that aligns features, and structural phases that amalgamate and merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from mtlbench.contract import Batch, Pass, Phase, Strategy, TaskLosses, set_lr

from .alignment import Alignment
from .amalgamation import amalgamation_optimizer
from .optimizer_state import Carried, collect, restore
from .schedule import Stretch
from .task_tree import TaskTree

PUBLISHED_RATE = 1e-4
"""Of amalgamation, and of the published training."""


class Learning(Phase):
    """Task learning with the method's strategy, which keeps its optimizer's state from the phase before.

    Args:
        stretch: of the learning-rate schedule.
        aligning: whether L_align is added to the losses.
        final: whether the structure will not change any more.
    """

    def __init__(
        self, tree: TaskTree, alignment: Alignment, name: str, epochs: int, strategy: Strategy, stretch: Stretch, *,
        aligning: bool = False, final: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(name, epochs, strategy, selectable=final, schedule=stretch)
        self.tree, self.alignment, self.run = tree, alignment, strategy.run
        self.aligning, self.final = aligning, final

    def prepare(self) -> None:
        tree = self.tree
        self.alignment.active = self.aligning
        tree.snapshot()
        tree.fusions.requires_grad_(False)  # not the strategy's business
        super().prepare()
        tree.fusions.requires_grad_(True)
        if tree.carried is not None:
            restore(self.strategy, tree.carried.states)

    def passes(self, epoch: int) -> list[Pass]:
        self.tree.carried = None  # the optimizer has it now
        self.alignment.measured = []
        return super().passes(epoch)

    def end_epoch(self, epoch: int, losses: dict[str, float]) -> dict[str, Any]:
        if losses:
            super().end_epoch(epoch, losses)
        tree, measured = self.tree, self.alignment.measured
        tree.elapsed = self.run.epoch + 1
        tree.snapshot()
        logged: dict[str, float] = {"parameters": tree.frames[-1]["parameters"], "flops": tree.frames[-1]["flops"]}
        if measured:
            logged["alignment loss"] = float(torch.stack(measured).mean())
        return logged

    def finish(self) -> None:
        if not self.final:
            self.tree.carried = Carried(collect(self.strategy))


class Structure(Learning):
    """One structural phase: decide, amalgamate, merge, and learn tasks with the new structure.

    Args:
        number: of the phase, from 0.
        learning: epochs of task learning in it.
        amalgamation: passes of amalgamation, see `Schedule`.
        rate: learning rate of amalgamation.
    """

    def __init__(
        self, tree: TaskTree, alignment: Alignment, number: int, strategy: Strategy, stretch: Stretch, learning: float,
        amalgamation: Sequence[float], rate: Literal["auto"] | float = "auto",
    ) -> None:  # fmt: skip
        epochs = round(learning + amalgamation[number])
        aligning = number + 1 < len(tree.units)
        super().__init__(tree, alignment, f"structure {number + 1}", epochs, strategy, stretch, aligning=aligning)
        self.number, self.stretch, self.learning, self.amalgamation = number, stretch, learning, amalgamation
        self.rate = rate
        self.spent = 0.0
        self.amalgamated: list[Tensor] = []

    def begin(self) -> None:
        tree = self.tree
        tree.regroup(self.run, self.number)
        if tree.criterion.transfer == "average" and tree.carried is not None:
            tree.merge(tree.carried.states)

    def prepare(self) -> None:
        super().prepare()
        protocol, rate = self.run.optimizer, self.rate
        if rate == "auto":
            rate = protocol.lr if protocol.name in ("adam", "adamw") else PUBLISHED_RATE
        trained = list(self.tree.fusions.parameters())
        self.fusing = amalgamation_optimizer(trained, rate) if trained else None
        self.set_length()

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return self.strategy.optimizers if self.fusing is None else {**self.strategy.optimizers, "fusions": self.fusing}

    def set_length(self) -> None:
        """Set how many passes amalgamation takes, and let the learning-rate schedule wait for it."""
        tree, published = self.tree, self.run.budget.mode == "paper"
        merging_phases = sorted({entry["phase"] for entry in tree.history if entry["merged"]})
        self.spent = 0.0
        if self.number in merging_phases and tree.criterion.transfer == "amalgamation":
            self.spent = self.amalgamation[merging_phases.index(self.number) if published else self.number]
        if published:
            self.epochs = round(self.learning + self.spent)
        start, stop = self.stretch
        if tree.pending or self.epochs <= self.spent:
            self.schedule = start, start
        else:
            self.schedule = stop - (stop - start) * self.epochs / (self.epochs - self.spent), stop

    def passes(self, epoch: int) -> list[Pass]:
        super().passes(epoch)
        self.amalgamated = []
        share = min(max(self.spent - epoch, 0.0), 1.0) if self.tree.pending else 0.0
        share = without_single(share, self.run.images_per_epoch, self.run.batch_size)
        self.deployable = share < 1  # amalgamation alone changes nothing that could be validated
        passes = [Pass(self.amalgamate, (0.0, share), "amalgamation")] if share > 0 else []
        if share < 1:
            passes.append(Pass(self.learn, (share, 1.0), "learning", self.strategy.updates_per_step()))
        return passes

    def amalgamate(self, batch: Batch) -> TaskLosses:
        """One step of the new units and their gates on L_amalgamation; nothing else moves."""
        tree, network = self.tree, self.tree.network
        done: dict[str, Tensor] = {}
        network.eval()
        tree.fusions.train()
        loss = torch.zeros((), device=self.run.device)
        for group in tree.pending:
            fusion, (unit, tasks) = tree.fusion(group), group
            with self.run.autocast():
                with torch.no_grad():
                    image = network.normalised(batch.image)
                    inputs = tree.inputs(image, unit, tasks[0], done)
                    teachers = [tree.output(image, unit, task, done) for task in tasks]
                student = fusion.unit(*inputs)
            loss = loss + fusion.loss(student, teachers)
        assert self.fusing is not None
        self.fusing.zero_grad(set_to_none=True)
        loss.backward()
        self.fusing.step()
        self.amalgamated.append(loss.detach())
        return {}

    def learn(self, batch: Batch) -> TaskLosses:
        """The strategy's step, on the merged network."""
        if self.tree.pending:
            self.merge()
        return self.strategy.step(batch)

    def merge(self) -> None:
        """Merge, and go on with the optimizer's state and learning rate."""
        states = collect(self.strategy)
        self.tree.merge(states)
        self.tree.network.train()
        self.fusing = None
        self.strategy.start()
        restore(self.strategy, states)
        set_lr(self.strategy.optimizers.values(), self.run.optimizer.factor(self.stretch[0]))
        self.set_length()

    def end_epoch(self, epoch: int, losses: dict[str, float]) -> dict[str, Any]:
        logged = super().end_epoch(epoch, losses)
        if self.amalgamated:
            logged["amalgamation loss"] = float(torch.stack(self.amalgamated).mean())
        return logged

    def finish(self) -> None:
        if self.tree.pending:
            self.merge()
        self.tree.compare(self.run, self.number)
        super().finish()


def without_single(share: float, images: int, batch_size: int) -> float:
    """The share of the images, a little more of them where either side would end in a batch of one.

    BatchNorm has nothing to normalise a single image by.
    """
    first = round(share * images)
    while 0 < first < images and 1 in (first % batch_size, (images - first) % batch_size):
        first += 1
    return share if first == round(share * images) else first / images
