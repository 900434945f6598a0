"""Auto-λ (Liu et al., TMLR 2022, arXiv:2202.03091).

    θ' = θ − lr ∇_θ Σ_t λ_t L_t(θ; train),      λ:  Adam on  ∂/∂λ_t Σ_{p primary} L_p(θ'; held out)
    that derivative is  −lr d · ∇L_t(θ) ≈ −lr (L_t(θ + ε d) − L_t(θ − ε d)) / 2ε,    d = ∇_{θ'} Σ_p L_p,    ε = 0.01 / ‖d‖
    θ:  descend  Σ_t λ_t L_t on the whole batch, with the new λ

Legend: `train` and `held out` the two halves of the training batch, none of it from val. Before the gradient of θ' the
momentum of SGD and the weight decay are added as SGD would; other optimizers take a plain gradient step there, as in the
authors' code.

Deviations from the authors' code: there the held-out images are a second batch of train, so that an epoch passes all images
twice; here both are halves of one batch, which keeps the number of images equal. Weights are put back as they were, not by
adding and subtracting.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from mtlbench.contract import Batch, Hyper, LogUniform, Publication, Strategy, TaskLosses, Uniform, UserError, total

_RADIUS = 0.01
"""How far the finite difference goes, in units of the weights: ε ‖d‖."""


class AutoLambda(Strategy):
    """Learn the weights of the losses by what a step with them does to images that it did not see.

    λ keeps its own learning rate whatever the schedule, and may become negative. BatchNorm's running statistics see the
    halves as well as the batch.
    """

    family: ClassVar[str] = "bilevel"
    publication: ClassVar[Publication | None] = Publication(
        "Liu et al.", "TMLR", 2022, "Auto-Lambda: Disentangling Dynamic Task Relationships", arxiv="2202.03091"
    )
    compared_with: ClassVar[str] = "official code"
    passes: ClassVar[str] = "3 forward, 2 backward"
    invariances: ClassVar[frozenset[str]] = frozenset({"task_order"})

    initial: float = Hyper(0.1, search=Uniform(0.05, 1.0), gt=0, help="λ at the start, for every task")
    weight_lr: float = Hyper(1e-4, search=LogUniform(1e-5, 1e-2), gt=0, help="learning rate of λ")
    primary: tuple[str, ...] = Hyper((), help="tasks whose held-out loss counts; none named: all")

    def setup(self) -> None:
        if unknown := sorted(set(self.primary) - set(self.tasks)):
            raise UserError(f"auto_lambda: primary names {unknown[0]!r}, but the tasks are {', '.join(self.tasks)}.")
        self.task_weights = nn.ParameterList([self.learn(torch.tensor(self.initial)) for _ in self.tasks])

    def start(self) -> None:
        weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        task_weights = torch.optim.Adam(self.task_weights, lr=self.weight_lr)
        task_weights.param_groups[0].update(peak_lr=self.weight_lr, fixed_lr=True)
        self.optimizers = {"weights": self.run.optimizer.build([{"params": weights}]), "task weights": task_weights}

    def step(self, batch: Batch) -> TaskLosses:
        # A batch of fewer than four images is both halves.
        halves = batch.pieces(2)
        self.meta_step(halves[0], halves[-1])
        losses = self.losses(batch)
        self.descend(self.weighted(losses))
        return losses

    def weighted(self, losses: TaskLosses) -> TaskLosses:
        """The losses times their λ, which is a constant here."""
        task_weights = dict(zip(self.tasks, self.task_weights, strict=True))
        return {task: task_weights[task].detach() * loss for task, loss in losses.items()}

    def meta_step(self, train: Batch, held_out: Batch) -> None:
        """Move λ. The network's weights are the same afterwards."""
        losses = self.losses(train)
        if not losses:
            return
        (group,) = self.optimizers["weights"].param_groups
        weights, lr = group["params"], group["lr"]
        origin = [weight.detach().clone() for weight in weights]
        gradients = torch.autograd.grad(total(self.weighted(losses)), weights, allow_unused=True)
        virtual = [self.descent(weight, gradient) for weight, gradient in zip(weights, gradients, strict=True)]
        self.place(weights, origin, virtual, -lr)
        judged = self.losses(held_out, self.primary or None)
        directions = torch.autograd.grad(total(judged), weights, allow_unused=True) if judged else []
        norms = [direction.norm() for direction in directions if direction is not None]
        length = float(torch.stack(norms).norm()) if norms else 0.0
        differences: TaskLosses = {}
        if length > 0:
            epsilon = _RADIUS / length
            with torch.no_grad():
                self.place(weights, origin, directions, epsilon)
                with torch.random.fork_rng([self.run.device] if self.run.device.type == "cuda" else []):
                    ahead = self.losses(train)
                # From the same random state: another dropout mask would change the losses more than the weights do.
                self.place(weights, origin, directions, -epsilon)
                behind = self.losses(train)
            differences = {task: (ahead[task] - behind[task]) / (2 * epsilon) for task in losses}
        self.place(weights, origin, [None] * len(weights), 0.0)
        self.optimizers["task weights"].zero_grad(set_to_none=True)
        for task, task_weight in zip(self.tasks, self.task_weights, strict=True):
            if task in differences:
                task_weight.grad = (-lr * differences[task]).to(task_weight)
        self.optimizers["task weights"].step()

    def descent(self, weight: nn.Parameter, gradient: Tensor | None) -> Tensor | None:
        """What the virtual step subtracts, but for the learning rate; None for a weight without gradient."""
        if gradient is None:
            return None
        optimizer = self.optimizers["weights"]
        (group,) = optimizer.param_groups
        gradient = gradient + group["weight_decay"] * weight.detach()
        momentum = optimizer.state[weight].get("momentum_buffer") if weight in optimizer.state else None
        return gradient if momentum is None else gradient + group["momentum"] * momentum

    @torch.no_grad()
    def place(
        self, weights: Sequence[Tensor], origin: Sequence[Tensor], directions: Sequence[Tensor | None], step: float
    ) -> None:
        """Set the weights to origin + step · direction."""
        for weight, start, direction in zip(weights, origin, directions, strict=True):
            weight.copy_(start if direction is None else start + step * direction)
