"""Residual blocks with the addition outside: what is executed and what is passed on can be told apart.

A block maps x to ReLU(S(x) + F(x)). Skipping it passes on S(x), *without* the ReLU. S is the identity, or the stage's
projection (1×1 convolution and BatchNorm) where the stride or the width changes; a skipped block still projects.
Parameter names are torchvision's, so that its weights load.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Base of the two block kinds; subclasses define `residual`."""

    expansion = 1
    downsample: nn.Module | None

    def residual(self, x: Tensor) -> Tensor:
        """F(x): the block's own layers, no activation at the end."""
        raise NotImplementedError

    def shortcut(self, x: Tensor) -> Tensor:
        """S(x): the identity or the projection."""
        return x if self.downsample is None else self.downsample(x)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(skipped, executed): S(x) and ReLU(S(x) + F(x)), with S computed once."""
        skipped = self.shortcut(x)
        return skipped, F.relu(skipped + self.residual(x))

    def skip(self, x: Tensor) -> Tensor:
        """The output of a skipped block."""
        return self.shortcut(x)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.residual(x))


class BasicBlock(ResidualBlock):
    """Two 3×3 convolutions (ResNet-18 and -34). Unlike torchvision's it can be dilated.

    Args:
        in_channels, width: channels of input and output.
        stride: of the first convolution.
        dilation: of both convolutions; `first_dilation` overrides it for the first one.
    """

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, first_dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, first_dilation, first_dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = projection(in_channels, width, stride)

    def residual(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))


class Bottleneck(ResidualBlock):
    """1×1, 3×3 (stride and dilation here, as in torchvision), 1×1 convolutions (ResNet-50)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, first_dilation: int) -> None:
        super().__init__()
        out = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, first_dilation, first_dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = projection(in_channels, out, stride)

    def residual(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


class ShortcutOnly(nn.Module):
    """What remains of a block that no task executes: its shortcut."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.downsample = block.downsample

    def skip(self, x: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(x)

    forward = skip


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """The shortcut's 1×1 convolution and BatchNorm; None where the identity fits."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))
