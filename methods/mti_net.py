"""MTI-Net: multi-scale task interaction networks (Vandenhende et al., ECCV 2020, arXiv:2001.06902).

Every scale of the shared trunk is decoded for every task, from coarse to fine; each scale makes first predictions, passes
its features on to the next finer one, and distils between tasks on its own. One head per task reads all scales.

    f_{s,t} = B_{s,t}([x_s; up(p_{s+1,t})])            two basic blocks                           (`blocks`)
    ŷ⁰_{s,t} = W_{s,t} f_{s,t}                         first prediction at every scale, trained and then left out
    m = softmax over tasks of M(C_s([f_{s,1}; …; f_{s,T}]))                                       (`Propagation`)
    p_{s,t} = SE_{s,t}(R_s(m ⊙ [f_{s,1}; …; f_{s,T}])) + f_{s,t}
    f̃_{s,t} = as in PAD-Net, at every scale                                                       (`Distillation`)
    ŷ_t = V_t ReLU(BN(U_t [up f̃_{1,t}; …; up f̃_{S,t}]))
    L_t = L(ŷ_t) + w Σ_s L(ŷ⁰_{s,t})                   all at the image's resolution

Legend: x_s the trunk's map of stage s = 1 … S, S the coarsest; t tasks; C_s two basic blocks to a quarter of the channels;
M, U and V 1×1 convolutions; R_s a basic block; SE squeeze-and-excitation (Hu et al., CVPR 2018) with reduction 16;
w `first_weight`.

Choices and deviations:
    Trunk. The published one is HRNet-18, with 18, 36, 72 and 144 channels. Here it is the protocol's; stages with more
    channels than `width` · 2^(s−1) are first projected to that many, without which a ResNet's decoder outgrows the network
    by far. In a dilated trunk neighbouring scales have one resolution, and `up` changes nothing between them.
    Softmax. The mask is meant to choose among tasks. The official code applies the softmax to T neighbouring channels, which
    mostly are of one task, because it views the channels in the wrong order; `strict_official=True` does the same.
    Heads and tasks as in `pad_net`. The head is the method's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from mtlbench.contract import (
    Architecture,
    BasicBlock,
    Hyper,
    LogUniform,
    Maps,
    Publication,
    Rows,
    SharingPlan,
    resize,
)
from mtlbench.tasks import Task

from ._shared.distillation import Distillation, FirstPrediction, FirstPredictions, predict_twice, shipped
from ._shared.typed_modules import TypedModuleDict, TypedModuleList

NARROWEST = 8
"""Channels of a hidden layer at least."""


def blocks(in_channels: int, channels: int) -> nn.Sequential:
    """Two basic blocks: [B, in, H, W] → [B, C, H, W]."""
    return nn.Sequential(BasicBlock(in_channels, channels, 1, 1, 1), BasicBlock(channels, channels, 1, 1, 1))


class Propagation(nn.Module):
    """The tasks' features of one scale, exchanged among tasks, for the next finer one.

    Args:
        tasks: their names, T.
        channels: C of each task's features.
        strict_official: softmax over neighbouring channels, as the official code does it.
    """

    def __init__(self, tasks: Sequence[str], channels: int, strict_official: bool = False) -> None:
        super().__init__()
        self.tasks, self.strict_official = list(tasks), strict_official
        together, hidden = len(tasks) * channels, max(NARROWEST, len(tasks) * channels // 4)
        self.compare = nn.Sequential(blocks(together, hidden), nn.Conv2d(hidden, together, 1))
        self.reduce = BasicBlock(together, channels, 1, 1, 1)
        self.excite = TypedModuleDict({task: SqueezeExcitation(channels, max(1, channels // 16)) for task in tasks})

    def mask(self, together: Tensor) -> Tensor:
        """[B, T·C, H, W] → the same shape, in (0, 1): for every channel its share among tasks."""
        batch, _, height, width = together.shape
        logits: Tensor = self.compare(together)
        if self.strict_official:
            return logits.reshape(batch, -1, len(self.tasks), height, width).softmax(2).reshape(together.shape)
        return logits.reshape(batch, len(self.tasks), -1, height, width).softmax(1).reshape(together.shape)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Task → features [B, C, H, W] of all tasks, to the same."""
        together = torch.cat([features[task] for task in self.tasks], dim=1)
        shared = self.reduce(self.mask(together) * together)
        return {task: self.excite[task](shared) + features[task] for task in self.tasks}


class Head(nn.Module):
    """The final prediction from a task's features at all scales, fine to coarse, at the finest resolution."""

    def __init__(self, task: Task, channels: Sequence[int]) -> None:
        super().__init__()
        width = sum(channels)
        self.fuse = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.last = FirstPrediction(task, width)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        size = (maps[0].shape[-2], maps[0].shape[-1])
        prediction: Tensor = self.last(self.fuse(torch.cat([resize(level, size) for level in maps], dim=1)))
        return prediction


class MTINet(Architecture):
    """Tasks interact at every scale of the trunk, and coarse scales guide finer ones."""

    family: ClassVar[str] = "decoder-focused"
    publication: ClassVar[Publication | None] = Publication(
        "Vandenhende et al.",
        "ECCV",
        2020,
        "MTI-Net: Multi-Scale Task Interaction Networks for Multi-Task Learning",
        arxiv="2001.06902",
    )

    width: int = Hyper(18, ge=8, help="channels of the finest scale at most; every coarser one has twice as many")
    first_weight: float = Hyper(1.0, search=LogUniform(0.1, 1.0), ge=0, help="w: weight of the first predictions' losses")
    strict_official: bool = Hyper(False, help="softmax over neighbouring channels as in the official code, not over tasks")

    def build(self) -> None:
        names = list(self.tasks)
        self.trunk = self.new_backbone()
        self.scale_channels = [min(width, self.width * 2**stage) for stage, width in enumerate(self.stage_channels)]
        self.project = nn.ModuleList(
            nn.Identity() if before == after else projected(before, after)
            for before, after in zip(self.stage_channels, self.scale_channels, strict=True)
        )
        coarser = [*self.scale_channels[1:], 0]
        inputs = [(width + coarse, width) for width, coarse in zip(self.scale_channels, coarser, strict=True)]
        self.decoders: TypedModuleDict[TypedModuleList[nn.Sequential]] = TypedModuleDict()
        self.first: FirstPredictions = TypedModuleDict()
        heads = nn.ModuleDict()
        for name, task in self.tasks.items():
            with self.initial(f"decoder {name}"):
                self.decoders[name] = TypedModuleList(blocks(before, after) for before, after in inputs)
                self.first[name] = TypedModuleList(FirstPrediction(task, width) for width in self.scale_channels)
                heads[name] = Head(task, self.scale_channels)
        self.heads = heads
        self.propagate = TypedModuleList(
            Propagation(names, width, self.strict_official) for width in self.scale_channels[1:]
        )
        self.distillation = TypedModuleList(Distillation(names, width) for width in self.scale_channels)
        for name in names:
            received = [module for scale in self.distillation for module in scale.modules_of(name)]
            for module in (self.first[name], *received):
                self.own(module, [name])

    def decode(self, image: Tensor) -> list[dict[str, Tensor]]:
        """Normalised images → features f of all tasks at every scale, fine to coarse."""
        maps: Maps = [project(level) for project, level in zip(self.project, self.trunk(image), strict=True)]
        features: list[dict[str, Tensor]] = []
        propagated: dict[str, Tensor] = {}
        for scale in reversed(range(len(maps))):
            size = (maps[scale].shape[-2], maps[scale].shape[-1])
            inputs = {
                task: torch.cat((maps[scale], resize(propagated[task], size)), dim=1) if propagated else maps[scale]
                for task in self.tasks
            }
            features.insert(0, {task: self.decoders[task][scale](own) for task, own in inputs.items()})
            propagated = self.propagate[scale - 1](features[0]) if scale else {}
        return features

    def distilled(self, features: Sequence[dict[str, Tensor]], tasks: Sequence[str]) -> dict[str, Maps]:
        """Task → distilled features at every scale, fine to coarse."""
        scales = [distil(level, tasks) for distil, level in zip(self.distillation, features, strict=True)]
        return {task: [level[task] for level in scales] for task in tasks}

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        return self.distilled(self.decode(image), tasks)

    def predict_all(
        self, image: Tensor, tasks: Sequence[str], rows: Rows
    ) -> tuple[dict[str, Tensor], list[tuple[str, Tensor, float]]]:
        features = self.decode(self.normalised(image))
        distilled = self.distilled(features, tasks)
        return predict_twice(self, self.first, self.first_weight, features, distilled, image, rows)

    def deploy(self) -> nn.Module:
        return shipped(self)

    def plan(self) -> SharingPlan:
        return SharingPlan.shared([unit.name for unit in self.block_units()], list(self.tasks))


def projected(in_channels: int, channels: int) -> nn.Sequential:
    """A 1×1 convolution, BatchNorm and ReLU."""
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
