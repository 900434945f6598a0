"""MTSL: multi-task structural learning (Gurulingan, Zonooz and Arani, ICML 2023, arXiv:2305.00441).

Every task starts with a network of its own, all alike to the bit. While the tasks are learned, the networks are merged from
the image on: in each structural phase the tasks of a group whose next units have become alike get one new unit, which first
learns to reproduce those that it replaces. Groups only split, so that the result is a tree; heads are never merged.

Legend: g a group of tasks (at first all) whose next unit is u; Z_i [N, C] the globally averaged output of task i's own copy
of u; F_i that output; F_g the output of the group's new unit on the same input; c_i a channel gate; ⊙ a product per channel.

    L_align(g) = λ (1 − mean_{i<j} CKA(Z_i, Z_j))        while tasks are learned, added to their losses  (`alignment_loss`)
    grouping                                             by CKA on fixed training images, exhaustive     (`best_partition`)
    L_amalgamation(g) = Σ_i mean (F_i − c_i(F_g) ⊙ F_g)²  trains the new unit and the gates alone         (`Fusion`)

Phases: *separate* task learning; one *structure* phase per unit: similarity and grouping, amalgamation, removal of the
members, and task learning with the merged units; the *final* structure. Tasks of a group that did not merge stay together
and are tested on the same unit again; a single one is done. The gates are discarded, and the optimizer's state is kept.

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

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from torch import nn

from mtlbench.contract import (
    Architecture,
    Batch,
    Hyper,
    LogUniform,
    Phase,
    Publication,
    Run,
    SharingGraph,
    SharingPlan,
    Strategy,
    TaskLosses,
    Uniform,
    UserError,
)

from .._shared.trees import columns, picture
from .alignment import Alignment
from .phases import Learning, Structure
from .published_network import heads, units
from .schedule import schedule
from .task_tree import Criterion, TaskTree

MOST_TASKS, MOST_TASKS_OFFICIAL = 10, 5
"""How many tasks an exhaustive search can do in seconds."""


class MTSL(Architecture):
    """Start with one network per task; merge, unit by unit, those of tasks whose features become alike."""

    family: ClassVar[str] = "learned sharing"
    publication: ClassVar[Publication | None] = Publication(
        "Gurulingan et al.",
        "ICML",
        2023,
        "Multi-Task Structural Learning using Local Task Similarity induced Neuron Creation and Removal",
        arxiv="2305.00441",
    )
    compared_with: ClassVar[str] = "official code"

    minimum_epochs: ClassVar[int] = 7

    threshold: float = Hyper(0.8, search=Uniform(0.5, 0.95), ge=-1, le=1.1, help="merge groups whose mean CKA is above it")
    alignment: float = Hyper(0.2, search=LogUniform(0.02, 1.0), ge=0, help="λ: weight of L_align")
    transfer: Literal["amalgamation", "average"] = Hyper(
        "amalgamation", help="how a new unit gets its weights: learned from its members, or their average"
    )
    first: float = Hyper(0.2, search=Uniform(0.1, 0.4), gt=0, lt=1, help="share of the budget before any merging")
    last: float = Hyper(0.65, search=Uniform(0.5, 0.8), gt=0, lt=1, help="share after which the structure is final")
    amalgamation: float = Hyper(
        0.4, search=Uniform(0.2, 0.8), gt=0, le=1, help="share of a structure phase that amalgamation takes"
    )
    amalgamation_lr: Literal["auto"] | float = Hyper(
        "auto", gt=0, help="its constant Adam rate; auto: the protocol's if Adam's, else 1e-4"
    )
    images: int = Hyper(800, ge=4, help="training images that similarity is measured on; fewer if there are fewer")
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
        self.units = units(self) if self.decoder == "fpn" else self.stage_units()
        if self.decoder == "fpn":
            self.heads = heads(self)
        self.graph = SharingGraph(self.units, SharingPlan.private([unit.name for unit in self.units], list(self.tasks)))
        criterion = Criterion(self.threshold, self.images, self.strict_official, self.transfer)
        self.tree = TaskTree(self, self.units, criterion)
        self.aligner = Alignment(self.tree, self.alignment)

    def losses(self, batch: Batch, tasks: Sequence[str] | None = None) -> TaskLosses:
        with self.tree.pooled_outputs(self.aligner.groups()) as pooled:
            losses = super().losses(batch, tasks)
        return self.aligner.add_to(losses, pooled, batch)

    def owners(self) -> dict[str, frozenset[str]]:
        """While units are aligned, the losses of all their group's tasks reach each of them."""
        tree, reached = self.tree, dict[int, frozenset[str]]()

        def reach(module: nn.Module, tasks: Sequence[str]) -> None:
            reached.update({id(parameter): frozenset(tasks) for parameter in module.parameters()})

        for group in [*self.aligner.groups(), *tree.pending]:
            for task in group.tasks:
                reach(tree.copy_of(group.unit, task), group.tasks)
        for group in tree.pending:
            reach(tree.fusion(group), group.tasks)
        owners = super().owners()
        return {name: reached.get(id(parameter), owners[name]) for name, parameter in self.named_parameters()}

    # -- what is saved and shown ------------------------------------------------------------------------------------

    def structure(self) -> dict[str, Any]:
        return self.tree.structure()

    def restore_structure(self, structure: dict[str, Any]) -> None:
        self.tree.restore_structure(structure)

    def extra(self) -> dict[str, float]:
        frames = self.tree.frames
        present = sum(parameter.numel() for parameter in self.parameters())
        return {
            **columns(self.plan()),
            "merges": float(sum(len(entry["merged"]) for entry in self.tree.history)),
            "parameters / separate": present / (frames[0]["parameters"] if frames else present),
        }

    def artefacts(self) -> dict[str, Any]:
        return {"merge_tree": picture(self.plan(), self.tree.frames, self.tree.history)}

    # -- training ---------------------------------------------------------------------------------------------------

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        plan = schedule(run.budget, len(self.units), self.first, self.last, self.amalgamation)
        start, following, ending = plan.stretches[0], plan.stretches[1:-1], plan.stretches[-1]
        tree, aligner, rate = self.tree, self.aligner, self.amalgamation_lr
        return [
            Learning(tree, aligner, "separate", plan.separate, strategy, start, aligning=True),
            *(
                Structure(tree, aligner, number, strategy, stretch, learning, plan.amalgamation, rate)
                for number, (learning, stretch) in enumerate(zip(plan.learning, following, strict=True))
            ),
            Learning(tree, aligner, "final", plan.final, strategy, ending, final=True),
        ]
