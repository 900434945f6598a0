"""What a record says about robustness: the deployed network under corrupted images and under attack."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator, Field, StrictFloat, StrictInt, model_validator

from mtlbench.records.model import RecordModel, SparseModel
from mtlbench.records.values import Count, Number, Positive

ROUNDING = 1e-6
"""How far rounding may take a skill out of its range."""


def _in_range(skill: float) -> float:
    if abs(skill) > 1 + ROUNDING:
        raise ValueError(f"a skill of {skill:g}, expected −1 to 1 (NaN where it is undefined)")
    return skill


Skill = Annotated[StrictFloat, AfterValidator(_in_range)]
"""From −1 (at worst) over 0 (as good as a constant) to 1 (perfect); NaN where a set has no task with a skill."""


def _radius(text: str) -> str:
    try:
        finite = math.isfinite(float(text))
    except ValueError:
        finite = False
    if not finite:
        raise ValueError(f"the PGD radius {text!r} is not a number")
    return text


Radius = Annotated[str, AfterValidator(_radius)]
"""A radius in units of 1/255, as text."""


class Corruption(RecordModel):
    """What tables and pictures need to know of a corruption.

    Attributes:
        label: the name as people read it.
        keeps_geometry: True when labels stay under their pixels.
    """

    name: str
    label: str
    group: str
    keeps_geometry: bool


class Scores(RecordModel):
    """One network on one set of images, of which the clean version is evaluated elsewhere (`Evaluation`)."""

    metrics: dict[str, dict[str, Number]]
    skill: dict[str, Skill]
    mean_skill: Skill


Cells = dict[str, dict[str, Scores]]
"""Corruption → severity as text → scores."""


class CorruptionScores(SparseModel):
    """A network under a suite of corruptions: every one at every severity.

    Attributes:
        corruptions: in the order that tables have.
    """

    corruptions: list[Corruption] = Field(default_factory=list)
    severities: list[Count] = Field(default_factory=list)
    cells: Cells

    @model_validator(mode="after")
    def _is_complete(self) -> CorruptionScores:
        if sorted(corruption.name for corruption in self.corruptions) != sorted(self.cells):
            raise ValueError("the described corruptions are not those of its cells")
        expected = {str(severity) for severity in self.severities}
        for name, scores in self.cells.items():
            if scores.keys() != expected:
                given = ", ".join(scores) or "none"
                raise ValueError(f"{name} has cells at severities {given}, expected {self.severities}")
        return self


class Attacks(RecordModel):
    """Projected gradient descent on the images.

    Attributes:
        unit: of radii and steps.
        step: step size.
        steps: radius → number of steps.
        attacks: radius → attacked task, or `all` → scores of all tasks.
    """

    unit: str
    step: Positive
    steps: dict[Radius, StrictInt]
    attacks: dict[Radius, dict[str, Scores]]


class Robustness(CorruptionScores):
    """The deployed network on corrupted test images and under attack.

    Attributes:
        suite: `quick`, `full`, or `off` where only attacks or `val` were asked for.
        version: of the corruptions.
        corrupt_at: resolution at which images are corrupted: `network` or `native`.
        disqualified: corruption → the augmentation because of which it was not evaluated.
        images: how many there are.
        val: further corruptions on val, for choosing and never reported.
        pgd: attacks on test.
        summary: name → number; see `mtlbench.statistics.robustness_summary.SUMMARY`.
        worst: the corruption under which skill is lowest.
    """

    suite: str
    version: str | None = None
    corrupt_at: str | None = None
    disqualified: dict[str, str] = Field(default_factory=dict)
    images: Count | None = None
    val: CorruptionScores | None = None
    pgd: Attacks | None = None
    summary: dict[str, Number] = Field(default_factory=dict)
    worst: str | None = None
