"""The LeNet of MultiMNIST: two convolutions and a fully connected layer as units of a sharing graph, and its heads.

Sener and Koltun, NeurIPS 2018, arXiv:1810.04650 (`multi_lenet.py` of their code). Two facts of that code are kept, since
published numbers depend on them:
  - Dropout in the trunk drops whole channels, the same ones for all images of a batch. Whatever runs on one trunk has one
    mask, so tasks that share the trunk share it.
  - Nothing is rescaled by 1 / (1 − p): evaluation sees activations twice as large as training does on average.
Every head draws a mask of its own, per image and unit. (In the code, too: its training loop keeps one mask per task.)

The code has one input channel. Here images have three, and the stem takes their mean, which is the same for grey images.
The fully connected layer is a convolution as large as its input map, with the same weights in another shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlbench.errors import UserError

SIDE = 28
"""Height and width of the images in pixels: the fully connected layer has an input for each place of a 4 × 4 map."""

WIDTHS = (10, 20, 50)
"""Channels after the stem, the second convolution, and the fully connected layer."""

KEEP = 0.5
"""Probability that dropout keeps a channel or unit."""


@dataclass(frozen=True)
class LeNetLayout:
    """What tells one LeNet from another.

    Attributes:
        dropout: whether channels and units are dropped, as Sener and Koltun do, and PaMaL does not.
    """

    dropout: bool


LENETS: dict[str, LeNetLayout] = {
    "multi_lenet": LeNetLayout(dropout=True),
    "multi_lenet_no_dropout": LeNetLayout(dropout=False),
}


class PlainBlock(nn.Module):
    """A block without a shortcut: it cannot be skipped."""

    def skip(self, x: Tensor) -> Tensor:
        """Raises UserError: there is nothing to pass on instead."""
        raise UserError("A block of a LeNet has no shortcut and cannot be skipped: choose a ResNet as backbone.")

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Raises UserError, as `skip` does."""
        return self.skip(x), x


class FirstConvolution(nn.Module):
    """The stem: [B, 3, 28, 28] → [B, 10, 12, 12]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, WIDTHS[0], 5)

    def forward(self, image: Tensor) -> Tensor:
        return F.relu(F.max_pool2d(self.conv(image.mean(1, keepdim=True)), 2))


class SecondConvolution(PlainBlock):
    """[B, 10, 12, 12] → [B, 20, 4, 4], with channels dropped between convolution and pooling."""

    def __init__(self, dropout: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDTHS[0], WIDTHS[1], 5)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.training and self.dropout:
            x = x * torch.bernoulli(torch.full((1, x.shape[1], 1, 1), KEEP, dtype=x.dtype, device=x.device))
        return F.relu(F.max_pool2d(x, 2))


class FullyConnected(PlainBlock):
    """[B, 20, 4, 4] → [B, 50, 1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDTHS[1], WIDTHS[2], 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))


class LeNetHead(nn.Module):
    """Fully connected layers C → 50 → `out_channels` on the last map, units of the first dropped."""

    def __init__(self, in_channels: int, out_channels: int, dropout: bool) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_channels, WIDTHS[2])
        self.linear = nn.Linear(WIDTHS[2], out_channels)
        self.dropout = dropout

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        x = F.relu(self.hidden(maps[-1].mean((2, 3))))
        if self.training and self.dropout:
            x = x * torch.bernoulli(torch.full_like(x, KEEP))
        logits: Tensor = self.linear(x)
        return logits


def require_small_images(name: str, size: tuple[int, int]) -> None:
    """Raise UserError unless images have the size that the fully connected layer is made for."""
    if size != (SIDE, SIDE):
        raise UserError(
            f"{name} is made for images of {SIDE} × {SIDE} pixels, these have {size[0]} × {size[1]}: choose a ResNet as "
            f"backbone, or, with multimnist, the option shrink={SIDE}."
        )
