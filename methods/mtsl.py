"""MTSL: multi-task structural learning (Gurulingan, Zonooz and Arani, ICML 2023, arXiv:2305.00441).

Every task starts with a network of its own, all alike to the bit. While the tasks are learned, the networks are merged from
the image on: in each structural phase the tasks of a group whose next units have become alike get one new unit, which first
learns to reproduce those that it replaces. Groups only split, so that the result is a tree; heads are never merged.

Legend: g a group of tasks (at first all) whose next unit is u; Z_i [N, C] the globally averaged output of task i's own copy
of u; F_i that output; F_g the output of the group's new unit on the same input; c_i a channel gate; ⊙ a product a channel.

    L_align(g) = λ (1 − mean_{i<j} CKA(Z_i, Z_j))        while tasks are learned, added to their losses  (`alignment_loss`)
    grouping                                             by CKA on fixed training images, exhaustive     (`best_partition`)
    L_amalgamation(g) = Σ_i mean (F_i − c_i(F_g) ⊙ F_g)²  trains the new unit and the gates alone         (`Fusion`)

Phases: *separate* task learning; a *structure* phase a unit: similarity and grouping, amalgamation, removal of the members,
and task learning with what is merged; the *final* structure. Tasks of a group that did not merge stay together and are
tested on the same unit again; a single one is done. The gates are thrown away, and the optimizer's state is kept.

Choices and deviations:
    Grouping. The official search mishandles overlapping subsets, and so sometimes misses the best partition; ours is exact
    (`strict_official=True` gives theirs). Threshold 0.8 is what the official code runs with; its 0.95 is never read.
    Optimizer. The official hand-over loses the moments of many parameters that it meant to keep when only some tasks merge.
    Here every state is carried by name; the new unit gets the mean of its members'.
    Averaging. transfer="average" averages BatchNorm's running statistics too; the official one leaves them at their start.
    Learning rate. Amalgamation has a fresh Adam at the training's rate, as published (1e-4 both), and 1e-4 beside other
    optimizers. It does not advance the schedule of task learning.
    Budget. Amalgamation counts. Phases lie at shares of the budget, the first when the tasks have had time to differ. Where
    nothing merges, tasks are learned instead; under budget "paper", which is the published time line, nothing is spent then.
    Units. The backbone's stem and stages under the protocol's heads; decoder="fpn" is the published ten-unit network.
    Losses. Each member's loss carries an equal part of L_align, so that any strategy can be used; their sum is as published.
    A strategy that weighs losses weighs it, too; one that steps on a single task at a time (alternating with groups of one)
    sees no pair of tasks, and learns without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlbench.contract import (
    Architecture,
    Batch,
    Hyper,
    LogUniform,
    Phase,
    Run,
    SharingGraph,
    SharingPlan,
    Strategy,
    TaskLosses,
    Uniform,
    UserError,
)
from mtlbench.methods._mtsl_network import heads, units
from mtlbench.methods._mtsl_phases import Learning, Structure
from mtlbench.methods._mtsl_schedule import schedule
from mtlbench.methods._optimizer_state import Carried, average
from mtlbench.methods._shared_tree import columns, frame, merged, picture
from mtlbench.methods._task_grouping import cka, merging

MOST_TASKS, MOST_TASKS_OFFICIAL = 10, 5
"""What an exhaustive search can do in seconds."""


class Group(NamedTuple):
    """Tasks that share everything before a unit, and have copies of their own of it."""

    unit: int
    tasks: list[str]


class Fusion(nn.Module):
    """A group's new unit in the making, and a channel gate a member: c_i(F) = σ(W₂ ReLU(W₁ GAP(F) + b₁) + b₂)."""

    unit: nn.Module

    def __init__(self, unit: nn.Module, members: int, channels: int) -> None:
        super().__init__()
        self.unit, self.channels = unit, channels
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.Sigmoid())
            for _ in range(members)
        )

    def loss(self, student: Tensor, teachers: Sequence[Tensor]) -> Tensor:
        """L_amalgamation of features F_g and F_i, all [B, C, H, W]."""
        student = student.float() if student.dtype != torch.float64 else student
        pooled = student.mean((2, 3))
        return sum(
            F.mse_loss(gate(pooled)[:, :, None, None] * student, teacher.to(student.dtype))
            for gate, teacher in zip(self.gates, teachers, strict=True)
        )  # type: ignore[return-value]


def alignment_loss(features: Sequence[Tensor]) -> Tensor:
    """L_align / λ of pooled features, each [B, C]: 1 − mean CKA over pairs."""
    similarity = cka(features)
    rows, cols = torch.triu_indices(len(features), len(features), 1, device=similarity.device)
    return 1 - similarity[rows, cols].mean()


def average_into(unit: nn.Module, members: Sequence[nn.Module]) -> None:
    """Give a unit the mean of its members' parameters and running statistics; equal members keep their function."""
    states = [member.state_dict() for member in members]
    unit.load_state_dict({name: average([state[name] for state in states]) for name in states[0]})


class MTSL(Architecture):
    """Start with a network a task; merge, unit by unit, those of tasks whose features become alike."""

    minimum_epochs: ClassVar[int] = 7

    threshold: float = Hyper(
        0.8, search=Uniform(0.5, 0.95), check="-1 <= v <= 1.1", help="merge groups whose mean CKA is above it"
    )
    alignment: float = Hyper(0.2, search=LogUniform(0.02, 1.0), check="v >= 0", help="λ: weight of L_align")
    transfer: Literal["amalgamation", "average"] = Hyper(
        "amalgamation", help="how a new unit gets its weights: learned from its members, or their average"
    )
    first: float = Hyper(0.2, search=Uniform(0.1, 0.4), check="0 < v < 1", help="share of the budget before any merging")
    last: float = Hyper(0.65, search=Uniform(0.5, 0.8), check="0 < v < 1", help="share after which the structure is final")
    amalgamation: float = Hyper(
        0.4, search=Uniform(0.2, 0.8), check="0 < v <= 1", help="share of a structure phase that amalgamation takes"
    )
    amalgamation_lr: Literal["auto"] | float = Hyper(
        "auto", check="v == 'auto' or v > 0", help="its constant Adam rate; auto: the protocol's if Adam's, else 1e-4"
    )
    images: int = Hyper(800, check="v >= 4", help="training images that similarity is measured on; fewer if there are fewer")
    decoder: Literal["protocol", "fpn"] = Hyper(
        "protocol", help="the protocol's heads on the backbone, or the published network with a merged decoder"
    )
    strict_official: bool = Hyper(False, help="search for groups as the official code does, its bug included")

    def build(self) -> None:
        most = MOST_TASKS_OFFICIAL if self.strict_official else MOST_TASKS
        if len(self.tasks) > most:
            raise UserError(
                f"mtsl searches all partitions of the tasks: at most {most} tasks, and there are {len(self.tasks)}."
            )
        names = list(self.tasks)
        self.units = units(self) if self.decoder == "fpn" else self.stage_units()
        if self.decoder == "fpn":
            self.heads = heads(self)
        self.graph = SharingGraph(self.units, SharingPlan.private([unit.name for unit in self.units], names))
        self.groups = [Group(0, names)] if len(names) > 1 else []
        self.pending: list[Group] = []
        self.fusions = nn.ModuleDict()
        self.aligning = False
        self.aligned: list[Tensor] = []
        self.elapsed = 0
        self.frames: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.carried: Carried | None = None

    # -- the tree ---------------------------------------------------------------------------------------------------

    def key(self, unit: int, task: str) -> str:
        """The graph's name of the copy of a unit that a task runs. A shared one has the number of its first task."""
        plan = self.plan()
        return f"{unit}_{plan.table[unit][plan.tasks.index(task)]}"

    def inputs(self, image: Tensor, unit: int, task: str, done: dict[str, Tensor]) -> list[Tensor]:
        """What a task's copy of a unit reads; `done` keeps what has been computed on these images."""
        below = self.output(image, unit - 1, task, done) if unit else image
        return [below, *(self.output(image, lateral, task, done) for lateral in self.units[unit].laterals)]

    def output(self, image: Tensor, unit: int, task: str, done: dict[str, Tensor]) -> Tensor:
        """A unit's output on a task's own path, from normalised images."""
        assert self.graph is not None
        key = self.key(unit, task)
        if key not in done:
            done[key] = self.graph.variants[key](*self.inputs(image, unit, task, done))
        return done[key]

    @torch.no_grad()
    def pooled(self, run: Run, groups: Sequence[Group]) -> list[list[Tensor]]:
        """Z of every member of every group, [N, C] in double precision, on the run's fixed images, in evaluation mode."""
        found: list[list[list[Tensor]]] = [[[] for _ in group.tasks] for group in groups]
        training = self.training
        self.eval()
        for batch in run.training_images(self.images, run.batch_size):
            done: dict[str, Tensor] = {}
            with run.autocast():
                image = self.normalised(batch.image)
                for group, own in zip(groups, found, strict=True):
                    for task, chunks in zip(group.tasks, own, strict=True):
                        chunks.append(self.output(image, group.unit, task, done).double().mean((2, 3)))
        self.train(training)
        return [[torch.cat(chunks) for chunks in own] for own in found]

    def regroup(self, run: Run, phase: int) -> None:
        """Measure similarity, decide which tasks merge, and prepare their new units."""
        following = []
        for group, features in zip(self.groups, self.pooled(run, self.groups), strict=True):
            similarity = cka(features)
            chosen = [[group.tasks[i] for i in one] for one in merging(similarity, self.threshold, self.strict_official)]
            left = [task for task in group.tasks if not any(task in one for one in chosen)]
            for tasks in chosen:
                self.pending.append(Group(group.unit, tasks))
                self.fusions[self.key(group.unit, tasks[0])] = self.fusion(self.pending[-1], features[0].shape[1])
                if group.unit + 1 < len(self.units):
                    following.append(Group(group.unit + 1, tasks))
            if len(left) > 1:
                following.append(Group(group.unit, left))
            entry = {"phase": phase, "epoch": self.elapsed, "unit": self.units[group.unit].name, "tasks": group.tasks}
            self.history.append({**entry, "merged": chosen, "before": rounded(similarity), "after": None})
        self.groups = following

    def compare(self, run: Run, phase: int) -> None:
        """Measure the similarity again at the end of a phase, of groups that merged in part.

        Tasks that merged run one unit on one input, so that theirs is 1 without measuring.
        """
        entries = [entry for entry in self.history if entry["phase"] == phase and entry["merged"]]
        for entry in entries:
            entry["after"] = rounded(torch.ones(len(entry["tasks"]), len(entry["tasks"])))
        partly = [entry for entry in entries if entry["merged"] != [entry["tasks"]]]
        groups = [Group(self.plan().depths.index(entry["unit"]), entry["tasks"]) for entry in partly]
        for entry, features in zip(partly, self.pooled(run, groups) if groups else [], strict=True):
            entry["after"] = rounded(cka(features))

    def fusion(self, group: Group, channels: int) -> Fusion:
        """A group's new unit: the trial's initial weights (pre-trained ones, where the backbone has them)."""
        made = Fusion(self.units[group.unit].make(), len(group.tasks), channels)
        return made.to(self.mean.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def fusing(self, group: Group) -> Fusion:
        """The new unit of a group that is about to merge."""
        made = self.fusions[self.key(group.unit, group.tasks[0])]
        assert isinstance(made, Fusion)
        return made

    def merge(self, states: dict[str, dict[str, Any]]) -> None:
        """Put the new units in place of their members', and average the optimizer's states of those."""
        assert self.graph is not None
        plan = self.plan()
        modules: dict[str, nn.Module] = dict(self.graph.variants.items())
        for unit, tasks in self.pending:
            keys = [self.key(unit, task) for task in tasks]
            new = self.fusing(Group(unit, tasks)).unit
            if self.transfer == "average":
                average_into(new, [modules[key] for key in keys])
            for state in states.values():
                for name, _ in new.named_parameters():
                    own = [state.pop(f"graph.variants.{key}.{name}", None) for key in keys]
                    if known := [one for one in own if one is not None]:
                        state[f"graph.variants.{keys[0]}.{name}"] = {k: average([one[k] for one in known]) for k in known[0]}
            modules[keys[0]] = new
            plan = merged(plan, unit, tasks)
        self.pending = []
        self.fusions = nn.ModuleDict()
        self.rewire(plan, modules)

    def rewire(self, plan: SharingPlan, modules: Mapping[str, nn.Module]) -> None:
        """Take on a plan, with the given modules where it has use for them."""
        self.graph = SharingGraph(self.units, plan)
        for key in self.graph.variants:
            if key in modules:
                self.graph.variants[key] = modules[key]

    def snapshot(self) -> None:
        """Remember what the network looks like, if it has changed."""
        if not self.frames or self.frames[-1]["table"] != [list(row) for row in self.plan().table]:
            self.frames.append(frame(self, self.elapsed))

    # -- losses -----------------------------------------------------------------------------------------------------

    def losses(self, batch: Batch, tasks: Sequence[str] | None = None) -> TaskLosses:
        groups = self.groups if self.aligning and self.alignment > 0 else []
        with self.pooling(groups) as pooled:
            losses = super().losses(batch, tasks)
        for group in groups:
            members = [task for task in group.tasks if task in losses]
            if len(members) < 2:
                continue
            if batch.rows is None:
                features = [pooled[self.key(group.unit, task)] for task in members]
            else:  # The tasks have images of their own, and only common ones can be compared.
                done: dict[str, Tensor] = {}
                image = self.normalised(batch.image)
                features = [self.output(image, group.unit, task, done).float().mean((2, 3)) for task in members]
            with torch.autocast(batch.image.device.type, enabled=False):
                loss = self.alignment * alignment_loss(features)
            self.aligned.append(loss.detach())
            for task in members:
                losses[task] = losses[task] + loss / len(members)
        return losses

    @contextmanager
    def pooling(self, groups: Sequence[Group]) -> Iterator[dict[str, Tensor]]:
        """Within the context every run of a group's next units leaves its globally averaged output, by the unit's key."""
        assert self.graph is not None
        pooled: dict[str, Tensor] = {}
        hooks = []
        for key in {self.key(group.unit, task) for group in groups for task in group.tasks}:

            def keep(_: nn.Module, __: object, output: Tensor, key: str = key) -> None:
                pooled[key] = output.float().mean((2, 3))

            hooks.append(self.graph.variants[key].register_forward_hook(keep))
        try:
            yield pooled
        finally:
            for hook in hooks:
                hook.remove()

    def owners(self) -> dict[str, frozenset[str]]:
        """While units are aligned, the losses of all their group's tasks reach each of them."""
        owned = super().owners()
        groups = [*(self.groups if self.aligning and self.alignment > 0 else []), *self.pending]
        reach = {f"graph.variants.{self.key(unit, task)}.": frozenset(tasks) for unit, tasks in groups for task in tasks}
        reach |= {f"fusions.{self.key(unit, tasks[0])}.": frozenset(tasks) for unit, tasks in self.pending}
        for name in owned:
            place = ".".join(name.split(".")[: 3 if name.startswith("graph.") else 2]) + "."
            owned[name] = reach.get(place, owned[name])
        return owned

    # -- what is saved and shown ------------------------------------------------------------------------------------

    def structure(self) -> dict[str, Any]:
        return {
            "plan": self.plan().to_json(),
            "groups": [list(group) for group in self.groups],
            "pending": [list(group) for group in self.pending],
            "channels": [self.fusing(group).channels for group in self.pending],
            "history": self.history,
            "frames": self.frames,
            "elapsed": self.elapsed,
            "carried": self.carried is not None,
        }

    def restore_structure(self, structure: dict[str, Any]) -> None:
        self.rewire(SharingPlan.from_json(structure["plan"]), {})
        self.groups = [Group(*one) for one in structure["groups"]]
        self.pending = [Group(*one) for one in structure["pending"]]
        self.history, self.frames, self.elapsed = structure["history"], structure["frames"], structure["elapsed"]
        self.fusions = nn.ModuleDict()
        for group, channels in zip(self.pending, structure["channels"], strict=True):
            self.fusions[self.key(group.unit, group.tasks[0])] = self.fusion(group, channels)
        self.carried = Carried({}) if structure["carried"] else None

    def extra(self) -> dict[str, float]:
        separate = self.frames[0]["parameters"] if self.frames else sum(one.numel() for one in self.parameters())
        return {
            **columns(self.plan()),
            "merges": float(sum(len(entry["merged"]) for entry in self.history)),
            "parameters / separate": sum(one.numel() for one in self.parameters()) / separate,
        }

    def artefacts(self) -> dict[str, Any]:
        return {"merge_tree": picture(self.plan(), self.frames, self.history)}

    # -- training ---------------------------------------------------------------------------------------------------

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        plan = schedule(run.budget, len(self.units), self.first, self.last, self.amalgamation)
        start, following, ending = plan.stretches[0], plan.stretches[1:-1], plan.stretches[-1]
        return [
            Learning(self, "separate", plan.separate, strategy, start, aligning=True),
            *(
                Structure(self, number, strategy, stretch, learning, plan.amalgamation)
                for number, (learning, stretch) in enumerate(zip(plan.learning, following, strict=True))
            ),
            Learning(self, "final", plan.final, strategy, ending, final=True),
        ]


def rounded(similarity: Tensor) -> list[list[float]]:
    """For records."""
    return [[round(value, 4) for value in row] for row in similarity.tolist()]
