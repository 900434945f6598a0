"""Maximum Roaming (Pascal et al., AAAI 2021, arXiv:2006.09762).

All tasks share one trunk, but each uses only a part of every layer's channels. These parts roam: again and again every task
gives up one of its channels for one that it has never used, until it has used all of them.

    x ← m_{l,t} ⊙ BN(W_l x)                     m: zeros and p S_l ones; every channel is some task's at first
    update: m_{l,t}[i−] ← 0, m_{l,t}[i+] ← 1    i− one of the task's channels, i+ one that it has never used, drawn uniformly

Legend: t tasks; l layers (convolution and BatchNorm) of S_l channels; m masks; p `share`. A layer has ⌊(1 − p) S_l⌋ updates.

Choices and deviations from the official code:
    Pace. Updates are spread evenly over the first `roaming` of the training, however long it is; the widest layer sets the
    pace, and narrower ones are done earlier, as published. Published are updates every tenth of an epoch (CelebA) or every
    epoch.
    Steps. The strategy's: published are steps on one task after another (maximum_roaming+alternating).
    BatchNorm keeps running statistics per task, and shortcuts have it; the official code normalises by the batch in
    evaluation, too, and its shortcuts have none.
    Cost. Every task's features are its own from the first layer: T trunk passes. Masked channels are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mtlbench.contract import (
    Architecture,
    Batch,
    Hyper,
    Maps,
    Pass,
    Phase,
    Publication,
    Run,
    SharingPlan,
    Strategy,
    TaskLosses,
    Uniform,
    derive_seed,
)

from .._shared.side_by_side import typed_trunks
from .masks import MaskedNorm, mask_norms, tie


class MaximumRoaming(Architecture):
    """Every task uses a part of the shared trunk's channels, and this part moves through all of them."""

    family: ClassVar[str] = "soft sharing"
    publication: ClassVar[Publication | None] = Publication(
        "Pascal et al.", "AAAI", 2021, "Maximum Roaming Multi-Task Learning", arxiv="2006.09762"
    )

    share: float = Hyper(0.8, search=Uniform(0.3, 1.0), gt=0, le=1, help="p: share of a layer's channels that a task uses")
    roaming: float = Hyper(0.5, search=Uniform(0.2, 1.0), gt=0, le=1, help="share of the training until all are visited")

    def build(self) -> None:
        self.trunks = typed_trunks(self.backbone_per_task())
        shared = next(iter(self.trunks.values()))
        order = sorted(self.tasks)
        for number, task in enumerate(order):
            draws = torch.Generator().manual_seed(derive_seed("roaming", self.config.seed, task))
            tie(self.trunks[task], shared)
            mask_norms(self.trunks[task], number, len(order), self.share, draws)

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        return {task: self.trunks[task](image) for task in tasks}

    def plan(self) -> SharingPlan:
        return SharingPlan.shared([unit.name for unit in self.block_units()], list(self.tasks))

    def layers(self, task: str) -> list[MaskedNorm]:
        """The task's masks, from the first layer on."""
        return [module for module in self.trunks[task].modules() if isinstance(module, MaskedNorm)]

    def updates(self) -> int:
        """How many updates the widest layer has."""
        layers = [layer for task in self.tasks for layer in self.layers(task)]
        return max(len(layer.mask) - int(layer.mask.sum()) for layer in layers)

    def extra(self) -> dict[str, float]:
        layers = [layer for task in self.tasks for layer in self.layers(task)]
        return {"channels visited": float(torch.stack([layer.used.float().mean() for layer in layers]).mean())}

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        return [Roaming(self, run.budget.epochs, strategy)]


class Roaming(Phase):
    """Train with the strategy; masks are updated between its steps."""

    def __init__(self, network: MaximumRoaming, epochs: int, strategy: Strategy) -> None:
        super().__init__("roaming", epochs, strategy)
        self.network, self.run, self.updates = network, strategy.run, network.updates()
        self.epoch, self.images = 0, 0
        self.draws: dict[str, torch.Generator] = {}

    def passes(self, epoch: int) -> list[Pass]:
        self.epoch, self.images = epoch, 0
        self.draws = {task: self.run.generator("roaming", task) for task in self.network.tasks}
        return [Pass(self.step, kind=self.name, updates=self.strategy.updates_per_step())]

    def due(self) -> int:
        """How many updates there are until now."""
        progress = (self.epoch + min(self.images / self.run.images_per_epoch, 1.0)) / self.epochs
        return min(self.updates, int(self.updates * progress / self.network.roaming))

    def step(self, batch: Batch) -> TaskLosses:
        """The strategy's step, then the updates that are due."""
        losses = self.strategy.step(batch)
        self.move_to(self.images + len(batch))
        return losses

    def move_to(self, images: int) -> None:
        """The updates that fall due until so many images of the epoch are seen."""
        before, self.images = self.due(), images
        for _ in range(self.due() - before):
            for task in self.network.tasks:
                for layer in self.network.layers(task):
                    layer.roam(self.draws[task])

    def end_epoch(self, epoch: int, losses: dict[str, float]) -> dict[str, Any]:
        self.move_to(self.run.images_per_epoch)  # images of a last batch that was left out count
        super().end_epoch(epoch, losses)
        return self.network.extra()
