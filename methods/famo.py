"""FAMO: fast adaptive multitask optimization (Liu et al., NeurIPS 2023, arXiv:2306.03792, algorithm 2)."""

from typing import ClassVar

import torch
from torch import nn

from mtlbench.contract import Batch, Hyper, LogUniform, Publication, Strategy, TaskLosses

_TINY = 1e-8


class FAMO(Strategy):
    """Let all losses fall at the same rate, judged by what the last step did to them.

        θ:  descend  c · Σ_t z_t log L_t,        z = softmax(ξ),  c = 1 / Σ_t (z_t / L_t)  (a constant)
        ξ:  Adam on  Jᵀ δ,                       δ_t = log L_t(before) − log L_t(after),  J = ∂z/∂ξ

    The losses after the step come from a second forward pass on the same batch, without gradients and in training mode:
    BatchNorm's running statistics see every batch twice, and dropout draws another mask (both as in the official code).
    The official trainer also clips the gradient's norm at 1; here the protocol decides that. ξ keeps its own learning
    rate whatever the schedule.
    """

    family: ClassVar[str] = "loss weighting"
    publication: ClassVar[Publication | None] = Publication(
        "Liu et al.", "NeurIPS", 2023, "FAMO: Fast Adaptive Multitask Optimization", arxiv="2306.03792"
    )
    compared_with: ClassVar[str] = "official code"

    invariances: ClassVar[frozenset[str]] = frozenset({"task_order", "loss_scale"})

    logit_lr: float = Hyper(0.025, search=LogUniform(1e-3, 0.1), gt=0, help="learning rate of the weights' logits ξ")
    gamma: float = Hyper(1e-3, search=LogUniform(1e-5, 1e-1), ge=0, help="weight decay of the logits ξ")

    def setup(self) -> None:
        self.logits = nn.ParameterList([self.learn(torch.tensor(0.0)) for _ in self.tasks])

    def start(self) -> None:
        weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        logits = torch.optim.Adam(self.logits, lr=self.logit_lr, weight_decay=self.gamma)
        logits.param_groups[0].update(peak_lr=self.logit_lr, fixed_lr=True)
        self.optimizers = {"weights": self.run.optimizer.build([{"params": weights}]), "logits": logits}

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        if not losses:
            return losses
        logits = [self.logits[self.tasks.index(task)] for task in losses]
        z = torch.softmax(torch.stack(logits), 0)
        values = torch.stack(list(losses.values())) + _TINY
        before, fixed = values.detach(), z.detach()
        self.descend((fixed * values.log()).sum() / (fixed / before).sum())

        with torch.no_grad():
            after = torch.stack(list(self.losses(batch, tuple(losses)).values())) + _TINY
        self.optimizers["logits"].zero_grad(set_to_none=True)
        change = (before.log() - after.log()).to(z.dtype)
        for logit, gradient in zip(logits, torch.autograd.grad(z, logits, change), strict=True):
            logit.grad = gradient
        self.optimizers["logits"].step()
        return losses
