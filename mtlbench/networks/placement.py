"""Where networks live, and how their weights lie in memory."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def on_device(network: Network, device: torch.device) -> Network:
    """The network moved to a device, four-dimensional weights channels-last: convolutions are faster so, on CPUs too."""
    network.to(device)
    return network.to(memory_format=torch.channels_last)
