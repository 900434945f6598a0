"""The network that MTSL was published with: the backbone, one more encoder stage, and a decoder of four blocks with skips.

With ResNet-18 it has ten units, channels 64, 64, 128, 256, 512, 2048 and four times 256, and 21.3 M parameters per task
without its head.
"""

from __future__ import annotations

import copy
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlbench.contract import Architecture, Bottleneck, Maps, Unit

WIDTH, INNER, HEAD = 256, 64, 64
"""Channels of the decoder's maps, inside its blocks, and of each map in the heads."""

CLASSIFYING = ("segmentation", "boundaries", "saliency")
"""Kinds of task whose heads end in a 1×1 convolution; others end in a 3×3 one."""


class DecoderBlock(nn.Module):
    """Up-sample to the skip's size, concatenate, and pass through a bottleneck with the up-sampled input as its shortcut.

    Args:
        channels: of the input, which is projected where it is not as wide as the output.
        lateral: channels of the skip.
    """

    def __init__(self, channels: int, lateral: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels + lateral, INNER, 1, bias=False),
            nn.BatchNorm2d(INNER),
            nn.ReLU(inplace=True),
            nn.Conv2d(INNER, INNER, 3, padding=1, bias=False),
            nn.BatchNorm2d(INNER),
            nn.ReLU(inplace=True),
            nn.Conv2d(INNER, WIDTH, 1, bias=False),
            nn.BatchNorm2d(WIDTH),
        )
        self.project = nn.Identity() if channels == WIDTH else nn.Conv2d(channels, WIDTH, 1, bias=False)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
        return F.relu(self.layers(torch.cat([x, skip], 1)) + self.project(x))


class DecoderHead(nn.Module):
    """Every decoder map to 64 channels at the finest map's size, concatenated, then one convolution.

    The published heads end in an activation of the task's range; here the loss takes the raw output, as with every head.
    """

    def __init__(self, channels: int, classifying: bool) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(WIDTH, HEAD, 1, bias=classifying) for _ in range(4))
        self.logits = nn.Conv2d(4 * HEAD, channels, 1 if classifying else 3, padding=0 if classifying else 1)

    def forward(self, maps: Maps) -> Tensor:
        size = maps[-1].shape[-2:]
        resized = [
            F.interpolate(layer(level), size, mode="bilinear", align_corners=False)
            for layer, level in zip(self.lateral, maps, strict=True)
        ]
        logits: Tensor = self.logits(torch.cat(resized, 1))
        return logits


def units(network: Architecture) -> list[Unit]:
    """The backbone's units, the extra stage, and the decoder's blocks, which heads read from coarse to fine."""
    encoder = [Unit(unit.name, unit.make) for unit in network.stage_units()]
    channels = network.stage_channels
    width = channels[-1]
    extra = nn.Sequential(Bottleneck(width, width, 2, 1, 1), Bottleneck(4 * width, width, 1, 1, 1))
    all_units = [*encoder, Unit("extra", _copies(extra))]
    below = 4 * width
    for number, depth in enumerate(reversed(range(1, len(encoder)))):
        block = _copies(DecoderBlock(below, channels[depth - 1]))
        all_units.append(Unit(f"decoder{number + 1}", block, output=True, laterals=(depth,)))
        below = WIDTH
    return all_units


def heads(network: Architecture) -> nn.ModuleDict:
    """One head per task, with initial weights that depend on the seed and the task's name."""
    by_task = {}
    for name, task in network.tasks.items():
        with network.initial(f"head {name}"):
            by_task[name] = (
                DecoderHead(task.channels, task.kind in CLASSIFYING) if task.dense else network.new_head(name, WIDTH)
            )
    return nn.ModuleDict(by_task)


def _copies(module: nn.Module) -> partial[nn.Module]:
    """Makes copies of a module with He's initial weights, as the backbone's."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return partial(copy.deepcopy, module)
