"""Mixtures of experts: whole backbones or their last stages, mixed per image by gates.

    f_t(x) = Σ_e g_t(x)_e · f_e(x)        g_t a task's gate, f_e an expert

Experts differ in their initial weights (the first has those of every other method's trunk), unless these are pre-trained.
A gate reads its input averaged over a grid of 4 × 4 cells, so that it fits images of any size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlbench.contract import Architecture, Backbone, Exchange, Hyper, Maps, SharingPlan, UserError

from .typed_modules import TypedModuleDict, TypedModuleList

CELLS = (4, 4)
"""Grid that a gate sees its input on."""

USAGE_MOMENTUM = 0.1
"""Of the running mean of a gate's weights, which is only shown."""


class Gate(nn.Module):
    """How much of each expert, per image. Subclasses make weights and define `mixing`.

    Args:
        channels: of the input.
        experts: their number E.
        cells: the grid that the input is averaged on.

    Attributes:
        inputs: numbers that the gate reads.
        usage: running mean of its weights over training [E].
    """

    usage: Tensor

    def __init__(self, channels: int, experts: int, cells: tuple[int, int] = CELLS) -> None:
        super().__init__()
        self.cells, self.experts = cells, experts
        self.inputs = channels * cells[0] * cells[1]
        self.register_buffer("usage", torch.full((experts,), 1 / experts))

    def mixing(self, x: Tensor) -> Tensor:
        """[B, inputs] → weights [B, E]."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Maps or images [B, C, H, W] → weights [B, E]."""
        weights = self.mixing(F.adaptive_avg_pool2d(x, self.cells).flatten(1))
        if self.training:
            with torch.no_grad():
                self.usage.lerp_(weights.mean(0).to(self.usage), USAGE_MOMENTUM)
        return weights


class SoftmaxGate(Gate):
    """softmax(W x + b)."""

    def __init__(self, channels: int, experts: int, cells: tuple[int, int] = CELLS) -> None:
        super().__init__(channels, experts, cells)
        self.linear = nn.Linear(self.inputs, experts)

    def mixing(self, x: Tensor) -> Tensor:
        weights: Tensor = self.linear(x).softmax(1)
        return weights


def mix(maps: Iterable[Tensor], weights: Tensor) -> Tensor:
    """E maps [B, C, H, W] and weights [B, E] → Σ_e w_e x_e [B, C, H, W]."""
    first, *others = (x * weight.view(-1, 1, 1, 1).to(x.dtype) for x, weight in zip(maps, weights.T, strict=True))
    return sum(others, first)


def mix_levels(outputs: Sequence[Maps], weights: Tensor) -> Maps:
    """The maps of E experts, mixed level by level."""
    return [mix(level, weights) for level in zip(*outputs, strict=True)]


def depths_of(backbone: Backbone) -> list[nn.Module]:
    """The stem, then each stage as one module."""
    by_stage: dict[int, list[nn.Module]] = {}
    for block, stage in zip(backbone.blocks, backbone.stage_of, strict=True):
        by_stage.setdefault(stage, []).append(block)
    return [backbone.stem, *(nn.Sequential(*blocks) for _, blocks in sorted(by_stage.items()))]


class Expert(TypedModuleList[nn.Module]):
    """The depths of a backbone from `first` on (0: the stem)."""

    def __init__(self, backbone: Backbone, first: int) -> None:
        super().__init__(depths_of(backbone)[first:])
        self.first = first

    def forward(self, x: Tensor) -> Maps:
        """The expert's input → one map per stage."""
        maps: Maps = []
        for depth, module in enumerate(self, self.first):
            x = module(x)
            if depth:
                maps.append(x)
        return maps


class MixtureOfExperts(Architecture):
    """Base: what experts begin with, and how they are made, read and shown. Subclasses build experts and gates."""

    expert_depths: int = Hyper(
        5,
        ge=1,
        le=5,
        help="depths (stem, four stages) that every expert has: 5 whole backbones, 1 last stages; the rest is shared",
    )

    def build(self) -> None:
        if self.expert_depths < 5 and len(self.stage_channels) != 4:
            raise UserError(
                f"expert_depths = {self.expert_depths} counts four stages: choose a ResNet, or 5 (whole backbones)."
            )
        self.first = 5 - self.expert_depths
        self.early = nn.ModuleList(depths_of(self.new_backbone())[: self.first])
        self.inputs = [3, self.template.stem_channels, *self.stage_channels]  # channels that each depth reads

    def new_expert(self, *name: object) -> Expert:
        """An expert whose initial weights depend on the seed and its name."""
        return Expert(self.new_backbone(" ".join(map(str, ("expert", *name)))), self.first)

    def shared_experts(self, count: int) -> TypedModuleList[Expert]:
        """Experts of all tasks; the first begins as every other method's trunk does."""
        first = Expert(self.new_backbone(), self.first)
        return TypedModuleList([first, *(self.new_expert("shared", number) for number in range(1, count))])

    def task_experts(self, count: int) -> TypedModuleDict[TypedModuleList[Expert]]:
        """Experts of single tasks."""
        return TypedModuleDict(
            {task: TypedModuleList(self.new_expert(task, number) for number in range(count)) for task in self.tasks}
        )

    def new_gate(self, name: str, depth: int, experts: int) -> Gate:
        """A gate that reads the input of a depth; its initial weights depend on the seed and its name."""
        with self.initial(f"gate {name} {depth}"):
            return self.make_gate(self.inputs[depth], experts)

    def make_gate(self, channels: int, experts: int) -> Gate:
        """A gate of the method's kind."""
        return SoftmaxGate(channels, experts)

    def task_gates(self, experts: int) -> TypedModuleDict[Gate]:
        """One gate per task, its own, which reads what the experts read."""
        gates = TypedModuleDict({task: self.new_gate(task, self.first, experts) for task in self.tasks})
        for task, gate in gates.items():
            self.own(gate, [task])
        return gates

    def run_early(self, image: Tensor) -> tuple[Tensor, Maps]:
        """What all experts share: their input, and the maps of the stages before them."""
        x, maps = image, []
        for depth, module in enumerate(self.early):
            x = module(x)
            if depth:
                maps.append(x)
        return x, maps

    def plan(self) -> SharingPlan:
        return SharingPlan.shared([unit.name for unit in self.stage_units()], list(self.tasks))

    def plan_with_own_experts(self) -> SharingPlan:
        """Shared depths, then depths where each task has experts of its own."""
        depths = tuple(unit.name for unit in self.stage_units())
        together, apart = (0,) * len(self.tasks), tuple(range(1, len(self.tasks) + 1))
        return SharingPlan(
            depths, tuple(self.tasks), tuple(together if depth < self.first else apart for depth in range(len(depths)))
        )


class SharedExperts(MixtureOfExperts):
    """Base of MMoE and its kin: all tasks share all experts, and each mixes them by a gate of its own."""

    num_experts: int = Hyper(3, ge=2, help="experts")

    def build(self) -> None:
        super().build()
        self.experts = self.shared_experts(self.num_experts)
        self.gates = self.task_gates(self.num_experts)

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        x, maps = self.run_early(image)
        outputs = [expert(x) for expert in self.experts]
        return {task: maps + mix_levels(outputs, self.gates[task](x)) for task in tasks}

    def exchange(self) -> list[Exchange]:
        names = [expert_names(self.num_experts)] * len(self.tasks)
        return edges(4, self.first, names, dict(self.gates.items()), list(self.tasks))


def edges(
    depth: int, since: int, names: Sequence[Sequence[str]], gates: Mapping[str, Gate], targets: Sequence[str]
) -> list[Exchange]:
    """What gates have let through on average.

    Args:
        depth, since: last and first depth of the experts.
        names: one sequence of experts' names per target, in the order of the gate's weights. Experts of one name are added.
        gates: by target.
        targets: whose gates.
    """
    weights: dict[tuple[str, str], float] = {}
    for target, sources in zip(targets, names, strict=True):
        for source, weight in zip(sources, gates[target].usage.tolist(), strict=True):
            weights[source, target] = weights.get((source, target), 0.0) + weight
    return [Exchange(depth, source, target, weight, since) for (source, target), weight in weights.items()]


def expert_names(count: int) -> list[str]:
    """Of shared experts, as the plan's picture shows them."""
    return [f"expert {number}" for number in range(1, count + 1)]
