"""How AdaMerging's coefficients are learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mtlbench.contract import Batch, Pass, Phase, Strategy, TaskLosses, detached

if TYPE_CHECKING:
    from . import AdaMerging

PUBLISHED_RATE, TRAVEL = 1e-3, 0.5
"""Adam's rate over 500 steps; how far a coefficient can go at least, at one rate per step."""


class Adapting(Phase):
    """Learn the coefficients; trunks and heads stand still."""

    def __init__(self, network: AdaMerging, epochs: int, strategy: Strategy) -> None:
        super().__init__("adapting", epochs, strategy)
        self.network, self.run = network, strategy.run

    def begin(self) -> None:
        self.network.merge()

    def prepare(self) -> None:
        network = self.network
        steps = self.epochs * max(1, self.run.images_per_epoch // self.run.batch_size)
        rate = min(max(PUBLISHED_RATE, TRAVEL / steps), 0.1) if network.rate == "auto" else network.rate
        self.optimizer = torch.optim.Adam([{"params": [network.coefficients], "fixed_lr": True}], lr=rate)
        self.initial, self.ends = network.initial_trunk(), network.trunks()

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {"coefficients": self.optimizer}

    def passes(self, epoch: int) -> list[Pass]:
        return [Pass(self.step, kind="adapting")]

    def step(self, batch: Batch) -> TaskLosses:
        """One Adam step of the coefficients."""
        network = self.network
        with torch.enable_grad(), self.run.autocast():
            network.coefficients.requires_grad_(True)
            losses = network.losses_with(batch, self.initial, self.ends)
            if losses:
                objective = torch.stack(list(losses.values())).sum()
                (network.coefficients.grad,) = torch.autograd.grad(objective, [network.coefficients])
            network.coefficients.requires_grad_(False)
        if losses:
            self.optimizer.step()
        return {task: loss for task, loss in detached(losses).items() if batch.has_labels(task)}

    def end_epoch(self, epoch: int, losses: dict[str, float]) -> dict[str, Any]:
        network, graph = self.network, self.network.graph
        assert graph is not None
        own = dict(graph.named_parameters())
        with torch.no_grad():
            for name, value in network.merged(self.initial, self.ends).items():
                own[variant_name(name)].copy_(value)
        return {"mean coefficient": network.extra()["mean coefficient"]}


def variant_name(name: str) -> str:
    """A parameter's name in the merged graph: "2.conv1.weight" → "variants.2_0.conv1.weight"."""
    depth, _, rest = name.partition(".")
    return f"variants.{depth}_0.{rest}"


def entropy(prediction: Tensor) -> Tensor:
    """The mean entropy of class logits [B, C, ...]."""
    return -(prediction.softmax(1) * prediction.log_softmax(1)).sum(1).mean()
