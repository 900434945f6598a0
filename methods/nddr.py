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

import torch
from torch import Tensor, nn

from mtlbench.contract import Architecture, Hyper, Maps, SharingPlan, Uniform

MOMENTUM = 0.05
"""Of the fusion's BatchNorm."""


class Fusion(nn.Module):
    """From the maps of all tasks to a new map for each.

    Args:
        tasks: number of tasks T.
        channels: channels C of the maps.
        own_weight: initial weight α of a task's own map; the others share the rest evenly.
    """

    def __init__(self, tasks: int, channels: int, own_weight: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(tasks * channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels, momentum=MOMENTUM),
                nn.ReLU(inplace=True),
            )
            for _ in range(tasks)
        )
        other = (1.0 - own_weight) / max(tasks - 1, 1)
        for target, layer in enumerate(self.layers):
            shares = torch.full((tasks,), other)
            shares[target] = own_weight if tasks > 1 else 1.0
            weight = torch.cat([share * torch.eye(channels) for share in shares], dim=1)
            layer[0].weight.data.copy_(weight[:, :, None, None])  # type: ignore[index]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """T maps [B, C, H, W] → T fused maps."""
        together = torch.cat(list(maps), dim=1)
        return [layer(together) for layer in self.layers]


class NDDR(Architecture):
    """A network a task; after the stem and every stage each task mixes all tasks' channels by a 1×1 convolution."""

    own_weight: float = Hyper(
        0.9, search=Uniform(0.5, 1.0), check="0 <= v <= 1", help="initial weight of a task's own features"
    )

    def build(self) -> None:
        self.trunks = self.backbone_per_task()
        stem = next(one.num_features for one in self.template.stem.modules() if isinstance(one, nn.BatchNorm2d))
        self.fusions = nn.ModuleList(
            Fusion(len(self.tasks), channels, self.own_weight) for channels in (stem, *self.stage_channels)
        )

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        names, trunks = list(self.tasks), [self.trunks[name] for name in self.tasks]
        x = self.fusions[0]([trunk.stem(image) for trunk in trunks])
        ends, maps = self.template.stage_ends(), {name: [] for name in names}
        for number, stage in enumerate(self.template.stage_of):
            x = [trunk.blocks[number](one) for trunk, one in zip(trunks, x, strict=True)]
            if number in ends:
                x = self.fusions[1 + stage](x)
                for name, one in zip(names, x, strict=True):
                    maps[name].append(one)
        return maps

    def owners(self) -> dict[str, frozenset[str]]:
        owned = super().owners()
        for number, task in enumerate(self.tasks):
            last = f"fusions.{len(self.fusions) - 1}.layers.{number}."  # nothing but the task's head reads it
            owned |= {name: frozenset({task}) for name in owned if name.startswith(last)}
        return owned

    def plan(self) -> SharingPlan:
        return SharingPlan.private([unit.name for unit in self.block_units()], list(self.tasks))
