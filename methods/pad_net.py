"""PAD-Net: prediction and distillation network (Xu et al., CVPR 2018, arXiv:1805.04409).

As in the survey by Vandenhende et al. (TPAMI 2021, arXiv:2004.13379). From the shared trunk every task makes features of its
own and a first prediction; the features are distilled between tasks, and a second decoder makes the final prediction.

    f_t = B_t(F)                       two bottleneck blocks                                   (`decoder`)
    ŷ⁰_t = W_t f_t                     first prediction, trained and then left out             (`first`)
    f̃_t = f_t + Σ_{s≠t} σ(W^a_{ts} f_s) ⊙ (W_{ts} f_s)                                         (`Distillation`)
    ŷ_t = V_t B̃_t(f̃_t)                 two bottleneck blocks and a 1×1 convolution             (the head)
    L_t = L(ŷ_t) + w L(ŷ⁰_t)           both at the image's resolution

Legend: F the trunk's last map; s, t tasks; w `first_weight`.

Choices and deviations:
    Heads. The decoder is the method: it takes the place of the protocol's heads, and has their width (256 published).
    Tasks. All of the protocol's tasks are predicted twice. The published networks predict further tasks, of which only the
    first prediction is trained; a dataset that has their labels gives them as tasks. A task that is not dense takes part
    with its features, and is predicted from their global average.
    One task. There is nothing to distil; the official code fails there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from mtlbench.contract import Architecture, Bottleneck, Hyper, LogUniform, Maps, Publication, Rows, SharingPlan
from mtlbench.tasks import Task

from ._shared.distillation import Distillation, FirstPrediction, FirstPredictions, predict_twice, shipped
from ._shared.typed_modules import TypedModuleDict, TypedModuleList

NARROWEST = 32
"""Channels of the features at least: a bottleneck block works on a quarter of them."""


def decoder(in_channels: int, channels: int) -> nn.Sequential:
    """Two bottleneck blocks: [B, in, H, W] → [B, C, H, W]."""
    width = channels // Bottleneck.expansion
    return nn.Sequential(Bottleneck(in_channels, width, 1, 1, 1), Bottleneck(channels, width, 1, 1, 1))


class Head(nn.Module):
    """The final prediction from the distilled features."""

    def __init__(self, task: Task, channels: int) -> None:
        super().__init__()
        self.blocks = decoder(channels, channels)
        self.last = FirstPrediction(task, channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        prediction: Tensor = self.last(self.blocks(maps[-1]))
        return prediction


class PADNet(Architecture):
    """Every task predicts once on its own, learns from the other tasks' features, and predicts again."""

    family: ClassVar[str] = "decoder-focused"
    publication: ClassVar[Publication | None] = Publication(
        "Xu et al.",
        "CVPR",
        2018,
        "PAD-Net: Multi-Tasks Guided Prediction-and-Distillation Network for Simultaneous Depth Estimation "
        "and Scene Parsing",
        arxiv="1805.04409",
    )
    compared_with: ClassVar[str] = "code of the survey (Vandenhende et al., TPAMI 2021)"

    first_weight: float = Hyper(1.0, search=LogUniform(0.1, 1.0), ge=0, help="w: weight of the first prediction's loss")

    def build(self) -> None:
        channels = max(self.config.head.width, NARROWEST)
        self.trunk = self.new_backbone()
        self.decoders: TypedModuleDict[nn.Sequential] = TypedModuleDict()
        self.first: FirstPredictions = TypedModuleDict()
        heads = nn.ModuleDict()
        for name, task in self.tasks.items():
            with self.initial(f"decoder {name}"):
                self.decoders[name] = decoder(self.stage_channels[-1], channels)
                self.first[name] = TypedModuleList([FirstPrediction(task, channels)])
                heads[name] = Head(task, channels)
        self.heads = heads
        self.distillation = Distillation(list(self.tasks), channels)
        for name in self.tasks:
            for module in (self.first[name], *self.distillation.modules_of(name)):
                self.own(module, [name])

    def decode(self, image: Tensor, tasks: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Normalised images → features f of all tasks, and distilled ones f̃ of those asked for."""
        shared = self.trunk(image)[-1]
        features = {name: self.decoders[name](shared) for name in self.tasks}
        return features, self.distillation(features, tasks)

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        return {task: [distilled] for task, distilled in self.decode(image, tasks)[1].items()}

    def predict_all(
        self, image: Tensor, tasks: Sequence[str], rows: Rows
    ) -> tuple[dict[str, Tensor], list[tuple[str, Tensor, float]]]:
        features, distilled = self.decode(self.normalised(image), tasks)
        maps = {task: [distilled[task]] for task in tasks}
        return predict_twice(self, self.first, self.first_weight, [features], maps, image, rows)

    def deploy(self) -> nn.Module:
        return shipped(self)

    def plan(self) -> SharingPlan:
        return SharingPlan.shared([unit.name for unit in self.block_units()], list(self.tasks))
