"""MTSL's phases: task learning that aligns features, and structural phases that amalgamate and merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtlbench.contract import Batch, Pass, Phase, Strategy, TaskLosses
from mtlbench.contract.optim import set_lr
from mtlbench.methods._mtsl_schedule import Stretch
from mtlbench.methods._optimizer_state import Carried, collect, restore

if TYPE_CHECKING:
    from mtlbench.methods.mtsl import MTSL

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
        self, network: MTSL, name: str, epochs: int, strategy: Strategy, stretch: Stretch, *,
        aligning: bool = False, final: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(name, epochs, strategy, selectable=final, schedule=stretch)
        self.network, self.run, self.aligning, self.final = network, strategy.run, aligning, final

    def prepare(self) -> None:
        network = self.network
        network.aligning = self.aligning
        network.snapshot()
        network.fusions.requires_grad_(False)  # not the strategy's business
        super().prepare()
        network.fusions.requires_grad_(True)
        if network.carried is not None:
            restore(self.strategy, network.carried.states)

    def passes(self, epoch: int) -> list[Pass]:
        self.network.carried = None  # the optimizer has it now
        self.network.aligned = []
        return super().passes(epoch)

    def end_epoch(self, epoch: int, losses: dict[str, float]) -> dict[str, Any]:
        if losses:
            super().end_epoch(epoch, losses)
        network = self.network
        network.elapsed = self.run.epoch + 1
        network.snapshot()
        logged = {key: network.frames[-1][key] for key in ("parameters", "flops")}
        if network.aligned:
            logged["alignment loss"] = float(torch.stack(network.aligned).mean())
        return logged

    def finish(self) -> None:
        if not self.final:
            self.network.carried = Carried(collect(self.strategy))


class Structure(Learning):
    """One structural phase: decide, amalgamate, merge, and learn tasks with the new structure.

    Args:
        number: of the phase, from 0.
        learning: epochs of task learning in it.
        amalgamation: passes of amalgamation, see `Schedule`.
    """

    def __init__(
        self, network: MTSL, number: int, strategy: Strategy, stretch: Stretch, learning: float,
        amalgamation: Sequence[float],
    ) -> None:  # fmt: skip
        epochs = round(learning + amalgamation[number])
        aligning = number + 1 < len(network.units)
        super().__init__(network, f"structure {number + 1}", epochs, strategy, stretch, aligning=aligning)
        self.number, self.stretch, self.learning, self.amalgamation = number, stretch, learning, amalgamation
        self.spent = 0.0
        self.amalgamated: list[Tensor] = []

    def begin(self) -> None:
        network = self.network
        network.regroup(self.run, self.number)
        if network.transfer == "average" and network.carried is not None:
            network.merge(network.carried.states)

    def prepare(self) -> None:
        super().prepare()
        network, protocol = self.network, self.run.optimizer
        rate = network.amalgamation_lr
        if rate == "auto":
            rate = protocol.lr if protocol.name in ("adam", "adamw") else PUBLISHED_RATE
        trained = list(network.fusions.parameters())
        self.fusing = amalgamation_optimizer(trained, rate) if trained else None
        self.aim()

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return self.strategy.optimizers if self.fusing is None else {**self.strategy.optimizers, "fusions": self.fusing}

    def aim(self) -> None:
        """Set how many passes amalgamation takes, and let the learning-rate schedule wait for it."""
        history, published = self.network.history, self.run.budget.mode == "paper"
        merging_phases = sorted({entry["phase"] for entry in history if entry["merged"]})
        self.spent = 0.0
        if self.number in merging_phases and self.network.transfer == "amalgamation":
            self.spent = self.amalgamation[merging_phases.index(self.number) if published else self.number]
        if published:
            self.epochs = round(self.learning + self.spent)
        start, stop = self.stretch
        if self.network.pending or self.epochs <= self.spent:
            self.schedule = start, start
        else:
            self.schedule = stop - (stop - start) * self.epochs / (self.epochs - self.spent), stop

    def passes(self, epoch: int) -> list[Pass]:
        super().passes(epoch)
        self.amalgamated = []
        share = min(max(self.spent - epoch, 0.0), 1.0) if self.network.pending else 0.0
        share = without_single(share, self.run.images_per_epoch, self.run.batch_size)
        self.deployable = share < 1  # amalgamation alone changes nothing that could be validated
        found = [Pass(self.amalgamate, (0.0, share), "amalgamation")] if share > 0 else []
        if share < 1:
            found.append(Pass(self.learn, (share, 1.0), "learning", self.strategy.updates_per_step()))
        return found

    def amalgamate(self, batch: Batch) -> TaskLosses:
        """One step of the new units and their gates on L_amalgamation; nothing else moves."""
        network = self.network
        done: dict[str, Tensor] = {}
        network.eval()
        network.fusions.train()
        loss = torch.zeros((), device=self.run.device)
        for group in network.pending:
            fusion, (unit, tasks) = network.fusing(group), group
            with self.run.autocast():
                with torch.no_grad():
                    image = network.normalised(batch.image)
                    inputs = network.inputs(image, unit, tasks[0], done)
                    teachers = [network.output(image, unit, task, done) for task in tasks]
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
        if self.network.pending:
            self.merge()
        return self.strategy.step(batch)

    def merge(self) -> None:
        """Merge, and go on with the optimizer's state and learning rate."""
        states = collect(self.strategy)
        self.network.merge(states)
        self.network.train()
        self.fusing = None
        self.strategy.start()
        restore(self.strategy, states)
        set_lr(self.strategy.optimizers.values(), self.run.optimizer.factor(self.stretch[0]))
        self.aim()

    def end_epoch(self, epoch: int, losses: dict[str, float]) -> dict[str, Any]:
        logged = super().end_epoch(epoch, losses)
        if self.amalgamated:
            logged["amalgamation loss"] = float(torch.stack(self.amalgamated).mean())
        return logged

    def finish(self) -> None:
        if self.network.pending:
            self.merge()
        self.network.compare(self.run, self.number)
        super().finish()


def without_single(share: float, images: int, batch_size: int) -> float:
    """The share of the images, a little more of them where either side would end in a batch of one.

    BatchNorm has nothing to normalise a single image by.
    """
    first = round(share * images)
    while 0 < first < images and 1 in (first % batch_size, (images - first) % batch_size):
        first += 1
    return share if first == round(share * images) else first / images


def amalgamation_optimizer(parameters: Sequence[nn.Parameter], rate: float) -> Optimizer:
    """Adam with L2 decay, as published; its learning rate does not follow the schedule."""
    return torch.optim.Adam([{"params": list(parameters), "fixed_lr": True}], lr=rate, weight_decay=5e-5)
