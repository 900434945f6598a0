"""AdaShare: learning what to share (Sun et al., NeurIPS 2020, arXiv:1911.12423).

For every task and residual block a policy decides whether the task executes or skips the block. All tasks use the same
weights; what differs is the path. The policy is learned together with the weights, then sampled, and the sampled network
is trained anew.

Legend: K tasks k; L residual blocks l = 1 … L; F_l a block, S_l its shortcut; A_{l,k} = (select, skip) the policy's logits;
π_{l,k} = softmax(A_{l,k})[select]; g Gumbel(0, 1) noise; τ temperature; n gated blocks, the last ones; λ weights.

    p_{l,k} = softmax((A_{l,k} + g) / τ)                                  relaxed decision, one a batch     (`relaxed`)
    x_{l+1} = p[select] · ReLU(S_l(x) + F_l(x)) + p[skip] · S_l(x)        no ReLU on a skip                 (the graph)
    policy objective = Σ_k λ_k L_k + λ_sp L_sparsity + λ_sh L_sharing     (`sparsity_loss`, `sharing_loss`)

Phases: *warm-up* (every task runs everything: hard sharing); *policy learning* (weight steps with the method's strategy on
one part of train and policy steps on the rest, in turn; τ falls; n grows from the last block to all), at its end N policies
are sampled; *retraining* of each from the trial's initial weights. The network is chosen among them on val.

Choices and deviations:
    Regularisers. Both published forms are here. "code" is the default: it is what made the published numbers and weights,
    and its gradient is bounded, whereas the paper's log π falls without end as π → 0 and pushes hardest at blocks that are
    all but skipped. Published (λ_sp, λ_sh): NYUv2 with 2 tasks (.05, .05), with 3 (.001, .05); Cityscapes (.01, .1);
    Taskonomy (.001, .005); DomainNet (.01, .1).
    Equal budgets. τ, n and the rounds follow the progress of the policy phase instead of counting from its start, and the
    logits' rate rises where there are too few steps to decide anything (`policy_rate`). The weights keep the protocol's
    optimizer, at its highest rate until retraining: the published SGD hardly moves them in so short a phase.
    Budget "paper" is as published: warm-up and policy learning (1 : 4) last as long as a plain network trains, SGD with
    constant rate, one round an epoch, eight samples, each trained as long as a plain network.
    Validation. The official code chooses on test; here on val. The policy that is sampled is the last one, not the best.
    BatchNorm and skipping. A skipped block is not executed, and running statistics are kept a path. The official code
    executes every block for every task, multiplies by 0 or 1, and mixes all of them in one set of statistics. Budget "paper"
    trains like that (at K trunk passes a step); the network it deploys really skips.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtlbench.contract import (
    Architecture,
    Batch,
    Choice,
    Hyper,
    LogUniform,
    Maps,
    Pass,
    Phase,
    Run,
    SharingGraph,
    SharingPlan,
    Strategy,
    TaskLosses,
    Uniform,
    UserError,
    detached,
)
from mtlbench.methods._adashare_schedule import (
    PUBLISHED_SAMPLES,
    ByProgress,
    ByRound,
    policy_rate,
    rounds_of_epoch,
    split_budget,
)
from mtlbench.methods._select_or_skip import Decisions, MultiplyingGraph, as_gates, columns, picture, plan_of, training_only

SELECT, SKIP = 0, 1


def relaxed(logits: Tensor, noise: Tensor, temperature: float, straight_through: bool = False) -> Tensor:
    """Gumbel-softmax: decisions [..., L, 2] from logits and Gumbel(0, 1) noise of that shape.

    With `straight_through` the values are one-hot, and the gradient is that of the soft decisions.
    """
    soft = ((logits + noise) / temperature).softmax(-1)
    if not straight_through:
        return soft
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return hard + soft - soft.detach()


def sampled(logits: Tensor, uniform: Tensor) -> Tensor:
    """Bernoulli decisions, bool [..., L]: select where a uniform draw in [0, 1) is below π."""
    return uniform < logits.softmax(-1)[..., SELECT]


def sparsity_loss(logits: Tensor, gated: int, form: str = "code", depth_weighted: bool = False) -> Tensor:
    """What executing blocks costs, over the last `gated` blocks of logits [K, L, 2].

    code:  Σ_k mean_l −log(1 − π_{l,k});  with `depth_weighted` each term times 2 l / L
    paper: Σ_k Σ_l log π_{l,k}
    """
    blocks = logits.shape[1]
    gated = min(gated, blocks)
    log_policy = logits.log_softmax(-1)[:, blocks - gated :]
    if form == "paper":
        return log_policy[..., SELECT].sum()
    cost = -log_policy[..., SKIP]
    if depth_weighted:
        cost = cost * (2 * depths(logits) / blocks)[blocks - gated :]
    return cost.mean(1).sum()


def sharing_loss(logits: Tensor, form: str = "code", depth_weighted: bool = True) -> Tensor:
    """What deciding differently costs, over all L blocks of logits [K, L, 2] and every pair of tasks i < j.

    code:  Σ_{i<j} Σ_l (l / L) |A_{l,i}[select] − A_{l,j}[select]|        raw logits, later blocks weigh more
    paper: Σ_{i<j} Σ_l ((L − l) / L) |π_{l,i} − π_{l,j}|                  earlier blocks weigh more
    """
    blocks = logits.shape[1]
    weight = depths(logits) / blocks
    values = logits[..., SELECT]
    if form == "paper":
        weight, values = 1 - weight, logits.softmax(-1)[..., SELECT]
    if not depth_weighted:
        weight = torch.ones_like(weight)
    pairs = combinations(range(len(logits)), 2)
    return sum(((weight * (values[i] - values[j]).abs()).sum() for i, j in pairs), logits.new_zeros(()))


def depths(logits: Tensor) -> Tensor:
    """l = 1 … L."""
    return torch.arange(1, logits.shape[1] + 1, dtype=logits.dtype, device=logits.device)


class AdaShare(Architecture):
    """Learn for every task which residual blocks it executes, then train that network from scratch."""

    minimum_epochs: ClassVar[int] = 2

    regularizer: Literal["code", "paper"] = Hyper(
        "code", search=Choice(("code", "paper")), help="form of both regularisers: the official code's or the paper's"
    )
    sparsity: float = Hyper(0.01, search=LogUniform(1e-3, 0.1), check="v >= 0", help="λ_sp: price of executing blocks")
    sharing: float = Hyper(
        0.1, search=LogUniform(5e-3, 0.2), check="v >= 0", help="λ_sh: price of deciding differently from other tasks"
    )
    loss_weights: dict[str, float] = Hyper({}, help="λ_k in policy steps by task, 1 for others (in weight steps: +fixed)")
    warm_up: float = Hyper(0.1, check="0 <= v < 1", help="share of the budget that warm-up takes (equal_total)")
    policy: float = Hyper(0.4, check="0 < v < 1", help="share of the budget that policy learning takes (equal_total)")
    samples: Literal["auto"] | int = Hyper(
        "auto", check="v == 'auto' or v >= 1", help="N, sampled policies that are retrained; auto: 1, 8 under budget paper"
    )
    policy_images: float = Hyper(0.2, check="0 < v < 1", help="share of train that policy steps use; weight steps: the rest")
    policy_lr: Literal["auto"] | float = Hyper(
        "auto", check="v == 'auto' or v > 0", help="constant Adam rate of the logits; auto: .01, more in short policy phases"
    )
    rounds: int = Hyper(
        40, check="v >= 1", help="alternations of weight and policy steps in the policy phase; at least one an epoch"
    )
    temperature: float = Hyper(5.0, check="v > 0", help="τ at the start of policy learning")
    final_temperature: float = Hyper(
        0.23, search=LogUniform(0.01, 1.0), check="v > 0", help="τ at its end (published: .23 Cityscapes, .017 Taskonomy)"
    )
    curriculum: float = Hyper(
        0.25, search=Uniform(0.0, 0.6), check="0 <= v <= 1", help="share of the policy phase until all blocks are gated"
    )
    gates: Literal["soft", "straight_through"] = Hyper("soft", help="relaxed decisions, or hard ones with their gradient")
    search_optimizer: Literal["auto", "protocol", "sgd"] = Hyper(
        "auto", help="of weights in policy learning: protocol's, or SGD as published; auto: SGD under budget paper only"
    )
    decay: float = Hyper(0.965, check="0 < v <= 1", help="budget paper: factor on τ after every round")
    curriculum_speed: int = Hyper(3, check="v >= 1", help="budget paper: rounds until another block is gated (Taskonomy: 1)")

    sample: Tensor
    """Which of the sampled policies the network has; −1 before retraining."""

    def build(self) -> None:
        self.units = self.block_units()
        self.depths = [unit.name for unit in self.units]
        self.blocks = len(self.units) - 1
        # The strategy leaves the logits alone; policy steps alone ask for their gradient.
        start = torch.full((self.blocks, 2), 0.5)
        self.logits = nn.ParameterDict({task: nn.Parameter(start.clone(), requires_grad=False) for task in self.tasks})
        self.register_buffer("sample", torch.tensor(-1))
        self.graph = SharingGraph(self.units, SharingPlan.shared(self.depths, list(self.tasks)))
        self.decisions: list[Decisions] = []
        self.history: list[dict[str, Any]] = []
        self.mixed = False
        self.set_gates({}, 0)

    # -- the policy -------------------------------------------------------------------------------------------------

    def set_gates(self, gate: dict[str, Tensor], count: int) -> None:
        """Gate the last `count` blocks by each task's decisions [count, 2]; all tasks execute those before."""
        self.gate, self.gated = gate, range(self.blocks - count + 1, self.blocks + 1)

    def maps(self, image: Tensor, tasks: Sequence[str], rows: Mapping[str, Tensor] | None) -> dict[str, Maps]:
        assert self.graph is not None
        return self.graph(image, tasks, rows, gates=self.gate, gated=self.gated)

    def regularisation(self, gated: int) -> Tensor:
        """λ_sp L_sparsity + λ_sh L_sharing. (The official code weighs sparsity by depth where sharing is off.)"""
        logits = torch.stack(list(self.logits.values()))
        price = self.sparsity * sparsity_loss(logits, gated, self.regularizer, depth_weighted=self.sharing == 0)
        return price + self.sharing * sharing_loss(logits, self.regularizer)

    def draw(self, generator: Callable[..., torch.Generator], *name: object) -> Decisions:
        """Bernoulli decisions of every task, from a random stream of its own."""
        drawn = {}
        for task, logits in self.logits.items():
            uniform = torch.rand(self.blocks, generator=generator(*name, task), dtype=torch.float64)
            drawn[task] = sampled(logits.detach().double().cpu(), uniform).tolist()
        return drawn

    def probability(self) -> dict[str, list[float]]:
        """π: task → L values."""
        return {task: logits.detach().softmax(-1)[:, SELECT].tolist() for task, logits in self.logits.items()}

    # -- the network of a sampled policy ----------------------------------------------------------------------------

    def decision(self) -> Decisions:
        """What the network's tasks execute: everything before retraining."""
        return self.decisions[int(self.sample)] if self.sample >= 0 else {t: [True] * self.blocks for t in self.tasks}

    def plan(self) -> SharingPlan:
        return plan_of(self.depths, self.decision())

    def further_plans(self) -> dict[str, SharingPlan]:
        """What the policy holds most likely: the deployed plan is one draw from it."""
        likely = {task: [value > 0.5 for value in own] for task, own in self.probability().items()}
        return {"likely": plan_of(self.depths, likely)}

    def take(self, sample: int) -> None:
        """Become the network of a sampled policy; its weights are the trial's initial ones."""
        self.sample.fill_(sample)
        self.set_gates({}, 0)
        self.graph = MultiplyingGraph(self.units, self.decision()) if self.mixed else SharingGraph(self.units, self.plan())
        self.heads = nn.ModuleDict({name: self.new_head(name) for name in self.tasks})
        self.to(self.mean.device, memory_format=torch.channels_last).train(self.training)  # type: ignore[call-overload]

    def owners(self) -> dict[str, frozenset[str]]:
        return {**super().owners(), **{f"logits.{task}": frozenset({task}) for task in self.tasks}}

    def deploy(self) -> nn.Module:
        if not isinstance(self.graph, MultiplyingGraph):
            return self
        shipped = copy.copy(self)
        shipped._modules = {**self._modules, "graph": self.graph.skipping()}
        return shipped

    def structure(self) -> dict[str, Any]:
        return {"decisions": self.decisions, "sample": int(self.sample), "mixed": self.mixed, "history": self.history}

    def restore_structure(self, structure: dict[str, Any]) -> None:
        self.decisions, self.history, self.mixed = structure["decisions"], structure["history"], structure["mixed"]
        if structure["sample"] >= 0:
            self.take(structure["sample"])

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Weights of another sample bring its plan along: the selected epoch need not be the last sample's."""
        sample = int(state_dict.get("sample", self.sample))
        if sample >= 0 and sample != self.sample:
            self.take(sample)
            known = self.state_dict()
            state_dict = {name: value for name, value in state_dict.items() if name in known}
        return super().load_state_dict(state_dict, strict, assign)

    def extra(self) -> dict[str, float]:
        policy = torch.tensor(list(self.probability().values()))
        decided = {"expected blocks": float(policy.sum()), "policy decided": float((policy - 0.5).abs().mean())}
        return {**columns(self.decision()), **decided}

    def artefacts(self) -> dict[str, Any]:
        more = {
            "logits": [logits.tolist() for logits in self.logits.values()],
            "samples": [list(own.values()) for own in self.decisions],
            "chosen": int(self.sample),
            "history": self.history,
        }
        return {"policy": picture(self.depths[1:], self.decision(), self.probability(), **more)}

    # -- training ---------------------------------------------------------------------------------------------------

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        if unknown := sorted(set(self.loss_weights) - set(self.tasks)):
            raise UserError(f"adashare: loss_weights names {unknown[0]!r}, but the tasks are {', '.join(self.tasks)}.")
        self.mixed = run.budget.mode == "paper"
        count = (PUBLISHED_SAMPLES if self.mixed else 1) if self.samples == "auto" else self.samples
        division = split_budget(run, self.warm_up, self.policy, count)
        # The weights of the search are thrown away, so its learning rate need not fall; retraining gets the whole schedule.
        warm_up = Phase("warm-up", division.warm_up, strategy, selectable=False, schedule=(0.0, 0.0))
        return [
            *([warm_up] if division.warm_up else []),
            PolicyLearning(self, division.policy, strategy, count, division.lead),
            *(Retraining(self, epochs, strategy, number, count) for number, epochs in enumerate(division.retraining)),
        ]


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


def policy_optimizer(logits: Any, lr: float) -> Optimizer:
    """Adam with L2 decay; its learning rate does not follow the schedule."""
    return torch.optim.Adam([{"params": list(logits), "fixed_lr": True}], lr=lr, weight_decay=5e-4)
