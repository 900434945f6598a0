"""GradNorm (Chen et al., ICML 2018, arXiv:1711.02257, eq. 1-2 and algorithm 1)."""

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Batch, Hyper, LogUniform, Publication, Strategy, TaskLosses, Uniform

_LOWEST = 1e-3
"""The least weight of a task: a large step must not turn a task's gradient round."""

_TINY = 1e-12
"""Keeps the rate of a task whose loss is 0 finite."""

_REACHED = 1e-6
"""Of the largest norm: less is no gradient of the task's loss, but what an auxiliary term leaves."""


class GradNorm(Strategy):
    """Learn loss weights that let all tasks train at similar rates.

        G_t = ‖∇_W w_t L_t‖,   r_t = (L_t / L_t(0)) / mean,   minimise Σ_t |G_t − Ḡ r_t^α| over w,  then let Σ w_t = T

    Legend: W the last shared layer; L_t(0) the task's loss on its first batch; the target Ḡ r_t^α is a constant. The w_t
    make plain gradient steps of a fixed size, as in the paper's algorithm, and act from the next batch on.

    W is the last layer of the parameters that most tasks own; its gradients need only the heads' backward passes. Tasks
    whose own loss does not reach it (in networks that share nothing yet) keep their weights.
    """

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Chen et al.",
        "ICML",
        2018,
        "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks",
        arxiv="1711.02257",
    )
    compared_with: ClassVar[str] = "code of Pascal et al., 2021"

    needs_sharing: ClassVar[bool] = True
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    weight: Tensor
    initial: Tensor
    alpha: float = Hyper(1.5, search=Uniform(0.0, 3.0), ge=0, help="α: how strongly slow tasks are pulled along")
    weight_lr: float = Hyper(0.025, search=LogUniform(1e-3, 0.1), gt=0, help="step size of the weights w")

    def setup(self) -> None:
        count, device = len(self.tasks), self.run.device
        self.register_buffer("weight", torch.ones(count, device=device))
        self.register_buffer("initial", torch.full((count,), float("nan"), device=device))

    def start(self) -> None:
        super().start()
        owners = self.network.owners()
        layers = [
            (len(owners[name]), weight)
            for name, weight in self.network.named_parameters()
            if weight.requires_grad and weight.ndim > 1
        ]
        most = max(count for count, _ in layers)
        # In a list, or it would count as a parameter of the strategy.
        self.last_shared = [weight for count, weight in layers if count == most][-1:]

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        if not losses:
            return losses
        rows = torch.tensor([self.tasks.index(task) for task in losses], device=self.weight.device)
        norms = torch.stack([self.norm(loss) for loss in losses.values()])
        weights = self.weight[rows]
        self.descend({task: weight * loss for (task, loss), weight in zip(losses.items(), weights, strict=True)})
        self.balance(rows, norms, torch.stack(list(losses.values())).detach())
        return losses

    def norm(self, loss: Tensor) -> Tensor:
        """‖∇_W L‖; the graph is kept for the descent."""
        (gradient,) = torch.autograd.grad(loss, self.last_shared, retain_graph=True, allow_unused=True)
        norm: Tensor = torch.zeros_like(loss) if gradient is None else gradient.norm()
        return norm

    def gradient(self, rows: Tensor, norms: Tensor, losses: Tensor) -> Tensor:
        """∂ Σ_t |G_t − Ḡ r_t^α| / ∂w_t for the given tasks (rows of `weight`)."""
        scaled = self.weight[rows] * norms
        rates = losses / self.initial[rows].clamp(min=_TINY)
        target = scaled.mean() * (rates / rates.mean().clamp(min=_TINY)) ** self.alpha
        return torch.sign(scaled - target) * norms

    def balance(self, rows: Tensor, norms: Tensor, losses: Tensor) -> None:
        """Step the weights of the batch's tasks and renormalise all."""
        first = self.initial[rows]
        self.initial[rows] = torch.where(first.isnan(), losses.to(first), first)
        reached = norms > _REACHED * norms.max()
        if int(reached.sum()) < 2:
            return
        rows, norms, losses = rows[reached], norms[reached], losses[reached]
        moved = self.weight[rows] - self.weight_lr * self.gradient(rows, norms, losses)
        self.weight[rows] = moved.clamp(min=_LOWEST).to(self.weight)
        self.weight *= len(self.tasks) / self.weight.sum()
