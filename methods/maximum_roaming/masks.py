"""Masks of maximum roaming, and trunks that share their parameters but not their masks and statistics."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mtlbench.contract import Backbone


class MaskedNorm(nn.Module):
    """BatchNorm whose channels one task uses in part.

    Attributes:
        mask: [C] of zeros and ones: the channels in use.
        used: bool [C]: those that the task uses or has used.
    """

    mask: Tensor
    used: Tensor

    def __init__(self, norm: nn.BatchNorm2d, mask: Tensor) -> None:
        super().__init__()
        self.norm = norm
        self.register_buffer("mask", mask.float())
        self.register_buffer("used", mask.bool())

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → the same, zero where the mask is."""
        normalised: Tensor = self.norm(x)
        return normalised * self.mask.view(1, -1, 1, 1)

    def roam(self, generator: torch.Generator) -> None:
        """Give up a channel for one that was never used, if there is one."""
        new, own = (~self.used).nonzero().flatten().tolist(), self.mask.nonzero().flatten().tolist()
        if new:
            given_up, taken = (which[int(torch.randint(len(which), (), generator=generator))] for which in (own, new))
            self.mask[given_up], self.mask[taken] = 0.0, 1.0
            self.used[taken] = True


def tie(trunk: Backbone, shared: Backbone) -> None:
    """Give a trunk the parameters of another of the same layout; its running statistics stay its own."""
    for module, other in zip(trunk.modules(), unmasked(shared), strict=True):
        for name, parameter in list(other.named_parameters(recurse=False)):
            setattr(module, name, parameter)


def unmasked(trunk: nn.Module) -> Iterator[nn.Module]:
    """All modules of a trunk, without masks."""
    return (module for module in trunk.modules() if not isinstance(module, MaskedNorm))


def mask_norms(trunk: nn.Module, number: int, tasks: int, share: float, draws: torch.Generator) -> None:
    """Mask every BatchNorm of a trunk for the task of that number."""
    for name, child in list(trunk.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            setattr(trunk, name, MaskedNorm(child, initial_mask(child.num_features, number, tasks, share, draws)))
        else:
            mask_norms(child, number, tasks, share, draws)


def initial_mask(channels: int, number: int, tasks: int, share: float, draws: torch.Generator) -> Tensor:
    """A task's channels at first, bool [C]: every T-th, so that each is somebody's, and random ones up to the share."""
    mask = torch.arange(channels) % tasks == number % tasks
    wanted = channels - int((1 - share) * channels + 1e-9)
    order = torch.rand(channels, generator=draws).argsort()
    others = [at for at in order.tolist() if not mask[at]]
    mask[others[: max(0, wanted - int(mask.sum()))]] = True
    return mask
