"""Cross-stitch networks (Misra et al., CVPR 2016, arXiv:1604.03539).

In the per-channel form of the survey by Vandenhende et al. (TPAMI 2021, arXiv:2004.13379):

    x̃_i = Σ_j a_ij ⊙ x_j        after every stage, a_ij one weight per channel      (eq. 1)

Legend: i, j tasks; x_j the stage's output in task j's network; a_ii starts at α (`own_weight`), a_ij at (1 − α)/(T − 1).

Deviations from the survey's code: the task networks start from the protocol's initialisation and train from the first
step (there: from trained single-task networks, which costs their training on top); the stitching weights have the
learning rate of all others (there a hundred times as much is set up but, by an oversight, never takes effect).
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from mtlbench.contract import Architecture, Exchange, Hyper, Maps, Publication, SharingPlan, Uniform

from ._shared.side_by_side import exchange_between, run_side_by_side, typed_trunks
from ._shared.typed_modules import TypedModuleList


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
        mixed: list[Tensor] = []
        for row in self.weight:
            first, *others = (source * weight.view(1, -1, 1, 1) for source, weight in zip(maps, row, strict=True))
            mixed.append(sum(others, first))
        return mixed


class CrossStitch(Architecture):
    """Cross-stitch networks: every stage mixes the tasks' features linearly, per channel."""

    family: ClassVar[str] = "soft sharing"
    publication: ClassVar[Publication | None] = Publication(
        "Misra et al.", "CVPR", 2016, "Cross-Stitch Networks for Multi-Task Learning", arxiv="1604.03539"
    )
    compared_with: ClassVar[str] = "code of the survey (Vandenhende et al., TPAMI 2021)"

    own_weight: float = Hyper(0.9, search=Uniform(0.5, 1.0), ge=0, le=1, help="initial weight of a task's own features")

    def build(self) -> None:
        self.trunks = typed_trunks(self.backbone_per_task())
        self.stitches = TypedModuleList(
            Stitch(len(self.tasks), channels, self.own_weight) for channels in self.stage_channels
        )

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        def mix(stage: int, maps: list[Tensor]) -> list[Tensor]:
            return self.stitches[stage - 1](maps) if stage else maps

        return run_side_by_side(self.trunks, image, mix)

    def plan(self) -> SharingPlan:
        return SharingPlan.private([unit.name for unit in self.block_units()], list(self.tasks))

    def exchange(self) -> list[Exchange]:
        """Mean weight over the channels."""
        depths = [1 + end for end in self.template.stage_ends()]
        return exchange_between(list(self.tasks), depths, [stitch.weight.detach().mean(2) for stitch in self.stitches])
