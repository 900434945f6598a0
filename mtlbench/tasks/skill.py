"""Skill: a task's primary metric on the scale from the best constant predictor (0) to perfect (1)."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite


def skill(metric: float, constant: float, perfect: float) -> float | None:
    """(c - m) / (c - p), whichever way is better; -1 for a non-finite metric, and at worst.

    Args:
        metric: the primary metric m of a prediction.
        constant: the metric c of the reference constant, fitted on train and scored on the same images as m.
        perfect: the metric's perfect value p.

    Returns:
        None for a task that has no skill and is left out: c equals p, or c is not finite (no valid target to score on).
    """
    if constant == perfect or not isfinite(constant):
        return None
    if not isfinite(metric):
        return -1.0
    return max(-1.0, (constant - metric) / (constant - perfect))


def mean_skill(skills: Mapping[str, float | None]) -> float:
    """Mean over the tasks that have a skill (name to skill); NaN when none has."""
    values = [value for value in skills.values() if value is not None]
    return sum(values) / len(values) if values else float("nan")
