"""AdaShare and random plans in whole trials: killed and resumed, several samples, image-level tasks."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mtlbench.leaderboard.policy_picture import draw_policy
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Record
from mtlbench.running.trial import Trial
from tests.tiny import trials
from tests.tiny_methods import SIX_BLOCKS

DATASETS: dict[str, dict[str, Any]] = {
    "streets": {"train": 24, "val": 8, "test": 8, "shifted": 0, "height": 32, "width": 64},
    "multidigits": {"train": 24, "val": 8, "test": 8},
}
SAMPLED = {"samples": 2, "warm_up": 0.2, "search_optimizer": "sgd", "rounds": 4}
SETTINGS = {"epochs": 5, "backbone": SIX_BLOCKS, "batch_size": 4, "head_width": 8, "head_rates": [1]}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def spec(
    cache: Path, method: str = "adashare", dataset: str = "streets", budget: str = "equal_total", **hypers: Any
) -> TrialSpec:
    methods = [{"name": method, "set": hypers}]
    (trial,) = trials(cache, methods, dataset, DATASETS[dataset], settings={**SETTINGS, "budget": budget})
    return trial


def record(trial_spec: TrialSpec, folder: Path, killed: bool = False) -> Record:
    """Run a trial to its record; `killed`: with a new process's memory after every epoch."""
    if killed:
        while list(islice(Trial(trial_spec, folder / "work").epochs(), 1)):
            pass
    trial = Trial(trial_spec, folder / "work")
    list(trial.epochs())
    return Record.model_validate_json(trial.finish(folder / "results").read_text())


@pytest.mark.parametrize(
    ("dataset", "budget", "hypers"),
    [
        pytest.param("multidigits", "equal_total", SAMPLED, id="image-level tasks"),
        pytest.param("multidigits", "equal_total", {"samples": 1}, id="warm-up within an epoch", marks=pytest.mark.long),
        pytest.param("streets", "equal_total", SAMPLED, id="dense tasks", marks=pytest.mark.long),
        pytest.param("streets", "paper", {"samples": 1}, id="published budget", marks=pytest.mark.long),
    ],
)
def test_killed_after_every_epoch_the_record_is_the_same(
    cache: Path, tmp_path: Path, dataset: str, budget: str, hypers: dict[str, Any]
) -> None:
    trial = spec(cache, dataset=dataset, budget=budget, **hypers)
    whole = record(trial, tmp_path / "whole").result
    resumed = record(trial, tmp_path / "resumed", killed=True).result
    assert resumed.model_dump_json() == whole.model_dump_json()
    warm_up = {"warm-up"} if budget == "paper" or "warm_up" in hypers else set()
    names = {"policy learning", "retraining" if hypers["samples"] == 1 else "retraining 2"}
    assert names | warm_up <= {point.phase for point in whole.curve}
    policy = whole.artefacts.policy
    assert policy is not None and policy.model_extra is not None
    assert len(policy.history) == sum(point.phase == "policy learning" for point in whole.curve)
    assert policy.decision == policy.model_extra["samples"][policy.model_extra["chosen"]]
    assert whole.plan is not None
    executed = [[entry is not None for entry in row] for row in whole.plan.table[1:]]
    assert [list(row) for row in zip(*executed, strict=True)] == policy.decision
    selected = whole.curve[next(iter(whole.selected.values()))]
    assert selected.selectable and selected.phase.startswith("retraining")
    best = max(point.val.mean_skill for point in whole.curve if point.selectable and point.val is not None)
    assert selected.val is not None and selected.val.mean_skill == best
    draw_policy(policy, tmp_path / "policy")
    assert Image.open(tmp_path / "policy.png").width > 300


@pytest.mark.parametrize(
    ("method", "dataset"),
    [("random_plan", "multidigits"), pytest.param("adashare+pcgrad", "streets", marks=pytest.mark.long)],
)
def test_columns_and_pictures(cache: Path, tmp_path: Path, method: str, dataset: str) -> None:
    result = record(spec(cache, method, dataset), tmp_path).result
    assert {"sparsity", "blocks shared", "blocks used"} <= set(result.extra)
    assert result.plan is not None and set(result.test.metrics) == set(result.plan.tasks)
    assert result.artefacts.policy is not None
    draw_policy(result.artefacts.policy, tmp_path / "policy")
    assert (tmp_path / "policy.svg").stat().st_size > 1000
