"""Single-task networks that cost together what hard sharing costs: a control.

That a shared network does no better than single-task networks of T times its cost says little; here FLOPs are the same.
The width of the task networks' first stage is the whole number at which the FLOPs of all trunks and heads come nearest to
those of one trunk of full width with a head per task. What difference remains is a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mtlbench.contract import Architecture, Backbone, Maps, SharingPlan

from ._shared.side_by_side import typed_trunks

FOUND: dict[tuple[object, ...], tuple[int, float]] = {}
"""What `match` gave for a backbone, heads and size of images: counting FLOPs takes seconds."""


class SingleTaskMatched(Architecture):
    """One network per task, narrowed until all of them cost together what hard sharing costs."""

    family: ClassVar[str] = "control"

    shares: ClassVar[bool] = False

    def build(self) -> None:
        config = self.config
        key = (config.backbone, config.head, config.image_size, *((task.dense, task.channels) for task in config.tasks))
        if key not in FOUND:
            FOUND[key] = self.match()
        self.width, self.relative_flops = FOUND[key]
        trunks = {task: self.new_backbone(width=self.width) for task in self.tasks}
        self.trunks = typed_trunks(nn.ModuleDict(trunks))
        self.heads = nn.ModuleDict({task: self.new_head(task, trunks[task].channels[-1]) for task in self.tasks})
        for task, trunk in self.trunks.items():
            self.own(trunk, [task])

    def match(self) -> tuple[int, float]:
        """The width, and FLOPs of all task networks in units of hard sharing's."""
        full = self.template.stem_channels
        target = self.flops(full, trunks=1)
        low, high = 1, full  # the cost grows with the width: low stays at or below the target
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.flops(middle) <= target else (low, middle)
        flops, width = min(((self.flops(width), width) for width in (low, high)), key=lambda each: abs(each[0] - target))
        return width, flops / target

    def flops(self, width: int, trunks: int | None = None) -> int:
        """FLOPs for one image of some trunks (None: one per task) of a width and all heads; nothing is computed for it."""
        with torch.device("meta"), torch.no_grad():
            image = torch.zeros(1, 3, *self.config.image_size)
            trunk = Backbone(replace(self.config.backbone, pretrained=""), width).eval()
            with FlopCounterMode(display=False) as trunk_flops:
                maps = trunk(image)
            with FlopCounterMode(display=False) as head_flops:
                for task in self.tasks:
                    self.new_head(task, trunk.channels[-1]).eval()(maps)
        return int(trunk_flops.get_total_flops()) * (trunks or len(self.tasks)) + int(head_flops.get_total_flops())

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        return {task: self.trunks[task](image) for task in tasks}

    def plan(self) -> SharingPlan:
        return SharingPlan.private([unit.name for unit in self.block_units()], list(self.tasks))

    def extra(self) -> dict[str, float]:
        return {"width": float(self.width), "FLOPs / hard sharing's": self.relative_flops}
