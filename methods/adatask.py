"""AdaTask: task-aware adaptive learning rates (Yang et al., AAAI 2023, arXiv:2211.15055).

    θ ← θ − lr Σ_t m̂_t / (√v̂_t + ε),      m_t, v_t the moments of task t's own gradients, all taken at the same θ

Legend: θ a shared weight. What a task owns alone is trained as ever. With a plain optimizer, whose steps are linear in the
gradient, nothing changes; the method is one for Adam and its like.

Deviations from the authors' code: the protocol's optimizer in place of Adam; weight decay, which their code takes and does
not use, is divided equally among the owners of a weight, so that it acts once; each task counts its own steps for the bias
correction, so that a batch without its labels leaves its moments alone.
"""

from typing import ClassVar

import torch

from mtlbench.contract import Batch, Publication, Strategy, TaskLosses


class AdaTask(Strategy):
    """One optimizer per task, all stepped with gradients of the same weights, so that no task's moments drown another's.

    What it shares with `alternating` are the moments per task; what differs is that no step sees the steps before it.
    Every task's gradient is clipped by itself, and a step counts as one update per task.
    """

    family: ClassVar[str] = "alternating steps"
    publication: ClassVar[Publication | None] = Publication(
        "Yang et al.",
        "AAAI",
        2023,
        "AdaTask: A Task-aware Adaptive Learning Rate Approach to Multi-task Learning",
        arxiv="2211.15055",
    )
    compared_with: ClassVar[str] = "official code"
    passes: ClassVar[str] = "1 forward, T backward through the trunk"
    needs_sharing: ClassVar[bool] = True
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order", "loss_scale"})

    def start(self) -> None:
        owners = self.network.owners()
        decay = self.run.optimizer.weight_decay
        self.weights_of, self.optimizers = {}, {}
        for task in self.tasks:
            by_owners: dict[int, list[torch.nn.Parameter]] = {}
            for name, weight in self.network.named_parameters():
                if weight.requires_grad and task in owners[name]:
                    by_owners.setdefault(len(owners[name]), []).append(weight)
            groups = [{"params": weights, "weight_decay": decay / count} for count, weights in sorted(by_owners.items())]
            self.weights_of[task] = [weight for _, weights in sorted(by_owners.items()) for weight in weights]
            self.optimizers[task] = self.run.optimizer.build(groups)

    def updates_per_step(self) -> int:
        return len(self.tasks)

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        gradients = {}
        for number, (task, loss) in enumerate(losses.items(), start=1):
            keep = number < len(losses)
            gradients[task] = torch.autograd.grad(loss, self.weights_of[task], retain_graph=keep, allow_unused=True)
        for task in sorted(gradients):
            for weight, gradient in zip(self.weights_of[task], gradients[task], strict=True):
                weight.grad = gradient
            self.advance(task)
        return losses
