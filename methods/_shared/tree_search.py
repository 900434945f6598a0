"""Trees of tasks that are learned by gradient descent: a network of all choices, relaxed by Gumbel-softmax.

The network of choices has one node per task at every unit. Which nodes are joined is a categorical choice with logits A;
while they are learned every choice is a mixture

    g = softmax((A + G) / τ)            G Gumbel(0, 1) noise, τ the temperature

drawn once per step. What the mixture is of, and which tree the most likely choices make, is the method's. The tree is then
trained from the trial's initial weights; the weights of the search are thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtlbench.contract import (
    Architecture,
    Batch,
    Hyper,
    Maps,
    Pass,
    Phase,
    Rows,
    Run,
    SharingGraph,
    SharingPlan,
    Strategy,
    TaskLosses,
    Uniform,
    detached,
)

from .initial_weights import restart_with
from .search_then_train import FinalTraining, divide
from .training_only import training_only
from .trees import Frame, columns, frame, nodes, picture

PUBLISHED_RATE, TRAVEL = 0.01, 5.0
"""Adam's rate of the logits in BMTAS; how far a logit can go at least, at one rate per step, in a short search."""


class SearchedTree(Architecture):
    """Base of methods that learn at which unit which tasks part.

    A method says what a relaxed network computes (`relaxed`), which path every task takes by the most likely choices
    (`paths`), how many choices there are (`choices`), and what the logits pay for beside the losses (`price`).

    Attributes:
        logits: task → A [choices, T]; of the node that has the task's number, or of the task itself.
        gates: task → mixtures [choices, T] that the network runs under; None: every task runs the nodes of its number.
        chosen: the tree, once it is learned.
    """

    minimum_epochs: ClassVar[int] = 2
    family: ClassVar[str] = "branched"

    search: float = Hyper(
        0.4, search=Uniform(0.2, 0.6), gt=0, lt=1, help="share of the budget that the search takes (equal_total)"
    )
    warm_up: float = Hyper(
        0.05, ge=0, lt=1, help="share of the search in which the logits stand still; less than one epoch is none"
    )
    units: Literal["stages", "blocks"] = Hyper("stages", help="where tasks may part: between stages or between blocks")
    logit_images: float = Hyper(0.2, gt=0, lt=1, help="share of train that steps of the logits use; weight steps: the rest")
    logit_lr: Literal["auto"] | float = Hyper(
        "auto", gt=0, help="constant Adam rate of the logits; auto: .01, more in short searches"
    )
    temperature: float = Hyper(5.0, gt=0, help="τ at the start of the search")
    gates_are: Literal["soft", "straight_through"] = Hyper("soft", help="mixtures, or hard choices with their gradient")

    gates: dict[str, Tensor] | None
    chosen: SharingPlan | None

    def build(self) -> None:
        self.parts_of_trunk = self.stage_units() if self.units == "stages" else self.block_units()
        self.depths = [unit.name for unit in self.parts_of_trunk]
        start = torch.zeros(self.choices(), len(self.tasks))
        self.logits = nn.ParameterDict({task: nn.Parameter(start.clone(), requires_grad=False) for task in self.tasks})
        self.graph = SharingGraph(self.parts_of_trunk, self.start_plan())
        self.gates, self.chosen, self.frames = None, None, list[Frame]()

    # -- what a method decides --------------------------------------------------------------------------------------

    def choices(self) -> int:
        """How many choices every row of logits is made of."""
        raise NotImplementedError

    def start_plan(self) -> SharingPlan:
        """The nodes of the network of choices."""
        raise NotImplementedError

    def start_gates(self) -> dict[str, Tensor] | None:
        """The gates of warm-up."""
        raise NotImplementedError

    def relaxed(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        """Normalised images → task → one map per stage, under the gates."""
        raise NotImplementedError

    def paths(self) -> dict[str, list[int]]:
        """Task → the number of the node that it takes at every depth, by the most likely choices."""
        raise NotImplementedError

    def temperature_at(self, progress: float) -> float:
        """τ at a progress of the search in [0, 1]."""
        raise NotImplementedError

    def price(self) -> Tensor:
        """What the logits pay beside the losses."""
        return torch.zeros((), device=self.mean.device)

    # -- the relaxed network ----------------------------------------------------------------------------------------

    def relax(self, temperature: float, noise: Mapping[str, torch.Generator]) -> None:
        """Gate by mixtures that are drawn from the tasks' random streams."""
        self.gates = {}
        for task, logits in self.logits.items():
            gumbel = -torch.empty(logits.shape, dtype=torch.float64).exponential_(generator=noise[task]).log()
            # In double precision, since differences are divided by τ.
            drawn = relaxed_choices(logits.double(), gumbel.to(logits.device), temperature, self.gates_are)
            self.gates[task] = drawn.to(logits.dtype)

    def maps(self, image: Tensor, tasks: Sequence[str], rows: Rows) -> dict[str, Maps]:
        if self.gates is None:
            return super().maps(image, tasks, rows)
        maps = self.relaxed(image, tasks)
        return maps if rows is None else {task: [level[rows[task]] for level in maps[task]] for task in tasks}

    def owners(self) -> dict[str, frozenset[str]]:
        """Under gates every task's loss reaches every node."""
        owners = super().owners()
        if self.gates is None or self.graph is None:
            return owners
        in_graph, everyone = {id(parameter) for parameter in self.graph.parameters()}, frozenset(self.tasks)
        return {name: everyone if id(weight) in in_graph else owners[name] for name, weight in self.named_parameters()}

    def likely_tree(self) -> SharingPlan:
        """The tree of the most likely choices: tasks are together as long as they have taken the same nodes."""
        return tree_of(self.depths, self.paths())

    # -- what is saved and shown ------------------------------------------------------------------------------------

    def restart(self, plan: SharingPlan) -> None:
        """Become the network of a tree, with the trial's initial weights."""
        self.gates, self.chosen = None, plan
        restart_with(SharingGraph(self.parts_of_trunk, plan), self)

    def settle(self, searched: int) -> None:
        """Become the likely tree, after so many epochs of search."""
        plan = self.likely_tree()
        self.restart(plan)
        self.frames.append(frame(self, plan, searched))

    def structure(self) -> dict[str, Any]:
        return {"plan": None if self.chosen is None else self.chosen.to_json(), "frames": self.frames}

    def restore_structure(self, structure: dict[str, Any]) -> None:
        self.frames = structure["frames"]
        if structure["plan"] is not None:
            self.restart(SharingPlan.from_json(structure["plan"]))

    def extra(self) -> dict[str, float]:
        likely = torch.stack([logits.softmax(-1).amax(-1).mean() for logits in self.logits.values()])
        return {**columns(self.plan()), "units": float(nodes(self.plan())), "choices decided": float(likely.mean())}

    def artefacts(self) -> dict[str, Any]:
        return {"merge_tree": picture(self.plan(), self.frames or [frame(self, self.plan(), 0)])}

    # -- training ---------------------------------------------------------------------------------------------------

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        searched, trained = divide(run, self.search)
        waiting = min(round(self.warm_up * searched), searched - 1)
        return [
            *([WarmUp(self, waiting, strategy)] if waiting else []),
            TreeSearch(self, searched - waiting, strategy),
            FinalTraining("retraining", trained, strategy, lambda: self.settle(searched)),
        ]


class WarmUp(Phase):
    """Train the nodes while no choice is learned."""

    def __init__(self, network: SearchedTree, epochs: int, strategy: Strategy) -> None:
        super().__init__("warm-up", epochs, strategy, selectable=False, schedule=(0.0, 0.0), deployable=False)
        self.network = network

    def prepare(self) -> None:
        self.network.gates = self.network.start_gates()
        super().prepare()


class TreeSearch(Phase):
    """Steps of the logits on one part of train and of the weights on the rest, under gates drawn anew for every step.

    The weights are thrown away, so their learning rate need not fall. No network is validated: that of all choices is
    nobody's to ship.
    """

    def __init__(self, network: SearchedTree, epochs: int, strategy: Strategy) -> None:
        super().__init__("tree search", epochs, strategy, selectable=False, schedule=(0.0, 0.0), deployable=False)
        self.network, self.run = network, strategy.run
        self.images_seen, self.epoch = 0, 0
        self.noise: dict[str, torch.Generator] = {}

    def prepare(self) -> None:
        network, run = self.network, self.run
        network.gates = {task: logits.softmax(-1) for task, logits in network.logits.items()}  # ownership depends on them
        super().prepare()
        steps = self.epochs * max(1, round(network.logit_images * run.images_per_epoch) // run.batch_size)
        rate = min(max(PUBLISHED_RATE, TRAVEL / steps), 0.1) if network.logit_lr == "auto" else network.logit_lr
        group = {"params": list(network.logits.values()), "fixed_lr": True}
        self.logit_optimizer = torch.optim.Adam([group], lr=rate, weight_decay=5e-5)

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {**self.strategy.optimizers, "logits": self.logit_optimizer}

    def passes(self, epoch: int) -> list[Pass]:
        self.epoch, self.images_seen = epoch, 0
        self.noise = {task: self.run.generator("gumbel", task) for task in self.strategy.tasks}
        weights = 1 - self.network.logit_images
        return [
            Pass(self.logit_step, (weights, 1.0), "logits"),
            Pass(self.weight_step, (0.0, weights), "weights", self.strategy.updates_per_step()),
        ]

    def relax(self, batch: Batch) -> None:
        """Draw the gates of the next step."""
        progress = (self.epoch + min(self.images_seen / self.run.images_per_epoch, 1.0)) / self.epochs
        self.network.relax(self.network.temperature_at(progress), self.noise)
        self.images_seen += len(batch)

    def weight_step(self, batch: Batch) -> TaskLosses:
        """The strategy's step; the logits stand still."""
        self.relax(batch)
        return self.strategy.step(batch)

    def logit_step(self, batch: Batch) -> TaskLosses:
        """One Adam step of the logits on the sum of the losses and the price; the weights stand still."""
        logits = list(self.network.logits.values())
        with training_only(self.network, logits):
            self.relax(batch)
            losses = self.strategy.losses(batch)
            objective = sum(losses.values(), self.network.price())
            if objective.requires_grad:
                self.logit_optimizer.zero_grad(set_to_none=True)
                objective.backward()
                self.logit_optimizer.step()
        return detached(losses)

    def end_epoch(self, epoch: int, losses: dict[str, float]) -> dict[str, Any]:
        super().end_epoch(epoch, losses)
        likely = self.network.likely_tree()
        return {"temperature": self.network.temperature_at((epoch + 1) / self.epochs), "likely units": nodes(likely)}

    def finish(self) -> None:
        self.network.gates = None


def tree_of(depths: Sequence[str], paths: Mapping[str, Sequence[int]]) -> SharingPlan:
    """The tree in which tasks are together as long as their paths are equal; a variant has its first task's number."""
    tasks = list(paths)
    table = []
    for depth in range(len(depths)):
        first: dict[tuple[int, ...], int] = {}
        table.append(tuple(first.setdefault(tuple(paths[task][: depth + 1]), number) for number, task in enumerate(tasks)))
    return SharingPlan(tuple(depths), tuple(tasks), tuple(table))


def relaxed_choices(logits: Tensor, gumbel: Tensor, temperature: float, kind: Literal["soft", "straight_through"]) -> Tensor:
    """Mixtures [..., T] from logits and Gumbel(0, 1) noise of that shape; or one-hot values with the mixtures' gradient."""
    soft = ((logits + gumbel) / temperature).softmax(-1)
    if kind == "soft":
        return soft
    return torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0) + soft - soft.detach()
