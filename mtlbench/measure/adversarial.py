"""Projected gradient descent within an L∞ ball (Madry et al., ICLR 2018, section 2): robustness against an attacker.

    x⁰ = clip(x + ε u),  u uniform in [−1, 1] per value        xᵏ⁺¹ = clip(Π_ε(xᵏ + α sign ∇ L(xᵏ)))

L is one task's loss, or the sum of all; every task is evaluated on the attacked images, so that a record says what an
attack on one task does to every other task. α = 1/255, and ⌈max(1, min(ε + 4, 1.25 ε))⌉ steps with ε in units of 1/255.

The random start depends on (dataset, image, radius, attacked task) alone. Losses are taken image by image and added, so
that an attacked image depends on its batch no more than rounding does. The start is a true random one: code in use that
clamps with exchanged bounds always starts from the corner +ε. Weights are not touched: no gradient is accumulated in them,
and BatchNorm runs on its stored statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mtlbench.config.settings import Settings
from mtlbench.contract import Batch
from mtlbench.data.split import Split
from mtlbench.measure.corruptions.draws import Draws, image_digests
from mtlbench.measure.evaluator import Evaluator, condition_cell, image_ids
from mtlbench.measure.robustness_suite import ALL, PGD_STEP, attacked, pgd_steps
from mtlbench.tasks.base import Task


def evaluate_attacks(network: nn.Module, evaluator: Evaluator, split: Split, settings: Settings) -> dict[str, Any]:
    """All attacks that the settings ask for.

    Returns:
        `step`, `unit`, `steps` (radius → number), and `attacks`: radius as text → attacked task or `all` → the metrics and
        skill of every task.
    """
    names = [task.name for task in evaluator.tasks]
    steps = {f"{radius:g}": settings.pgd_steps or pgd_steps(radius) for radius in settings.pgd}
    attacks: dict[str, dict[str, Any]] = {}
    for radius in settings.pgd:
        attacks[f"{radius:g}"] = {
            target: condition_cell(
                evaluator.evaluate(network, split, Attacked(network, evaluator, split, target, radius, steps[f"{radius:g}"]))
            )
            for target in attacked(settings, names)
        }
    return {"unit": "1/255", "step": PGD_STEP, "steps": steps, "attacks": attacks}


@dataclass(frozen=True)
class Attacked:
    """Gives a batch's images under attack; a `change` for `Evaluator.evaluate`.

    Attributes:
        network: the network that is attacked.
        split: where the batches are from.
        target: the task whose loss is increased, or `all` for the sum of all tasks' losses.
        radius: of the ball, in units of 1/255.
        steps: gradient steps; 0 gives the random start.
        seed: another random start.
    """

    network: nn.Module
    evaluator: Evaluator
    split: Split
    target: str
    radius: float
    steps: int
    seed: int = 0

    def __call__(self, batch: Batch) -> Tensor:
        radius, step = self.radius / 255, PGD_STEP / 255
        low, high = (batch.image - radius).clamp_(0, 1), (batch.image + radius).clamp_(0, 1)
        image = _between(batch.image + radius * self._start(batch), low, high)
        for _ in range(self.steps):
            image = _between(image + step * self._gradient(image, batch).sign_(), low, high)
        return image

    def _start(self, batch: Batch) -> Tensor:
        """Uniform in (-1, 1), as large as the images; each image has numbers of its own."""
        ids = image_ids(self.split, batch)
        digests = image_digests(self.seed, self.evaluator.dataset, f"pgd {self.target} {self.radius:g}", 0, ids)
        return Draws(digests, batch.image.device).uniform(*batch.image.shape[1:])

    def _gradient(self, image: Tensor, batch: Batch) -> Tensor:
        tasks = [task for task in self.evaluator.tasks if self.target in (task.name, ALL)]
        with torch.enable_grad():
            image = image.detach().requires_grad_()
            with self.evaluator.autocast():
                output = self.network(image, [task.name for task in tasks], batch.rows)
            loss = summed_loss(tasks, output, batch)
            if loss is None:
                return torch.zeros_like(image)
            # With respect to the image alone: the weights' gradients are neither computed nor stored.
            (gradient,) = torch.autograd.grad(loss, [image])
        return gradient


def summed_loss(tasks: Sequence[Task], output: dict[str, Tensor], batch: Batch) -> Tensor | None:
    """Σ over tasks and images of the loss that the image has by itself; None where no task has an image in the batch."""
    losses = []
    for task in tasks:
        prediction, target = output[task.name].float(), batch.target(task.name)
        losses += [task.loss(prediction[row : row + 1], target[row : row + 1]) for row in range(len(target))]
    return torch.stack(losses).sum() if losses else None


def _between(image: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Projected into the ball and the range of images at once: the bounds are those of both."""
    return torch.minimum(torch.maximum(image, low), high)
