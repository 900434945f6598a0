"""Branched multi-task networks: deciding what layers to share (Vandenhende et al., BMVC 2020, arXiv:1904.02920).

Every task is first learned by a network of its own. Where these represent images alike, the tasks can share: under a
budget of parameters the tree of stages is chosen in which grouped tasks are least unlike, and trained from the beginning.

    RDM_{t,d} = 1 − Pearson(x_{t,d})               between every two of K images             (`dissimilarity_matrix`)
    A_{d,i,j} = Spearman(RDM_{i,d}, RDM_{j,d})     over their upper triangles                (`affinity`)
    C(tree)   = Σ_d mean over groups of max_{i,j in the group} (1 − A_{d,i,j})               (`best_tree`)
    minimise C subject to parameters ≤ shared + `size` · (separate − shared)

Legend: t, i, j tasks; d locations, the ends of the stages; x_{t,d} the maps of task t's network there; "shared" and
"separate" the parameters of hard sharing and of single-task trunks.

Choices and deviations (there is no official code):
    Search. Exact by dynamic programming for up to six tasks; with more, only groups that joining the most alike in turn
    gives are tried, where the paper clusters spectrally. `beam` limits the partial trees that are kept, as in the paper.
    Stem. It has no location of its own and is always shared.
    Images. The K first training images of a fixed order, without augmentation and in evaluation mode, for all tasks alike.
    Budget. The single-task networks are part of it: `search` of the epochs (equal_total). Under "paper" they are trained as
    long as a plain network, and the branched one again as long.
    Initial weights. The branched network starts from the trial's, as all others do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtlbench.contract import (
    Architecture,
    Hyper,
    Phase,
    Publication,
    Run,
    SharingGraph,
    SharingPlan,
    Strategy,
    Uniform,
)

from .._shared.initial_weights import restart_with
from .._shared.partitions import Partition
from .._shared.trees import Frame, Similarity, columns, frame, nodes, picture
from .affinity import affinity, dissimilarity_matrix
from .tree_search import best_tree


class Branched(Architecture):
    """Tasks branch off from a common trunk where networks of their own have come to see images differently."""

    family: ClassVar[str] = "branched"
    publication: ClassVar[Publication | None] = Publication(
        "Vandenhende et al.", "BMVC", 2020, "Branched Multi-Task Networks: Deciding What Layers To Share", arxiv="1904.02920"
    )

    minimum_epochs: ClassVar[int] = 2

    size: float = Hyper(
        0.5,
        search=Uniform(0.0, 1.0),
        ge=0,
        le=1,
        help="budget of trunk parameters: 0 those of hard sharing, 1 those of separate networks",
    )
    search: float = Hyper(0.4, gt=0, lt=1, help="share of the budget that the single-task networks take (equal_total)")
    images: int = Hyper(500, ge=3, help="K, training images that are compared; fewer if there are fewer")
    beam: int = Hyper(0, ge=0, help="partial trees that the search keeps per location; 0: all")

    def build(self) -> None:
        self.units = self.stage_units()
        self.graph = SharingGraph(self.units, SharingPlan.private([unit.name for unit in self.units], list(self.tasks)))
        self.chosen = False
        self.frames: list[Frame] = []
        self.similarity: list[Similarity] = []
        self.score = 0.0

    # -- choosing the tree ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def affinities(self, run: Run) -> NDArray[np.float64]:
        """A [D, T, T] of the tasks' own networks, on the run's fixed images, in evaluation mode."""
        training = self.training
        self.eval()
        by_location = []
        for location in range(len(self.stage_channels)):  # one by one: the maps of all of them may not fit into memory
            matrices = [dissimilarity_matrix(self.maps_at(location, task, run)) for task in self.tasks]
            by_location.append(affinity(matrices))
        self.train(training)
        return np.stack(by_location)

    def maps_at(self, location: int, task: str, run: Run) -> Tensor:
        """x_{t,d}: a task's maps at a location, [K, C, H, W]."""
        assert self.graph is not None
        chunks = []
        for batch in run.training_images(self.images, run.batch_size):
            with run.autocast():
                chunks.append(self.graph(self.normalised(batch.image), [task], None)[task][location].float())
        return torch.cat(chunks)

    def choose(self, affinities: NDArray[np.float64]) -> SharingPlan:
        """The best tree within the budget, as a plan: the stem shared, then one partition per stage."""
        costs = [sum(parameter.numel() for parameter in unit.make().parameters()) for unit in self.units]
        limit = sum(costs) * (1 + self.size * (len(self.tasks) - 1))
        tree = best_tree(1 - affinities, costs[1:], limit - costs[0], self.beam)
        self.score = tree.score
        everyone: Partition = (tuple(range(len(self.tasks))),)
        table = tuple(row(partition, len(self.tasks)) for partition in (everyone, *tree.levels))
        return SharingPlan(tuple(unit.name for unit in self.units), tuple(self.tasks), table)

    def settle(self, run: Run, learned: int) -> None:
        """Measure after so many epochs, choose, and become the branched network with the trial's initial weights."""
        self.frames.append(frame(self, self.plan(), 0))
        affinities = self.affinities(run)
        plan = self.choose(affinities)
        self.similarity = [
            {
                "phase": 0,
                "epoch": learned,
                "unit": unit.name,
                "tasks": list(self.tasks),
                "merged": [list(group) for group in plan.groups(depth).values() if len(group) > 1],
                "before": [[round(float(value), 4) for value in line] for line in matrix],
                "after": None,
            }
            for depth, (unit, matrix) in enumerate(zip(self.units[1:], affinities, strict=True), start=1)
        ]
        self.restart(plan)
        self.frames.append(frame(self, plan, learned))

    def restart(self, plan: SharingPlan) -> None:
        """Become the network of a plan, with the trial's initial weights."""
        self.chosen = True
        restart_with(SharingGraph(self.units, plan), self)

    # -- what is saved and shown ------------------------------------------------------------------------------------

    def structure(self) -> dict[str, Any]:
        return {
            "plan": self.plan().to_json() if self.chosen else None,
            "frames": self.frames,
            "similarity": self.similarity,
            "score": self.score,
        }

    def restore_structure(self, structure: dict[str, Any]) -> None:
        self.frames, self.similarity, self.score = structure["frames"], structure["similarity"], structure["score"]
        if structure["plan"] is not None:
            self.restart(SharingPlan.from_json(structure["plan"]))

    def extra(self) -> dict[str, float]:
        return {**columns(self.plan()), "units": float(nodes(self.plan())), "tree score": self.score}

    def artefacts(self) -> dict[str, Any]:
        frames = self.frames or [frame(self, self.plan(), 0)]
        return {"merge_tree": picture(self.plan(), frames, self.similarity, "RSA affinity of the tasks' own networks")}

    # -- training ---------------------------------------------------------------------------------------------------

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        own = joint = run.budget.epochs
        if run.budget.mode == "equal_total":
            own, joint = run.budget.split(self.search, 1 - self.search)
        elif run.budget.mode == "equal_final":
            own = max(1, round(joint * self.search / (1 - self.search)))
        return [Phase("single-task", own, strategy, selectable=False), Joint(self.settle, own, joint, strategy)]


class Joint(Phase):
    """Train the branched network from the trial's initial weights.

    Args:
        settle: chooses the tree and makes the network that of it; takes the run, and the epochs that were learned.
        learned: epochs of the phase before.
    """

    def __init__(self, settle: Callable[[Run, int], None], learned: int, epochs: int, strategy: Strategy) -> None:
        super().__init__("joint", epochs, strategy)
        self.settle, self.learned = settle, learned

    def begin(self) -> None:
        self.settle(self.strategy.run, self.learned)
        self.strategy.reset()  # what it learned belongs to other weights


def row(partition: Partition, tasks: int) -> tuple[int, ...]:
    """A partition as the plan's row: every task has the number of its group's first."""
    first = {task: min(group) for group in partition for task in group}
    return tuple(first[task] for task in range(tasks))
