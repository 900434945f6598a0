"""Robustness summed up, and Δ under corruption."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from mtlbench.records import MetricInfo, Robustness, TaskInfo
from mtlbench.statistics.robustness_delta import corrupted_delta, corrupted_metrics, same_cells
from mtlbench.statistics.robustness_summary import SUMMARY, mean_skill, skill_at, summarise

TASKS = [
    TaskInfo(
        name="depth",
        kind="depth",
        primary="abs_err",
        metrics=[
            MetricInfo(name="abs_err", higher_is_better=False, perfect=0),
            MetricInfo(name="rel_err", higher_is_better=False, perfect=0),
        ],
    )
]


def scores(skill: float) -> dict[str, Any]:
    return {"metrics": {"depth": {"abs_err": 2 - skill, "rel_err": 0.5}}, "skill": {"depth": skill}, "mean_skill": skill}


def evaluated(skill: Mapping[str, float], severities: Sequence[int] = (1, 3, 5), **more: object) -> dict[str, Any]:
    """Corruption → skill at severity 1; each further severity takes 0.1."""
    cells = {
        name: {str(severity): scores(value - step / 10) for step, severity in enumerate(severities)}
        for name, value in skill.items()
    }
    corruptions = [{"name": name, "label": name, "group": "any", "keeps_geometry": name != "glass_blur"} for name in skill]
    return {"suite": "quick", "cells": cells, "corruptions": corruptions, "severities": list(severities), **more}


def robustness(skill: Mapping[str, float]) -> Robustness:
    return Robustness.model_validate(evaluated(skill))


def test_summary() -> None:
    values = evaluated({"frost": 0.2, "fog": 0.6, "glass_blur": 0.4})
    result = summarise(values, clean_skill=0.6)
    assert result["summary"] == pytest.approx(
        {
            "mean_skill": 0.3,
            "mean_skill_without_frost": 0.4,
            "mean_skill_geometry": 0.3,
            "retention": 0.5,
            "worst_skill": 0.1,
        }
    )
    assert result["worst"] == "frost"
    assert list(result["summary"]) == list(SUMMARY)
    assert summarise(Robustness.model_validate(values), clean_skill=0.6) == result


def test_means_over_cells() -> None:
    three = robustness({"frost": 0.2, "fog": 0.6, "glass_blur": 0.4})
    assert mean_skill(three, ["fog"], "depth") == pytest.approx(0.5)
    assert skill_at(three, 5) == pytest.approx(0.2)
    assert math.isnan(mean_skill(three, ["fog"], "normals")) and math.isnan(mean_skill(three, []))


def test_summary_without_frost_says_nothing_of_it_and_without_cells_nothing_at_all() -> None:
    fog = robustness({"fog": 0.6})
    assert "mean_skill_without_frost" not in summarise(fog, 0.6)["summary"]
    assert summarise({"suite": "off", "cells": {}}, 0.6) == {"summary": {}}
    assert math.isnan(summarise(fog, -0.1)["summary"]["retention"])
    attacks = {"4": {"all": scores(0.25), "depth": scores(0.3)}}
    pgd = {"unit": "1/255", "step": 1.0, "steps": {"4": 5}, "attacks": attacks}
    assert summarise({"suite": "off", "cells": {}, "pgd": pgd}, 0.6)["summary"] == {"pgd_4": 0.25}


def test_delta_is_a_ratio_of_sums_over_cells() -> None:
    row, reference = robustness({"fog": 0.9, "snow": 0.5}), robustness({"fog": 0.8, "snow": 0.4})
    sums = [
        sum(cell.metrics["depth"]["abs_err"] for cells in side.cells.values() for cell in cells.values())
        for side in (row, reference)
    ]
    expected = -100 * (sums[0] - sums[1]) / sums[1]
    assert corrupted_delta([row], [reference], TASKS, "primary").own.mean == pytest.approx(expected)
    assert corrupted_delta([row], [reference], TASKS, "task").own.mean == pytest.approx(expected / 2)
    assert corrupted_delta([reference], [reference], TASKS).own.mean == 0
    fog = corrupted_delta([row], [reference], TASKS, "primary", corruptions=["fog"]).own.mean
    assert fog == pytest.approx(-100 * (1.2 - 1.3) / 1.3)


def test_delta_refuses_different_cells_and_passes_on_what_is_not_finite() -> None:
    row, reference = robustness({"fog": 0.9}), robustness({"fog": 0.8, "snow": 0.4})
    with pytest.raises(ValueError, match="same corruptions"):
        corrupted_delta([row], [reference], TASKS)
    row.cells["fog"]["3"].metrics["depth"]["abs_err"] = math.nan
    assert math.isnan(corrupted_metrics(row)["depth"]["abs_err"])


def test_records_without_cells_have_nothing_in_common() -> None:
    fog = robustness({"fog": 0.9})
    assert same_cells([fog, fog])
    assert not same_cells([fog, None]) and not same_cells([None, None]) and not same_cells([])
    assert not same_cells([Robustness(suite="off", cells={})] * 2)
