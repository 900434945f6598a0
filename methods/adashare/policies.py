"""The tasks' policies: their logits, the gates that the network runs under, and what was drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypedDict

import torch
from torch import Tensor, nn

from .._shared.select_or_skip import Decisions
from .decisions import SELECT, relaxed, sampled
from .regularizers import Form, sharing_loss, sparsity_loss


class Snapshot(TypedDict):
    """The policies after an epoch of policy learning.

    Attributes:
        epoch: counted over the whole trial.
        temperature, gated: τ and n of the epoch's last round.
        probability: π of every task and block.
    """

    epoch: int
    temperature: float
    gated: int
    probability: list[list[float]]


class Policies(nn.Module):
    """One policy per task over L residual blocks.

    The strategy leaves the logits alone: they ask for a gradient in policy steps only.

    Args:
        tasks: their names.
        blocks: L.
        sparsity, sharing: λ_sp and λ_sh.
        form: of both regularizers.

    Attributes:
        gates: task → relaxed or hard decisions [n, 2] of the gated blocks.
        gated: the depths that are gated, the last n; all tasks execute the blocks before.
        samples: policies that were drawn to be retrained.
        history: one snapshot per epoch of policy learning.
    """

    gates: dict[str, Tensor]
    gated: range

    def __init__(self, tasks: Iterable[str], blocks: int, sparsity: float, sharing: float, form: Form) -> None:
        super().__init__()
        self.blocks, self.sparsity, self.sharing, self.form = blocks, sparsity, sharing, form
        start = torch.full((blocks, 2), 0.5)
        self.logits = nn.ParameterDict({task: nn.Parameter(start.clone(), requires_grad=False) for task in tasks})
        self.samples: list[Decisions] = []
        self.history: list[Snapshot] = []
        self.open_gates()

    def by_task(self) -> dict[str, nn.Parameter]:
        """Task → its logits [L, 2]."""
        return dict(self.logits.items())

    def set_gates(self, gates: Mapping[str, Tensor]) -> None:
        """Gate the last n blocks by each task's decisions [n, 2]."""
        (count,) = {len(decisions) for decisions in gates.values()}
        self.gates, self.gated = dict(gates), range(self.blocks - count + 1, self.blocks + 1)

    def open_gates(self) -> None:
        """Let all tasks execute all blocks."""
        self.gates, self.gated = {}, range(0)

    def relax(self, temperature: float, gated: int, noise: Mapping[str, torch.Generator], straight_through: bool) -> None:
        """Gate the last blocks by relaxed decisions, drawn from the tasks' random streams."""
        gates = {}
        for task, logits in self.by_task().items():
            shape = (self.blocks, 2)
            gumbel = -torch.empty(shape, dtype=torch.float64).exponential_(generator=noise[task]).log()
            # In double precision, since differences are divided by τ.
            decisions = relaxed(logits.double(), gumbel.to(logits.device), temperature, straight_through)
            gates[task] = decisions[-gated:].to(logits.dtype)
        self.set_gates(gates)

    def regularization(self, gated: int) -> Tensor:
        """λ_sp L_sparsity + λ_sh L_sharing. (The official code weighs sparsity by depth where sharing is off.)"""
        logits = torch.stack(list(self.by_task().values()))
        price = self.sparsity * sparsity_loss(logits, gated, self.form, depth_weighted=self.sharing == 0)
        return price + self.sharing * sharing_loss(logits, self.form)

    def draw(self, generator: Callable[..., torch.Generator], *name: object) -> Decisions:
        """Bernoulli decisions of every task, from a random stream of its own."""
        decisions: Decisions = {}
        for task, logits in self.by_task().items():
            uniform = torch.rand(self.blocks, generator=generator(*name, task), dtype=torch.float64)
            decisions[task] = sampled(logits.detach().double().cpu(), uniform).tolist()
        return decisions

    def probability(self) -> dict[str, list[float]]:
        """π: task → L values."""
        return {task: logits.detach().softmax(-1)[:, SELECT].tolist() for task, logits in self.by_task().items()}
