"""How MTSL gives a new unit its weights: learned from the units that it replaces, or their average."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from .._shared.typed_modules import TypedModuleList
from .optimizer_state import average


class Fusion(nn.Module):
    """A group's new unit in the making, and one channel gate per member: c_i(F) = σ(W₂ ReLU(W₁ GAP(F) + b₁) + b₂).

    Args:
        unit: the new unit.
        members: how many units it replaces.
        channels: of its output.
    """

    unit: nn.Module

    def __init__(self, unit: nn.Module, members: int, channels: int) -> None:
        super().__init__()
        self.unit, self.channels = unit, channels
        self.gates = TypedModuleList(
            nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.Sigmoid())
            for _ in range(members)
        )

    def loss(self, student: Tensor, teachers: Sequence[Tensor]) -> Tensor:
        """L_amalgamation of features F_g and F_i, all [B, C, H, W]."""
        student = student.float() if student.dtype != torch.float64 else student
        pooled = student.mean((2, 3))
        terms = [
            F.mse_loss(gate(pooled)[:, :, None, None] * student, teacher.to(student.dtype))
            for gate, teacher in zip(self.gates, teachers, strict=True)
        ]
        return sum(terms[1:], terms[0])


def average_into(unit: nn.Module, members: Sequence[nn.Module]) -> None:
    """Give a unit the mean of its members' parameters and running statistics; equal members keep their function."""
    states = [member.state_dict() for member in members]
    unit.load_state_dict({name: average([state[name] for state in states]) for name in states[0]})


def amalgamation_optimizer(parameters: Sequence[nn.Parameter], rate: float) -> Optimizer:
    """Adam with L2 decay, as published; its learning rate does not follow the schedule."""
    return torch.optim.Adam([{"params": list(parameters), "fixed_lr": True}], lr=rate, weight_decay=5e-5)
