"""AdaShare: learning what to share (Sun et al., NeurIPS 2020, arXiv:1911.12423).

For every task and residual block a policy decides whether the task executes or skips the block. All tasks use the same
weights; what differs is the path. The policy is learned together with the weights, then sampled, and the sampled network
is trained anew.

Legend: K tasks k; L residual blocks l = 1 … L; F_l a block, S_l its shortcut; A_{l,k} = (select, skip) the policy's logits;
π_{l,k} = softmax(A_{l,k})[select]; g Gumbel(0, 1) noise; τ temperature; n gated blocks, the last ones; λ weights.

    p_{l,k} = softmax((A_{l,k} + g) / τ)                                  relaxed decision, one per batch   (`relaxed`)
    x_{l+1} = p[select] · ReLU(S_l(x) + F_l(x)) + p[skip] · S_l(x)        no ReLU on a skip                 (the graph)
    policy objective = Σ_k λ_k L_k + λ_sp L_sparsity + λ_sh L_sharing     (`sparsity_loss`, `sharing_loss`)

Phases: *warm-up* (every task runs everything: hard sharing); *policy learning* (weight steps with the method's strategy on
one part of train and policy steps on the rest, in turn; τ falls; n grows from the last block to all), at its end N policies
are sampled; *retraining* of each from the trial's initial weights. The network is chosen among them on val.

Choices and deviations:
    Regularizers. Both published forms are here. "code" is the default: it is what made the published numbers and weights,
    and its gradient is bounded, whereas the paper's log π falls without end as π → 0 and pushes hardest at blocks that are
    all but skipped. Published (λ_sp, λ_sh): NYUv2 with 2 tasks (.05, .05), with 3 (.001, .05); Cityscapes (.01, .1);
    Taskonomy (.001, .005); DomainNet (.01, .1).
    Equal budgets. τ, n and the rounds follow the progress of the policy phase instead of counting from its start, and the
    logits' rate rises where there are too few steps to decide anything (`policy_rate`). The weights keep the protocol's
    optimizer, at its highest rate until retraining: the published SGD hardly moves them in so short a phase.
    Budget "paper" is as published: warm-up and policy learning (1 : 4) last as long as a plain network trains, SGD with
    constant rate, one round per epoch, eight samples, each trained as long as a plain network.
    Validation. The official code chooses on test; here on val. The policy that is sampled is the last one, not the best.
    BatchNorm and skipping. A skipped block is not executed, and running statistics are kept per path. The official code
    executes every block for every task, multiplies by 0 or 1, and mixes all of them in one set of statistics. Budget "paper"
    trains like that (at K trunk passes per step); the network it deploys really skips.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mtlbench.contract import (
    Architecture,
    Choice,
    Hyper,
    LogUniform,
    Maps,
    Phase,
    Publication,
    Rows,
    Run,
    SharingGraph,
    SharingPlan,
    Strategy,
    Uniform,
    UserError,
)

from .._shared.initial_weights import restart_with
from .._shared.search_budget import POLICY, WARM_UP, split_budget
from .._shared.select_or_skip import Decisions, columns, picture, plan_of
from .multiplying_graph import MultiplyingGraph
from .phases import PolicyLearning, Retraining, Search
from .policies import Policies
from .schedule import PUBLISHED_SAMPLES, ByProgress, ByRound


class AdaShare(Architecture):
    """Learn for every task which residual blocks it executes, then train that network from scratch."""

    needs: ClassVar[frozenset[str]] = frozenset({"residual blocks"})
    family: ClassVar[str] = "learned sharing"
    publication: ClassVar[Publication | None] = Publication(
        "Sun et al.",
        "NeurIPS",
        2020,
        "AdaShare: Learning What To Share For Efficient Deep Multi-Task Learning",
        arxiv="1911.12423",
    )
    compared_with: ClassVar[str] = "official code"

    minimum_epochs: ClassVar[int] = 2

    regularizer: Literal["code", "paper"] = Hyper(
        "code", search=Choice(("code", "paper")), help="form of both regularizers: the official code's or the paper's"
    )
    sparsity: float = Hyper(0.01, search=LogUniform(1e-3, 0.1), ge=0, help="λ_sp: price of executing blocks")
    sharing: float = Hyper(
        0.1, search=LogUniform(5e-3, 0.2), ge=0, help="λ_sh: price of deciding differently from other tasks"
    )
    loss_weights: dict[str, float] = Hyper({}, help="λ_k in policy steps by task, 1 for others (in weight steps: +fixed)")
    warm_up: float = Hyper(WARM_UP, ge=0, lt=1, help="share of the budget that warm-up takes (equal_total)")
    policy: float = Hyper(POLICY, gt=0, lt=1, help="share of the budget that policy learning takes (equal_total)")
    samples: Literal["auto"] | int = Hyper(
        "auto", ge=1, help="N, sampled policies that are retrained; auto: 1, 8 under budget paper"
    )
    policy_images: float = Hyper(0.2, gt=0, lt=1, help="share of train that policy steps use; weight steps: the rest")
    policy_lr: Literal["auto"] | float = Hyper(
        "auto", gt=0, help="constant Adam rate of the logits; auto: .01, more in short policy phases"
    )
    rounds: int = Hyper(40, ge=1, help="alternations of weight and policy steps in the policy phase; at least one per epoch")
    temperature: float = Hyper(5.0, gt=0, help="τ at the start of policy learning")
    final_temperature: float = Hyper(
        0.23, search=LogUniform(0.01, 1.0), gt=0, help="τ at its end (published: .23 Cityscapes, .017 Taskonomy)"
    )
    curriculum: float = Hyper(
        0.25, search=Uniform(0.0, 0.6), ge=0, le=1, help="share of the policy phase until all blocks are gated"
    )
    gates: Literal["soft", "straight_through"] = Hyper("soft", help="relaxed decisions, or hard ones with their gradient")
    search_optimizer: Literal["auto", "protocol", "sgd"] = Hyper(
        "auto", help="of weights in policy learning: protocol's, or SGD as published; auto: SGD under budget paper only"
    )
    decay: float = Hyper(0.965, gt=0, le=1, help="budget paper: factor on τ after every round")
    curriculum_speed: int = Hyper(3, ge=1, help="budget paper: rounds until another block is gated (Taskonomy: 1)")

    sample: Tensor
    """Which of the sampled policies the network has; −1 before retraining."""

    def build(self) -> None:
        self.units = self.block_units()
        self.depths = [unit.name for unit in self.units]
        self.blocks = len(self.units) - 1
        self.policies = Policies(self.tasks, self.blocks, self.sparsity, self.sharing, self.regularizer)
        for task, logits in self.policies.by_task().items():
            self.own(logits, [task])
        self.register_buffer("sample", torch.tensor(-1))
        self.graph = SharingGraph(self.units, SharingPlan.shared(self.depths, list(self.tasks)))
        self.mixed = False

    def maps(self, image: Tensor, tasks: Sequence[str], rows: Rows) -> dict[str, Maps]:
        assert self.graph is not None
        maps: dict[str, Maps] = self.graph(image, tasks, rows, gates=self.policies.gates, gated=self.policies.gated)
        return maps

    # -- the network of a sampled policy ----------------------------------------------------------------------------

    def decision(self) -> Decisions:
        """Which blocks the network's tasks execute: all of them before retraining."""
        if self.sample >= 0:
            return self.policies.samples[int(self.sample)]
        return {task: [True] * self.blocks for task in self.tasks}

    def plan(self) -> SharingPlan:
        return plan_of(self.depths, self.decision())

    def further_plans(self) -> dict[str, SharingPlan]:
        """The plan that the policy holds most likely: the deployed one is one draw from it."""
        probability = self.policies.probability()
        likely = {task: [value > 0.5 for value in blocks] for task, blocks in probability.items()}
        return {"likely": plan_of(self.depths, likely)}

    def restart(self, sample: int) -> None:
        """Become the network of a sampled policy; its weights are the trial's initial ones."""
        self.sample.fill_(sample)
        self.policies.open_gates()
        graph = MultiplyingGraph(self.units, self.decision()) if self.mixed else SharingGraph(self.units, self.plan())
        restart_with(graph, self)

    def deploy(self) -> nn.Module:
        if not isinstance(self.graph, MultiplyingGraph):
            return self
        shipped = copy.copy(self)
        shipped._modules = {**self._modules, "graph": self.graph.skipping()}
        return shipped

    def structure(self) -> dict[str, Any]:
        samples, history = self.policies.samples, self.policies.history
        return {"decisions": samples, "sample": int(self.sample), "mixed": self.mixed, "history": history}

    def restore_structure(self, structure: dict[str, Any]) -> None:
        self.policies.samples, self.policies.history = structure["decisions"], structure["history"]
        self.mixed = structure["mixed"]
        if structure["sample"] >= 0:
            self.restart(structure["sample"])

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Weights of another sample bring its plan along: the selected epoch need not be the last sample's."""
        sample = int(state_dict.get("sample", self.sample))
        if sample >= 0 and sample != self.sample:
            self.restart(sample)
            known = self.state_dict()
            state_dict = {name: value for name, value in state_dict.items() if name in known}
        return super().load_state_dict(state_dict, strict, assign)

    def extra(self) -> dict[str, float]:
        policy = torch.tensor(list(self.policies.probability().values()))
        decided = {"expected blocks": float(policy.sum()), "policy decided": float((policy - 0.5).abs().mean())}
        return {**columns(self.decision()), **decided}

    def artefacts(self) -> dict[str, Any]:
        policies = self.policies
        policy = picture(
            self.depths[1:],
            self.decision(),
            policies.probability(),
            logits=[logits.tolist() for logits in policies.by_task().values()],
            samples=[list(sample.values()) for sample in policies.samples],
            chosen=int(self.sample),
            history=policies.history,
        )
        return {"policy": policy}

    # -- training ---------------------------------------------------------------------------------------------------

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        if unknown := sorted(set(self.loss_weights) - set(self.tasks)):
            raise UserError(f"adashare: loss_weights names {unknown[0]!r}, but the tasks are {', '.join(self.tasks)}.")
        self.mixed = run.budget.mode == "paper"
        search = self.search(published=self.mixed)
        division = split_budget(run, self.warm_up, self.policy, search.samples)
        # The weights of the search are thrown away, so its learning rate need not fall; retraining gets the whole schedule.
        warm_up = Phase("warm-up", division.warm_up, strategy, selectable=False, schedule=(0.0, 0.0))
        return [
            *([warm_up] if division.warm_up else []),
            PolicyLearning(self.policies, search, division.policy, strategy, division.lead),
            *(
                Retraining(self.restart, epochs, strategy, sample, search.samples)
                for sample, epochs in enumerate(division.retraining)
            ),
        ]

    def search(self, published: bool) -> Search:
        """The hyper-parameters of policy learning, with what "auto" means."""
        schedule: ByProgress | ByRound
        if published:
            schedule = ByRound(self.blocks, self.temperature, self.decay, self.curriculum_speed)
        else:
            schedule = ByProgress(self.blocks, self.temperature, self.final_temperature, self.curriculum)
        samples = self.samples
        if samples == "auto":
            samples = PUBLISHED_SAMPLES if published else 1
        return Search(
            samples=samples,
            schedule=schedule,
            rounds=None if published else self.rounds,
            sgd=self.search_optimizer == "sgd" or (self.search_optimizer == "auto" and published),
            straight_through=self.gates == "straight_through",
            policy_images=self.policy_images,
            policy_lr=self.policy_lr,
            loss_weights=self.loss_weights,
        )
