"""What a record keeps of how a method came to its network: what pictures are drawn from is typed, the rest is JSON.

A method may add keys of its own to an artefact, and artefacts of other kinds.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field, StrictBool, StrictInt, model_validator

from mtlbench.records.model import SparseModel
from mtlbench.records.values import Count, Matrix, Names, Number, as_json, require_shape


class Artefact(SparseModel):
    """Something that a method leaves in a record, with keys of its own beside the typed ones."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _other_keys_are_json(self) -> Artefact:
        others = self.model_extra or {}
        for name, value in others.items():
            others[name] = as_json(value)
        return self


class PolicyEpoch(Artefact):
    """A policy after one epoch of learning it.

    Attributes:
        gated: how many of the last blocks are decided by the policy; the others are executed by all tasks.
        probability: [K][L], of execution.
    """

    epoch: StrictInt
    gated: Count
    probability: Matrix


class Policy(Artefact):
    """A select-or-skip policy of K tasks over L blocks.

    Attributes:
        probability: [K][L], of execution.
        decision: [K][L], what is executed.
        correlation: [K][K], how alike the tasks' policies are, −1 … 1.
        history: one entry per epoch in which the policy was learned.
    """

    tasks: Names
    blocks: Names
    probability: Matrix
    decision: list[list[StrictBool]]
    correlation: Matrix
    history: list[PolicyEpoch] = Field(default_factory=list)

    @model_validator(mode="after")
    def _has_shapes(self) -> Policy:
        tasks, blocks = len(self.tasks), len(self.blocks)
        require_shape("probability", self.probability, tasks, blocks)
        require_shape("decision", self.decision, tasks, blocks)
        require_shape("correlation", self.correlation, tasks, tasks)
        for entry in self.history:
            require_shape(f"probability of epoch {entry.epoch}", entry.probability, tasks, blocks)
        return self


class TreeFrame(Artefact):
    """A network that shares units in a tree, as it is from an epoch on.

    Attributes:
        table: depth × task → number of the variant; no unit is skipped.
        flops: of one image.
    """

    epoch: StrictInt
    table: list[list[Count]]
    parameters: Count
    flops: Count


class SimilarityTest(Artefact):
    """A group of tasks whose features were compared at a unit.

    Attributes:
        merged: the groups that share the unit from here on.
        before, after: similarity of the tasks; `after` None where it was not measured again.
    """

    epoch: StrictInt
    unit: str
    tasks: Names
    merged: list[Names]
    before: Matrix | None
    after: Matrix | None

    @model_validator(mode="after")
    def _has_shapes(self) -> SimilarityTest:
        for name, matrix in (("before", self.before), ("after", self.after)):
            if matrix is not None:
                require_shape(name, matrix, len(self.tasks), len(self.tasks))
        return self


class MergeTree(Artefact):
    """A network whose tasks share units in a tree, over training.

    Attributes:
        units: names, from the image to the heads.
        frames: its states in order, at least one.
        similarity: one entry per group of tasks that was tested, where the tree was learned.
        measure: what similarity is.
    """

    tasks: Names
    units: Names
    frames: list[TreeFrame] = Field(min_length=1)
    similarity: list[SimilarityTest] = Field(default_factory=list)
    measure: str = "CKA of the tasks' features"

    @model_validator(mode="after")
    def _has_shapes(self) -> MergeTree:
        for frame in self.frames:
            require_shape(f"table of epoch {frame.epoch}", frame.table, len(self.units), len(self.tasks))
        return self


class GradientEpoch(Artefact):
    """The tasks' gradients of the shared weights over one epoch.

    Attributes:
        cosine: "task|task" → mean cosine over the measured steps, None where nothing was measured.
        conflict: "task|task" → fraction of these steps with a negative cosine.
        gradient_norm: task → mean norm.
    """

    cosine: dict[str, Number | None]
    conflict: dict[str, Number | None] = Field(default_factory=dict)
    gradient_norm: dict[str, Number | None] = Field(default_factory=dict)


class WeightTravel(Artefact):
    """How far the shared weights went in one phase.

    Attributes:
        path_length: sum of the lengths of all updates.
        displacement: distance between the first and the last weights.
        ratio: the first over the second, None where that is 0.
    """

    phase: str
    updates: Count
    path_length: Number
    displacement: Number
    ratio: Number | None


class GradientDiagnostics(Artefact):
    """What the strategy did to the shared weights.

    Attributes:
        every: gradients were measured on every so many steps.
        phases: one entry per phase, and per structure within a phase.
    """

    every: Count | None = None
    epochs: list[GradientEpoch]
    phases: list[WeightTravel] = Field(default_factory=list)


class Artefacts(Artefact):
    """Kind → artefact. Kinds that nothing is drawn from are JSON."""

    policy: Policy | None = None
    merge_tree: MergeTree | None = None
    diagnostics: GradientDiagnostics | None = None
