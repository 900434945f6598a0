"""Merging: one trunk from single-task networks that were trained from a common initialisation. Heads stay per task.

Legend: θ_0 the trunk's initial weights, which all tasks' networks start from: pre-trained ones where the protocol gives
them, else the trial's random ones; θ_t task t's trunk after training; τ_t = θ_t − θ_0 its task vector. Nothing is merged
but the trunks' parameters; BatchNorm's running statistics are averaged, and measured anew by the harness, as always.

The published methods merge networks that were fine-tuned from strong pre-trained weights; from random weights trunks end far
apart, and merging is expected to do badly.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Architecture, Pass, Phase, Run, SharingGraph, SharingPlan, Strategy, on_device

Weights = dict[str, Tensor]
"""A trunk's parameters: depth and name within the unit → value."""


class Merging(Architecture):
    """Base of methods that merge trained single-task networks. A method says how: `merged`.

    The single-task networks' training is the method's: it gets the whole budget, and after its last epoch the trunks are
    merged. Only the merged network can be selected.
    """

    family: ClassVar[str] = "merging"
    shares: ClassVar[bool] = False  # while it is trained: strategies see single-task networks

    def build(self) -> None:
        self.units = self.block_units()
        names = [unit.name for unit in self.units]
        self.shared_plan = SharingPlan.shared(names, list(self.tasks))
        self.graph = SharingGraph(self.units, SharingPlan.private(names, list(self.tasks)))
        self.is_merged, self.alike = False, 0.0

    def merged(self, start: Weights, ends: list[Weights]) -> Weights:
        """θ_0 and the θ_t in task order → the merged trunk's parameters."""
        raise NotImplementedError

    def merge(self) -> None:
        """Replace the tasks' trunks by the merged one."""
        start, ends, private = self.initial_trunk(), self.trunks(), self.graph
        assert private is not None
        vectors = [torch.cat([(end[name] - start[name]).flatten() for name in start]) for end in ends]
        cosines = [float(torch.cosine_similarity(a, b, dim=0)) for a, b in combinations(vectors, 2)]
        self.alike = sum(cosines) / len(cosines) if cosines else 1.0
        with torch.no_grad():
            weights = self.merged(start, ends)
        shared = self.become_merged()
        for depth in range(len(self.units)):
            unit = shared.module(depth, 0)
            own = [private.module(depth, number) for number in range(len(self.tasks))]
            for name, parameter in unit.named_parameters():
                parameter.data.copy_(weights[f"{depth}.{name}"])
            for name, buffer in unit.named_buffers():
                values = [module.get_buffer(name) for module in own]
                buffer.copy_(torch.stack(values).mean(0) if buffer.is_floating_point() else values[0])

    def become_merged(self) -> SharingGraph:
        """Take on the structure of the merged network; returns its trunk, with the trial's initial weights."""
        self.is_merged = True
        vars(self)["shares"] = True  # from now on, and of this network
        self.graph = SharingGraph(self.units, self.shared_plan)
        on_device(self, self.mean.device).train(self.training)
        return self.graph

    def initial_trunk(self) -> Weights:
        """θ_0."""
        made = [unit.make() for unit in self.units]
        return {
            f"{depth}.{name}": value.detach().to(self.mean.device)
            for depth, unit in enumerate(made)
            for name, value in unit.named_parameters()
        }

    def trunks(self) -> list[Weights]:
        """The θ_t, in task order."""
        graph = self.graph
        assert graph is not None
        return [
            {
                f"{depth}.{name}": value.detach()
                for depth in range(len(self.units))
                for name, value in graph.module(depth, number).named_parameters()
            }
            for number in range(len(self.tasks))
        ]

    def structure(self) -> dict[str, Any]:
        return {"merged": self.is_merged, "alike": self.alike}

    def restore_structure(self, structure: dict[str, Any]) -> None:
        self.alike = structure["alike"]
        if structure["merged"]:
            self.become_merged()

    def extra(self) -> dict[str, float]:
        """Mean cosine between two task vectors."""
        return {"cosine of task vectors": self.alike}

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        return [SingleTasks(self, run.budget.epochs, strategy)]

    def last_passes(self, epoch: Pass) -> list[Pass]:
        """What the last epoch of training does, given what it would do. Default: the same."""
        return [epoch]


class SingleTasks(Phase):
    """Train the single-task networks side by side.

    Args:
        merges: whether they are merged after the last epoch.
    """

    def __init__(self, network: Merging, epochs: int, strategy: Strategy, merges: bool = True) -> None:
        super().__init__("single-task", epochs, strategy, selectable=merges)
        self.network, self.merges = network, merges

    def passes(self, epoch: int) -> list[Pass]:
        passes = super().passes(epoch)
        is_last = epoch + 1 == self.epochs
        self.selectable = self.merges and is_last
        return self.network.last_passes(passes[0]) if self.merges and is_last else passes

    def end_epoch(self, epoch: int, losses: dict[str, float]) -> dict[str, Any]:
        logged = super().end_epoch(epoch, losses)
        if self.merges and epoch + 1 == self.epochs:
            self.network.merge()
        return logged


def task_vectors(start: Weights, ends: list[Weights]) -> Tensor:
    """τ: [T, P], all parameters in the order of `start`."""
    return torch.stack([torch.cat([(end[name] - start[name]).flatten() for name in start]) for end in ends])


def moved(start: Weights, vector: Tensor) -> Weights:
    """θ_0 + a vector [P]."""
    pieces = vector.split([value.numel() for value in start.values()])
    return {name: value + piece.view(value.shape) for (name, value), piece in zip(start.items(), pieces, strict=True)}
