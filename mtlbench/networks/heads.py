"""Heads: from a trunk's feature maps to one task's prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP


@dataclass(frozen=True)
class HeadSpec:
    """The default heads. All of it is part of the protocol.

    Attributes:
        rates: dilation rates of the ASPP's 3×3 convolutions.
        width: channels inside the dense head.
        dropout: probability inside the ASPP's projection.
    """

    rates: tuple[int, ...] = (12, 24, 36)
    width: int = 256
    dropout: float = 0.5

    def describe(self) -> dict[str, Any]:
        return {"dense": "deeplab_aspp", "image": "pool_linear", **asdict(self)}


class DenseHead(nn.Module):
    """DeepLab v3 head: ASPP (torchvision's), 3×3 convolution, 1×1 convolution (Chen et al., arXiv:1706.05587).

    Reads the last stage's map; its logits stay at that map's resolution.
    """

    def __init__(self, in_channels: int, out_channels: int, spec: HeadSpec) -> None:
        super().__init__()
        self.aspp = ASPP(in_channels, list(spec.rates), spec.width)
        for module in self.aspp.modules():
            if isinstance(module, nn.Dropout):
                module.p = spec.dropout
        self.conv = nn.Sequential(
            nn.Conv2d(spec.width, spec.width, 3, padding=1, bias=False), nn.BatchNorm2d(spec.width), nn.ReLU(inplace=True)
        )
        self.logits = nn.Conv2d(spec.width, out_channels, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return self.logits(self.conv(self.aspp(maps[-1])))


class ImageHead(nn.Module):
    """Global average pooling of the last stage's map and a linear layer."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return self.linear(maps[-1].mean((2, 3)))


def resize(prediction: Tensor, size: tuple[int, int]) -> Tensor:
    """Dense logits at the image's resolution (bilinear, corners not aligned)."""
    if prediction.shape[-2:] == size:
        return prediction
    return F.interpolate(prediction, size, mode="bilinear", align_corners=False)
