"""Sluice networks (Ruder et al., AAAI 2019, "Latent Multi-Task Architecture Learning", arXiv:1705.08142).

    [x̃_{1,1}; x̃_{1,2}; …; x̃_{T,2}] = α [x_{1,1}; x_{1,2}; …; x_{T,2}]        after every stage, α [2T, 2T]
    h_t = Σ_s β_{t,s} P_s(x̃_t^s)                                              what the task's head reads
    L_t += λ Σ_s ‖G_{t,s,1} G_{t,s,2}ᵀ‖²_F                                     subspaces stay orthogonal

Legend: t tasks; s stages; x_{t,1}, x_{t,2} the two halves of the channels of task t's map (its subspaces); G_{t,s,i} the
rows of the stage's last convolution that make half i; P_s brings a stage's map to the last one's size.

Deviations, since the paper's networks are recurrent with layers of one width: layers are stages; P_s is average pooling and
a 1×1 convolution of each task's own (the identity at the last stage); the constraint is on convolution weights. α starts
with `own_weight` on a subspace's own features and shares the rest among all others, so that rows sum to 1; β starts with 1
at the last stage and 0 elsewhere, so that training starts with the network that other methods start with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlbench.contract import (
    Architecture,
    Backbone,
    Batch,
    Exchange,
    Hyper,
    LogUniform,
    Maps,
    Publication,
    SharingPlan,
    TaskLosses,
    Uniform,
)

from ._shared.side_by_side import exchange_between, run_side_by_side, typed_trunks
from ._shared.typed_modules import TypedModuleDict, TypedModuleList


class Sluice(nn.Module):
    """Mixes the halves of all tasks' maps.

    Args:
        tasks: number of tasks T.
        own_weight: initial weight of a half's own features.
    """

    def __init__(self, tasks: int, own_weight: float) -> None:
        super().__init__()
        alpha = torch.full((2 * tasks, 2 * tasks), (1 - own_weight) / (2 * tasks - 1))
        self.alpha = nn.Parameter(alpha.fill_diagonal_(own_weight))  # [target, source], both (task, half)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """T maps [B, C, H, W] → T mixed maps."""
        halves = torch.stack([half for x in maps for half in x.chunk(2, dim=1)])  # [2T, B, C / 2, H, W]
        mixed = torch.einsum("ts,sbchw->tbchw", self.alpha.to(halves.dtype), halves)
        return [torch.cat((first, second), dim=1) for first, second in zip(mixed[::2], mixed[1::2], strict=True)]


class Skips(nn.Module):
    """All stages' maps of one task → the map that its head reads.

    Args:
        channels: of every stage.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.projections = TypedModuleList(nn.Conv2d(width, channels[-1], 1, bias=False) for width in channels[:-1])
        self.beta = nn.Parameter(torch.eye(len(channels))[-1].clone())

    def forward(self, maps: Maps) -> Tensor:
        height, width = maps[-1].shape[-2:]
        *early, last = self.beta.to(maps[-1].dtype)
        mixed = last * maps[-1]
        for beta, project, x in zip(early, self.projections, maps[:-1], strict=True):
            mixed = mixed + beta * project(F.adaptive_avg_pool2d(x, (height, width)))
        return mixed


def overlap(weight: Tensor) -> Tensor:
    """‖G₁ G₂ᵀ‖²_F of the two halves of a convolution's weight [out, in, k, k]."""
    first, second = weight.flatten(1).chunk(2)
    return (first @ second.T).square().sum()


def last_convolutions(trunk: Backbone) -> list[nn.Conv2d]:
    """The last convolution of each stage's last block, before the addition."""
    blocks = [trunk.blocks[end] for end in trunk.stage_ends()]
    return [
        [layer for name, layer in block.named_modules() if isinstance(layer, nn.Conv2d) and "downsample" not in name][-1]
        for block in blocks
    ]


class SluiceNetworks(Architecture):
    """One network per task; halves of the channels are mixed after every stage, and the head reads a mixture of stages."""

    family: ClassVar[str] = "soft sharing"
    publication: ClassVar[Publication | None] = Publication(
        "Ruder et al.", "AAAI", 2019, "Latent Multi-Task Architecture Learning", arxiv="1705.08142"
    )

    own_weight: float = Hyper(0.9, search=Uniform(0.5, 1.0), ge=0, le=1, help="initial weight of a half's own features")
    orthogonality: float = Hyper(
        0.01, search=LogUniform(1e-4, 0.1), ge=0, help="weight of the subspaces' orthogonality in the loss"
    )

    def build(self) -> None:
        self.trunks = typed_trunks(self.backbone_per_task())
        self.sluices = TypedModuleList(Sluice(len(self.tasks), self.own_weight) for _ in self.stage_channels)
        self.skips: TypedModuleDict[Skips] = TypedModuleDict({})
        for task in self.tasks:
            with self.initial(f"skips {task}"):
                self.skips[task] = Skips(self.stage_channels)
            self.own(self.skips[task], [task])

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        def mix(stage: int, maps: list[Tensor]) -> list[Tensor]:
            return self.sluices[stage - 1](maps) if stage else maps

        maps = run_side_by_side(self.trunks, image, mix)
        return {task: [*maps[task][:-1], self.skips[task](maps[task])] for task in tasks}

    def losses(self, batch: Batch, tasks: Sequence[str] | None = None) -> TaskLosses:
        losses = super().losses(batch, tasks)
        for task in losses:
            overlaps = [overlap(layer.weight) for layer in last_convolutions(self.trunks[task])]
            losses[task] = losses[task] + self.orthogonality * torch.stack(overlaps).sum()
        return losses

    def plan(self) -> SharingPlan:
        return SharingPlan.private([unit.name for unit in self.block_units()], list(self.tasks))

    def exchange(self) -> list[Exchange]:
        """Mean of the four weights between two tasks' halves, times two: the sum that reaches a half."""
        tasks, depths = len(self.tasks), [1 + end for end in self.template.stage_ends()]
        alphas = [sluice.alpha.detach().view(tasks, 2, tasks, 2).sum((1, 3)) / 2 for sluice in self.sluices]
        return exchange_between(list(self.tasks), depths, alphas)
