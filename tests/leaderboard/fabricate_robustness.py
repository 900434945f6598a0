"""Records with robustness, shifted test sets and attacks, made up from a seed."""

from __future__ import annotations

from typing import Any

from numpy.random import default_rng

from mtlbench.records import Record, Robustness
from mtlbench.statistics.robustness_summary import summarise
from tests.leaderboard.fabricate import TASKS, evaluation, metrics_at, record

CORRUPTIONS = {"fog": True, "frost": True, "motion_blur": False}
"""Name → whether labels stay under their pixels."""

METHODS = {"single_task": 0.0, "hard_sharing": -0.05, "pcgrad": 0.05}
"""Method → how much better than single-task."""

SEVERITIES = (1, 3, 5)


def robust_record(method: str, seed: int, corruptions: dict[str, bool] = CORRUPTIONS, pgd: bool = True) -> Record:
    """Better methods stay better under every condition, higher severities are worse."""
    generator = default_rng([seed, len(method)])

    def scores(worse: float) -> dict[str, Any]:
        return evaluation(metrics_at(METHODS[method] - worse, generator)).model_dump(exclude={"constant"})

    values: dict[str, Any] = {
        "suite": "quick",
        "version": "1",
        "corrupt_at": "network",
        "corruptions": [
            {"name": name, "label": f"{name}*" if name == "frost" else name, "group": "weather", "keeps_geometry": keeps}
            for name, keeps in corruptions.items()
        ],
        "severities": list(SEVERITIES),
        "disqualified": {},
        "images": 20,
        "cells": {
            name: {str(severity): scores(0.08 * severity + 0.05 * place) for severity in SEVERITIES}
            for place, name in enumerate(corruptions)
        },
    }
    if pgd:
        names = [*(task.name for task in TASKS), "all"]
        attacks = {radius: {name: scores(0.2 * (1 + float(radius))) for name in names} for radius in ("0.25", "2")}
        values["pgd"] = {"unit": "1/255", "step": 1.0, "steps": {"0.25": 1, "2": 3}, "attacks": attacks}
    made = record(method, seed=seed)
    made.result.robustness = Robustness.model_validate(values | dict(summarise(values, made.result.test.mean_skill)))
    made.result.shifted = {
        f"test-{name}": evaluation(metrics_at(METHODS[method] - 0.2, generator)) for name in ("fog", "night")
    }
    return made
