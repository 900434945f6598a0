"""How AdaShare trains: policy learning, in which weights and policy take turns, and retraining of a sampled policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from mtlbench.contract import Batch, Pass, Phase, Strategy, TaskLosses, detached

from .._shared.training_only import training_only
from .decisions import as_gates
from .policies import Policies
from .schedule import ByProgress, ByRound, policy_rate, rounds_of_epoch


@dataclass(frozen=True)
class Search:
    """The hyper-parameters of policy learning.

    Attributes:
        samples: N, policies that are drawn at the end.
        schedule: (rounds done, rounds) → (τ, n).
        rounds: per phase; None for one per epoch.
        sgd: whether weights are trained by the published SGD instead of the protocol's optimizer.
        straight_through: hard decisions with the gradient of the soft ones.
        policy_images: share of train that policy steps use.
        policy_lr: learning rate of the logits.
        loss_weights: λ_k in policy steps; 1 for tasks that are not named.
    """

    samples: int
    schedule: ByProgress | ByRound
    rounds: int | None
    sgd: bool
    straight_through: bool
    policy_images: float
    policy_lr: Literal["auto"] | float
    loss_weights: Mapping[str, float]


class PolicyLearning(Phase):
    """Weight steps and policy steps in turn, under relaxed decisions; at the end the final policies are drawn.

    A round is a run over a piece of the weights' part of train and one over a piece of the policy's part. Every step draws
    one decision per task and block, for the whole batch; noise is on in weight steps too. In a budget so small that warm-up
    has no epoch of its own it takes the place of the first rounds.

    Args:
        lead: share of the first epoch that is warm-up.
    """

    def __init__(self, policies: Policies, search: Search, epochs: int, strategy: Strategy, lead: float = 0.0) -> None:
        super().__init__("policy learning", epochs, strategy, selectable=False, schedule=(0.0, 0.0))
        self.policies, self.search, self.lead, self.run = policies, search, lead, strategy.run
        self.protocol = self.run.optimizer
        self.noise: dict[str, torch.Generator] = {}

    def prepare(self) -> None:
        search = self.search
        if search.sgd:
            self.run.optimizer = replace(self.protocol, name="sgd", momentum=0.9, weight_decay=1e-4, schedule="constant")
        super().prepare()
        rate = search.policy_lr
        if rate == "auto":
            rate = policy_rate(self.epochs, self.run.images_per_epoch, self.run.batch_size, search.policy_images)
        self.policy_optimizer = policy_optimizer(self.policies.by_task().values(), rate)

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {**self.strategy.optimizers, "policy": self.policy_optimizer}

    def passes(self, epoch: int) -> list[Pass]:
        run, search = self.run, self.search
        self.policies.open_gates()  # what was validated last must not be seen
        self.noise = {task: run.generator("gumbel", task) for task in self.strategy.tasks}
        wanted = 1 if search.rounds is None else search.rounds / self.epochs
        rounds = rounds_of_epoch(run.images_per_epoch, run.batch_size, search.policy_images, wanted)
        skipped = min(round(self.lead * len(rounds)), len(rounds) - 1)
        of = self.epochs * len(rounds) - skipped
        first = skipped if epoch == 0 else 0
        updates = self.strategy.updates_per_step()
        passes = [Pass(self.warm_up_step, (0.0, first / len(rounds)), "warm-up", updates)] if first else []
        for number, (weights, policy) in enumerate(rounds[first:], start=first):
            self.last = tau, n = search.schedule(epoch * len(rounds) + number - skipped, of)
            passes.append(Pass(partial(self.weight_step, tau, n), weights, f"weights, {n} gated", updates))
            passes.append(Pass(partial(self.policy_step, tau, n), policy, f"policy, {n} gated"))
        return passes

    def warm_up_step(self, batch: Batch) -> TaskLosses:
        """The strategy's step on the whole network, shared by all."""
        self.policies.open_gates()
        return self.strategy.step(batch)

    def relax(self, tau: float, n: int) -> None:
        """Draw the relaxed decisions of the last n blocks."""
        self.policies.relax(tau, n, self.noise, self.search.straight_through)

    def weight_step(self, tau: float, n: int, batch: Batch) -> TaskLosses:
        """The strategy's step on the relaxed network; the policy stands still."""
        self.relax(tau, n)
        return self.strategy.step(batch)

    def policy_step(self, tau: float, n: int, batch: Batch) -> TaskLosses:
        """One Adam step of the logits on Σ_k λ_k L_k + regularizers; the weights stand still."""
        with training_only(self.strategy.network, self.policies.by_task().values()):
            self.relax(tau, n)
            losses = self.strategy.losses(batch)
            objective = self.policies.regularization(n) + sum(
                self.search.loss_weights.get(task, 1.0) * loss for task, loss in losses.items()
            )
            self.policy_optimizer.zero_grad(set_to_none=True)
            objective.backward()
            self.policy_optimizer.step()
        return detached(losses)

    def end_epoch(self, epoch: int, losses: dict[str, float]) -> dict[str, Any]:
        super().end_epoch(epoch, losses)
        policies, run, (tau, n) = self.policies, self.run, self.last
        probability = policies.probability()
        rounded = [[round(value, 4) for value in blocks] for blocks in probability.values()]
        policies.history.append({"epoch": run.epoch, "temperature": tau, "gated": n, "probability": rounded})
        # What is validated now is one network of the current policy.
        hard = as_gates(policies.draw(run.generator, "validation"))
        policies.set_gates({task: decisions[-n:].to(run.device) for task, decisions in hard.items()})
        return {"temperature": tau, "gated blocks": n, "expected blocks": sum(map(sum, probability.values()))}

    def finish(self) -> None:
        policies, streams = self.policies, self.run.fixed_generator
        policies.samples = [policies.draw(streams, "sample", number) for number in range(self.search.samples)]
        policies.open_gates()
        self.run.optimizer = self.protocol


class Retraining(Phase):
    """Train the network of one sampled policy from the trial's initial weights.

    Args:
        restart: makes the network that of a sample, by its number.
        sample: which one.
        samples: how many there are.
    """

    def __init__(
        self, restart: Callable[[int], None], epochs: int, strategy: Strategy, sample: int, samples: int
    ) -> None:  # fmt: skip
        super().__init__("retraining" if samples == 1 else f"retraining {sample + 1}", epochs, strategy)
        self.restart, self.sample = restart, sample

    def begin(self) -> None:
        self.restart(self.sample)
        self.strategy.reset()  # what it learned in the search belongs to other weights


def policy_optimizer(logits: Iterable[Tensor], lr: float) -> Optimizer:
    """Adam with L2 decay; its learning rate does not follow the schedule."""
    return torch.optim.Adam([{"params": list(logits), "fixed_lr": True}], lr=lr, weight_decay=5e-4)
