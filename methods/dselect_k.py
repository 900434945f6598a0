"""DSelect-k (Hazimeh et al., NeurIPS 2021, arXiv:2106.03760).

A task's gate is a mixture of k selectors, each of which ends in choosing a single expert:

    g(x) = Σ_{i ≤ k} softmax(α(x))_i r(z_i(x)),   r(z)_e = Π_b S(z_b) if bit b of e is 1 else 1 − S(z_b)
    S(t) = 0 for t ≤ −γ/2,  1 for t ≥ γ/2,  −2/γ³ t³ + 3/(2γ) t + 1/2 between

    loss += λ Σ (−r log r)  (+ Σ 1 / Σ_e r_e where the number of experts is no power of two)

Legend: e experts, numbered in m = ⌈log₂ E⌉ bits; α, z linear in the gate's input; λ `entropy`. Both sums are over images and
selectors.

Deviations: those of `mmoe`. LibMTL back-propagates the penalty of the last task alone, and its smooth step ignores the γ
that is set; here every task's penalty is part of its loss, averaged over images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from mtlbench.contract import Batch, Hyper, LogUniform, Publication, TaskLosses

from ._shared.experts import CELLS, Gate, SharedExperts

EPSILON = 1e-6


def smooth_step(t: Tensor, gamma: float) -> Tensor:
    """S(t): 0 below −γ/2, 1 above γ/2, a cubic between."""
    t = t.clamp(-gamma / 2, gamma / 2)
    return -2 / gamma**3 * t**3 + 3 / (2 * gamma) * t + 0.5


class SelectorGate(Gate):
    """k selectors, each a product of smooth steps over the bits of an expert's number.

    Args:
        selectors: their number k.
        gamma: width γ of the smooth step.
    """

    codes: Tensor

    def __init__(self, channels: int, experts: int, selectors: int, gamma: float, cells: tuple[int, int] = CELLS) -> None:
        super().__init__(channels, experts, cells)
        self.selectors, self.gamma = selectors, gamma
        bits = math.ceil(math.log2(experts))
        codes = torch.tensor([[bool(number >> bit & 1) for bit in reversed(range(bits))] for number in range(experts)])
        self.register_buffer("codes", codes, persistent=False)  # [E, m]
        self.z, self.alpha = nn.Linear(self.inputs, selectors * bits), nn.Linear(self.inputs, selectors)
        for parameter in self.z.parameters():
            nn.init.uniform_(parameter, -gamma / 100, gamma / 100)
        for parameter in self.alpha.parameters():
            nn.init.uniform_(parameter, -0.05, 0.05)
        self.chosen: list[Tensor] | None = None  # collected while losses are computed

    def mixing(self, x: Tensor) -> Tensor:
        steps = smooth_step(self.z(x).float().view(x.shape[0], self.selectors, 1, -1), self.gamma)
        chosen = torch.where(self.codes, steps, 1 - steps).prod(3)  # [B, k, E]
        if self.chosen is not None:
            self.chosen.append(chosen)
        return torch.einsum("bk,bke->be", self.alpha(x).float().softmax(1), chosen)


def penalty(chosen: Tensor, weight: float) -> Tensor:
    """Mean over images of λ Σ (−r log r), and of Σ 1 / Σ_e r_e where some codes are no expert's. `chosen`: [B, k, E]."""
    entropy = -weight * (chosen * (chosen + EPSILON).log()).sum((1, 2))
    if chosen.shape[2] & (chosen.shape[2] - 1):
        entropy = entropy + (1 / (chosen.sum(2) + EPSILON)).sum(1)
    return entropy.mean()


class DSelectK(SharedExperts):
    """MMoE whose gates learn to choose at most k experts per task and image."""

    family: ClassVar[str] = "mixture of experts"
    publication: ClassVar[Publication | None] = Publication(
        "Hazimeh et al.",
        "NeurIPS",
        2021,
        "DSelect-k: Differentiable Selection in the Mixture of Experts with Applications to Multi-Task Learning",
        arxiv="2106.03760",
    )
    compared_with: ClassVar[str] = "LibMTL"

    num_experts: int = Hyper(4, ge=2, help="experts")
    num_selectors: int = Hyper(2, ge=1, help="k, the most experts that a task uses on one image once its gate has decided")
    gamma: float = Hyper(1.0, search=LogUniform(0.1, 10.0), gt=0, help="width of the smooth step")
    entropy: float = Hyper(1e-6, search=LogUniform(1e-6, 0.1), ge=0, help="weight of the selectors' entropy in the loss")

    def make_gate(self, channels: int, experts: int) -> Gate:
        return SelectorGate(channels, experts, self.num_selectors, self.gamma)

    def losses(self, batch: Batch, tasks: Sequence[str] | None = None) -> TaskLosses:
        for gate in self.selector_gates().values():
            gate.chosen = []
        losses = super().losses(batch, tasks)
        for task, gate in self.selector_gates().items():
            if task in losses and gate.chosen:
                losses[task] = losses[task] + penalty(gate.chosen[0], self.entropy)
            gate.chosen = None
        return losses

    def selector_gates(self) -> dict[str, SelectorGate]:
        """The tasks' gates."""
        return {task: gate for task, gate in self.gates.items() if isinstance(gate, SelectorGate)}
