"""What methods share that search for a structure with one set of weights and train it with another."""

from __future__ import annotations

from torch import nn

from mtlbench.contract import Architecture, SharingGraph, on_device


def restart_with(graph: SharingGraph, network: Architecture) -> None:
    """Give a network a new graph and new heads: all of its weights become the trial's initial ones.

    Device, memory layout and training mode stay as they are.
    """
    network.graph = graph
    network.heads = nn.ModuleDict({task: network.new_head(task) for task in network.tasks})
    on_device(network, network.mean.device).train(network.training)
