"""Cross-stitch networks (Misra et al., CVPR 2016, arXiv:1604.03539).

In the per-channel form of the survey by Vandenhende et al. (TPAMI 2021, arXiv:2004.13379):

    x̃_i = Σ_j a_ij ⊙ x_j        after every stage, a_ij one weight a channel        (eq. 1)

Legend: i, j tasks; x_j the stage's output in task j's network; a_ii starts at α (`own_weight`), a_ij at (1 − α)/(T − 1).

Deviations from the survey's code: the task networks start from the protocol's initialisation and train from the first
step (there: from trained single-task networks, which costs their training on top); the stitching weights have the
learning rate of all others (there a hundred times as much is set up but, by an oversight, never takes effect).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtlbench.contract import Architecture, Hyper, Maps, SharingPlan, Uniform


class Stitch(nn.Module):
    """Mixes the tasks' feature maps linearly, channel by channel.

    Args:
        tasks: number of tasks T.
        channels: channels C of the maps.
        own_weight: initial weight α of a task's own map; the others share the rest evenly, so that rows sum to 1.
    """

    def __init__(self, tasks: int, channels: int, own_weight: float) -> None:
        super().__init__()
        other = (1.0 - own_weight) / max(tasks - 1, 1)
        weight = torch.full((tasks, tasks, channels), other)
        weight[range(tasks), range(tasks)] = own_weight if tasks > 1 else 1.0
        self.weight = nn.Parameter(weight)  # [target, source, channel]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """T maps [B, C, H, W] → T mixed maps."""
        return [
            sum(source * weight.view(1, -1, 1, 1) for source, weight in zip(maps, row, strict=True))  # type: ignore[misc]
            for row in self.weight
        ]


class CrossStitch(Architecture):
    """Cross-stitch networks: every stage mixes the tasks' features linearly, per channel."""

    own_weight: float = Hyper(
        0.9, search=Uniform(0.5, 1.0), check="0 <= v <= 1", help="initial weight of a task's own features"
    )

    def build(self) -> None:
        self.trunks = self.backbone_per_task()
        self.stitches = nn.ModuleList(Stitch(len(self.tasks), channels, self.own_weight) for channels in self.stage_channels)

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        names, trunks = list(self.tasks), [self.trunks[name] for name in self.tasks]
        x = [trunk.stem(image) for trunk in trunks]
        ends, maps = self.template.stage_ends(), {name: [] for name in names}
        for number, stage in enumerate(self.template.stage_of):
            x = [trunk.blocks[number](one) for trunk, one in zip(trunks, x, strict=True)]
            if number in ends:
                x = self.stitches[stage](x)
                for name, one in zip(names, x, strict=True):
                    maps[name].append(one)
        return maps

    def plan(self) -> SharingPlan:
        return SharingPlan.private([unit.name for unit in self.block_units()], list(self.tasks))
