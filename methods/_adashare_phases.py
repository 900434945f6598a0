"""How AdaShare trains: policy learning, in which weights and policy take turns, and retraining of a sampled policy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mtlbench.contract import Batch, Pass, Phase, Strategy, TaskLosses, detached
from mtlbench.methods._adashare_policy import relaxed
from mtlbench.methods._adashare_schedule import ByProgress, ByRound, policy_rate, rounds_of_epoch
from mtlbench.methods._select_or_skip import as_gates, training_only

if TYPE_CHECKING:
    from mtlbench.methods.adashare import AdaShare


class PolicyLearning(Phase):
    """Weight steps and policy steps in turn, under relaxed decisions; at the end the final policies are drawn.

    A round is a run over a piece of the weights' part of train and one over a piece of the policy's part. Every step draws
    one decision a task and block, for the whole batch; noise is on in weight steps too. In a budget so small that warm-up
    has no epoch of its own it takes the place of the first rounds.
    """

    def __init__(self, network: AdaShare, epochs: int, strategy: Strategy, samples: int, lead: float = 0.0) -> None:
        super().__init__("policy learning", epochs, strategy, selectable=False, schedule=(0.0, 0.0))
        self.network, self.samples, self.lead, self.run = network, samples, lead, strategy.run
        self.protocol = self.run.optimizer
        self.published = self.run.budget.mode == "paper"
        self.schedule_of_round: ByRound | ByProgress = ByProgress(
            network.blocks, network.temperature, network.final_temperature, network.curriculum
        )
        if self.published:
            self.schedule_of_round = ByRound(network.blocks, network.temperature, network.decay, network.curriculum_speed)
        self.noise: dict[str, torch.Generator] = {}

    def prepare(self) -> None:
        network = self.network
        if network.search_optimizer == "sgd" or (network.search_optimizer == "auto" and self.published):
            self.run.optimizer = replace(self.protocol, name="sgd", momentum=0.9, weight_decay=1e-4, schedule="constant")
        super().prepare()
        rate = network.policy_lr
        if rate == "auto":
            rate = policy_rate(self.epochs, self.run.images_per_epoch, self.run.batch_size, network.policy_images)
        self.policy_optimizer = policy_optimizer(network.logits.values(), rate)

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {**self.strategy.optimizers, "policy": self.policy_optimizer}

    def passes(self, epoch: int) -> list[Pass]:
        network, run, found = self.network, self.run, []
        network.set_gates({}, 0)  # what was validated last must not be seen
        self.noise = {task: run.generator("gumbel", task) for task in network.tasks}
        wanted = 1 if self.published else network.rounds / self.epochs
        rounds = rounds_of_epoch(run.images_per_epoch, run.batch_size, network.policy_images, wanted)
        skipped = min(round(self.lead * len(rounds)), len(rounds) - 1)
        of = self.epochs * len(rounds) - skipped
        first = skipped if epoch == 0 else 0
        if first:
            found.append(Pass(self.warm_up_step, (0.0, first / len(rounds)), "warm-up", self.strategy.updates_per_step()))
        for number, (weights, policy) in enumerate(rounds[first:], start=first):
            self.last = tau, n = self.schedule_of_round(epoch * len(rounds) + number - skipped, of)
            updates = self.strategy.updates_per_step()
            found.append(Pass(partial(self.weight_step, tau, n), weights, f"weights, {n} gated", updates))
            found.append(Pass(partial(self.policy_step, tau, n), policy, f"policy, {n} gated"))
        return found

    def warm_up_step(self, batch: Batch) -> TaskLosses:
        """The strategy's step on the whole network, shared by all."""
        self.network.set_gates({}, 0)
        return self.strategy.step(batch)

    def relax(self, tau: float, n: int) -> None:
        """Draw the relaxed decisions of the last n blocks."""
        gate = {}
        for task, logits in self.network.logits.items():
            shape, stream = (self.network.blocks, 2), self.noise[task]
            noise = -torch.empty(shape, dtype=torch.float64).exponential_(generator=stream).log()
            # In double precision, since differences are divided by τ.
            drawn = relaxed(logits.double(), noise.to(logits.device), tau, self.network.gates == "straight_through")
            gate[task] = drawn[-n:].to(logits.dtype)
        self.network.set_gates(gate, n)

    def weight_step(self, tau: float, n: int, batch: Batch) -> TaskLosses:
        """The strategy's step on the relaxed network; the policy stands still."""
        self.relax(tau, n)
        return self.strategy.step(batch)

    def policy_step(self, tau: float, n: int, batch: Batch) -> TaskLosses:
        """One Adam step of the logits on Σ_k λ_k L_k + regularisers; the weights stand still."""
        network = self.network
        with training_only(network, network.logits.values()):
            self.relax(tau, n)
            losses = self.strategy.losses(batch)
            objective = network.regularisation(n) + sum(
                network.loss_weights.get(task, 1.0) * loss for task, loss in losses.items()
            )
            self.policy_optimizer.zero_grad(set_to_none=True)
            objective.backward()
            self.policy_optimizer.step()
        return detached(losses)

    def end_epoch(self, epoch: int, losses: dict[str, float]) -> dict[str, Any]:
        super().end_epoch(epoch, losses)
        network, (tau, n) = self.network, self.last
        probability = [[round(value, 4) for value in own] for own in network.probability().values()]
        network.history.append({"epoch": self.run.epoch, "temperature": tau, "gated": n, "probability": probability})
        # What is validated now is one network of the current policy.
        drawn = as_gates(network.draw(self.run.generator, "validation"))
        network.set_gates({task: one[-n:].to(self.run.device) for task, one in drawn.items()}, n)
        return {"temperature": tau, "gated blocks": n, "expected blocks": sum(map(sum, network.probability().values()))}

    def finish(self) -> None:
        draw = self.network.draw
        self.network.decisions = [draw(self.run.fixed_generator, "sample", number) for number in range(self.samples)]
        self.network.set_gates({}, 0)
        self.run.optimizer = self.protocol


class Retraining(Phase):
    """Train the network of one sampled policy from the trial's initial weights."""

    def __init__(self, network: AdaShare, epochs: int, strategy: Strategy, sample: int, samples: int) -> None:
        super().__init__("retraining" if samples == 1 else f"retraining {sample + 1}", epochs, strategy)
        self.network, self.sample = network, sample

    def begin(self) -> None:
        self.network.take(self.sample)
        self.strategy.reset()  # what it learned in the search belongs to other weights


def policy_optimizer(logits: Iterable[Tensor], lr: float) -> Optimizer:
    """Adam with L2 decay; its learning rate does not follow the schedule."""
    return torch.optim.Adam([{"params": list(logits), "fixed_lr": True}], lr=lr, weight_decay=5e-4)
