"""MTAN: the multi-task attention network (Liu et al., CVPR 2019, arXiv:1803.10704).

In the form that the survey by Vandenhende et al. (TPAMI 2021, arXiv:2004.13379) gives it for residual networks. One trunk is
shared; every task masks its features, stage by stage, and passes the masked features on to the next stage:

    m_{s,t} = σ(BN(W₂ ReLU(BN(W₁ z))))        z = u_s for s = 1, else [u_s; r_{s−1,t}]        (`Mask`)
    a_{s,t} = m_{s,t} ⊙ v_s
    r_{s,t} = pool_s(refine_s(a_{s,t}))       refine_s a bottleneck block that all tasks share

Legend: t tasks; s stages; u_s, v_s the trunk's maps before and after the stage's last residual block (a stage of one block:
after it, both); W₁ [C/4] and W₂ [C] 1×1 convolutions; pool_s halves the map where the trunk's next stage does. The head
reads a_{S,t}.

Deviation: a mask's hidden layer has at least 8 channels, which matters for the narrowest backbone only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlbench.contract import Architecture, Bottleneck, Exchange, Maps, Publication, SharingPlan

from ._shared.typed_modules import TypedModuleDict, TypedModuleList

NARROWEST = 8
"""Channels of a hidden layer at least."""


class Mask(nn.Sequential):
    """What a task attends to: maps [B, in, H, W] → [B, out, H, W] in (0, 1)."""

    def __init__(self, in_channels: int, out_channels: int, hidden: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True),
            nn.Conv2d(hidden, out_channels, 1), nn.BatchNorm2d(out_channels), nn.Sigmoid(),
        )  # fmt: skip


def refinement(in_channels: int, out_channels: int) -> Bottleneck:
    """A bottleneck block whose shortcut is a projection always: where both stages are equally wide, too."""
    block = Bottleneck(in_channels, out_channels // Bottleneck.expansion, 1, 1, 1)
    if block.downsample is None:
        block.downsample = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
    return block


class Attention(nn.Module):
    """The tasks' attention over a trunk's stages.

    Args:
        tasks: their names.
        channels: of every stage.
        narrowest: hidden channels at least.
    """

    def __init__(self, tasks: Iterable[str], channels: Sequence[int], narrowest: int = NARROWEST) -> None:
        super().__init__()
        inputs = [channels[0], *(2 * width for width in channels[1:])]
        self.masks = TypedModuleDict(
            {
                task: TypedModuleList(
                    Mask(before, after, max(narrowest, after // 4)) for before, after in zip(inputs, channels, strict=True)
                )
                for task in tasks
            }
        )
        self.refine = TypedModuleList(refinement(before, after) for before, after in pairwise(channels))

    def forward(self, before: Sequence[Tensor], after: Sequence[Tensor], tasks: Iterable[str]) -> dict[str, list[Tensor]]:
        """Maps u_s and v_s, both [B, C_s, H_s, W_s] → task → a_s, one per stage."""
        attended: dict[str, list[Tensor]] = {}
        for task in tasks:
            maps: list[Tensor] = []
            for stage, (u, v) in enumerate(zip(before, after, strict=True)):
                if maps:
                    refined: Tensor = self.refine[stage - 1](maps[-1])
                    if refined.shape[-2:] != u.shape[-2:]:
                        refined = F.max_pool2d(refined, 2, ceil_mode=True)  # strided convolutions round up, too
                    u = torch.cat((u, refined), dim=1)
                maps.append(self.masks[task][stage](u) * v)
            attended[task] = maps
        return attended


class MTAN(Architecture):
    """One trunk; every task attends to its features with masks of its own, stage by stage."""

    needs: ClassVar[frozenset[str]] = frozenset({"feature maps"})
    family: ClassVar[str] = "soft sharing"
    publication: ClassVar[Publication | None] = Publication(
        "Liu et al.", "CVPR", 2019, "End-to-End Multi-Task Learning with Attention", arxiv="1803.10704"
    )
    compared_with: ClassVar[str] = "code of the survey (Vandenhende et al., TPAMI 2021)"

    def build(self) -> None:
        self.trunk = self.new_backbone()
        self.attention = Attention(self.tasks, self.stage_channels)
        for task, masks in self.attention.masks.items():
            self.own(masks, [task])

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        x, stages = self.trunk.stem(image), self.trunk.stage_of
        before: Maps = []
        after: Maps = []
        for number, block in enumerate(self.trunk.blocks):
            entering, x = x, block(x)
            if number + 1 == len(stages) or stages[number + 1] != stages[number]:
                alone = number == 0 or stages[number - 1] != stages[number]
                before.append(x if alone else entering)
                after.append(x)
        attended: dict[str, Maps] = self.attention(before, after, tasks)
        return attended

    def plan(self) -> SharingPlan:
        return SharingPlan.shared([unit.name for unit in self.block_units()], list(self.tasks))

    def exchange(self) -> list[Exchange]:
        """How open a task's masks are where their last layer reads its mean input, averaged over channels."""
        return [
            Exchange(1 + end, "trunk", task, mask.get_parameter("4.bias").detach().sigmoid().mean().item())
            for task, masks in self.attention.masks.items()
            for end, mask in zip(self.template.stage_ends(), masks, strict=True)
        ]
