"""How good a network is on a set of images."""

from __future__ import annotations

from mtlbench.records.model import RecordModel


class Evaluation(RecordModel):
    """One network on one set of images.

    Attributes:
        metrics: task → metric → value (NaN where undefined).
        constant: task → the primary metric of the reference constant on the same images.
        skill: task → (c − m)/(c − p); a task whose constant is already perfect is absent.
        mean_skill: mean over the tasks in `skill`.
    """

    metrics: dict[str, dict[str, float]]
    constant: dict[str, float]
    skill: dict[str, float]
    mean_skill: float
