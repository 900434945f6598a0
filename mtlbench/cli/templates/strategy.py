"""Template: one sentence (authors, venue and year, arXiv number, equation or algorithm).

    total = Σ_t L_t / m_t^p,        m_t ← β · m_t + (1 − β) · L_t        (eq. …)

Legend: t the tasks that have labels in the batch; L_t their losses; m_t the running mean of L_t, which begins with the first
L_t; β `momentum`; p `power`.

Deviations from the paper: none. (Name here whatever differs from the published text or code, and why.)
"""

from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.contract import Batch, Hyper, Strategy, TaskLosses, Uniform


class Template(Strategy):
    """Divide each loss by a power of its running mean."""

    # What the strategy promises, and `mtlbench check` holds it to. "one_task": a single task is trained as plain training
    # does. "task_order": the order of the tasks changes nothing. "loss_scale": scaling one task's loss changes nothing.
    invariances: ClassVar[frozenset[str]] = frozenset({"task_order"})

    # Hyper-parameters: type, default, bounds, where a search may look, one line of help. In the code they are plain
    # attributes; on the command line `--method-arg momentum=0.99` changes one.
    momentum: float = Hyper(0.9, search=Uniform(0.8, 0.99), ge=0, lt=1, help="β, how much of a running mean a step keeps")
    power: float = Hyper(1.0, search=Uniform(0.0, 1.0), ge=0, le=1, help="p: 0 is plain training, 1 divides by the mean")

    running_mean: Tensor

    def setup(self) -> None:
        # What a resumed trial must know is a buffer, or a weight that is trained along: `self.learn(torch.zeros(()))`,
        # one per task. Plain attributes are forgotten.
        unknown = torch.full((len(self.tasks),), float("nan"), device=self.run.device)
        self.register_buffer("running_mean", unknown)

    def step(self, batch: Batch) -> TaskLosses:
        # The forward pass. A task without labels in the batch has no loss; without any label there are no losses at all.
        losses = self.losses(batch)
        for task, loss in losses.items():
            self.remember(task, loss.detach())
        # Back-propagate the sum of these terms, clip as the protocol says, step. Without terms nothing happens.
        self.descend({task: loss / self.mean_of(task) ** self.power for task, loss in losses.items()})
        return losses  # as the network gave them: the curves in the record show these

    def remember(self, task: str, loss: Tensor) -> None:
        """Update m_t."""
        number = self.tasks.index(task)
        mean = self.running_mean[number]
        self.running_mean[number] = torch.where(mean.isnan(), loss, self.momentum * mean + (1 - self.momentum) * loss)

    def mean_of(self, task: str) -> Tensor:
        """m_t, kept away from zero."""
        return self.running_mean[self.tasks.index(task)].clamp(min=1e-8)

    # More that a strategy may override (docs/adding_a_method.md): `start` (optimizers), `end_epoch` (its mean losses),
    # `updates_per_step`, `artefacts`. Random draws come from `self.stream("name")`, never from torch's global state.
    # A strategy that combines the tasks' gradients derives from `JacobianStrategy` and overrides `weights`.
