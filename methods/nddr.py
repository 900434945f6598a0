"""NDDR-CNN: neural discriminative dimensionality reduction (Gao et al., CVPR 2019, arXiv:1801.08297).

As in the survey by Vandenhende et al. (TPAMI 2021, arXiv:2004.13379):

    x̃_i = ReLU(BN(W_i [x_1; …; x_T]))        after the stem and every stage, W_i a 1×1 convolution without bias

Legend: i, j tasks; x_j the map in task j's network; W_i starts with α·I on task i's own channels (`own_weight`) and with
(1 − α)/(T − 1)·I on every other task's; BatchNorm's momentum is 0.05.

Deviations from the survey's code, the same as those of `cross_stitch`: the task networks start from the protocol's
initialisation and train from the first step (there: from trained single-task networks), and the fusion's learning rate is
that of all others (there a hundred times as much is set up but never takes effect). Rows start with the sum 1 for any
number of tasks (there α and β are set apart).
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from mtlbench.contract import Architecture, Exchange, Hyper, Maps, Publication, SharingPlan, Uniform

from ._shared.side_by_side import exchange_between, run_side_by_side, typed_trunks
from ._shared.typed_modules import TypedModuleList

MOMENTUM = 0.05
"""Of the fusion's BatchNorm."""


class FusionLayer(nn.Sequential):
    """The maps of all tasks, concatenated [B, T·C, H, W] → a new map [B, C, H, W] of one of them.

    Args:
        shares: initial weight of each task's map.
        channels: channels C of the maps.
    """

    def __init__(self, shares: Sequence[float], channels: int) -> None:
        mix = nn.Conv2d(len(shares) * channels, channels, 1, bias=False)
        super().__init__(mix, nn.BatchNorm2d(channels, momentum=MOMENTUM), nn.ReLU(inplace=True))
        weight = torch.cat([share * torch.eye(channels) for share in shares], dim=1)
        mix.weight.data.copy_(weight[:, :, None, None])


class Fusion(nn.Module):
    """From the maps of all tasks to a new map for each.

    Args:
        tasks: number of tasks T.
        channels: channels C of the maps.
        own_weight: initial weight α of a task's own map; the others share the rest evenly.
    """

    def __init__(self, tasks: int, channels: int, own_weight: float) -> None:
        super().__init__()
        own, other = own_weight if tasks > 1 else 1.0, (1.0 - own_weight) / max(tasks - 1, 1)
        self.layers = TypedModuleList(
            FusionLayer([own if source == target else other for source in range(tasks)], channels) for target in range(tasks)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """T maps [B, C, H, W] → T fused maps."""
        together = torch.cat(list(maps), dim=1)
        return [layer(together) for layer in self.layers]


class NDDR(Architecture):
    """One network per task; after the stem and every stage each task mixes all tasks' channels by a 1×1 convolution."""

    family: ClassVar[str] = "soft sharing"
    publication: ClassVar[Publication | None] = Publication(
        "Gao et al.",
        "CVPR",
        2019,
        "NDDR-CNN: Layerwise Feature Fusing in Multi-Task CNNs by Neural Discriminative Dimensionality Reduction",
        arxiv="1801.08297",
    )
    compared_with: ClassVar[str] = "code of the survey (Vandenhende et al., TPAMI 2021)"

    own_weight: float = Hyper(0.9, search=Uniform(0.5, 1.0), ge=0, le=1, help="initial weight of a task's own features")

    def build(self) -> None:
        self.trunks = typed_trunks(self.backbone_per_task())
        self.fusions = TypedModuleList(
            Fusion(len(self.tasks), channels, self.own_weight)
            for channels in (self.template.stem_channels, *self.stage_channels)
        )
        for task, layer in zip(self.tasks, self.fusions[-1].layers, strict=True):
            self.own(layer, [task])  # nothing but the task's head reads it

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        def mix(stage: int, maps: list[Tensor]) -> list[Tensor]:
            fused: list[Tensor] = self.fusions[stage](maps)
            return fused

        return run_side_by_side(self.trunks, image, mix)

    def plan(self) -> SharingPlan:
        return SharingPlan.private([unit.name for unit in self.block_units()], list(self.tasks))

    def exchange(self) -> list[Exchange]:
        """Each source's share of the norm of a target's fusion weights."""
        tasks = list(self.tasks)
        weights: list[Tensor] = []
        for fusion in self.fusions:
            rows = [layer.get_parameter("0.weight").detach()[:, :, 0, 0].chunk(len(tasks), dim=1) for layer in fusion.layers]
            norms = torch.stack([torch.stack([block.norm() for block in row]) for row in rows])
            weights.append(norms / norms.sum(1, keepdim=True))
        return exchange_between(tasks, [0, *(1 + end for end in self.template.stage_ends())], weights)
