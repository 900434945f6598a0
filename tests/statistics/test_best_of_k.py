"""Best-of-k curves against all sets of k trials, counted one by one; gains; importances."""

from __future__ import annotations

import importlib.util
import itertools
import math
import statistics

import numpy as np
import pytest

from mtlbench.statistics import importance
from mtlbench.statistics.tuning import best_of_k, paired_gain


@pytest.mark.parametrize("ties", [False, True])
def test_the_formula_counts_all_sets(ties: bool) -> None:
    generator = np.random.default_rng(3)
    val = (generator.integers(0, 3, 7) if ties else generator.normal(size=7)).astype(float).tolist()
    test = generator.normal(size=7).tolist()
    curve = best_of_k(val, test)
    assert [point.k for point in curve] == list(range(1, 8))
    for point in curve:
        # `max` gives the first of equals, as a search does.
        chosen = [max(trials, key=lambda trial: val[trial]) for trials in itertools.combinations(range(7), point.k)]
        assert point.val == pytest.approx(statistics.mean(val[trial] for trial in chosen))
        assert point.test == pytest.approx(statistics.mean(test[trial] for trial in chosen))
        assert point.val_spread == pytest.approx(statistics.pstdev([val[trial] for trial in chosen]))
        assert point.test_spread == pytest.approx(statistics.pstdev([test[trial] for trial in chosen]))


def test_all_trials_give_the_winner_without_spread() -> None:
    last = best_of_k([0.1, 0.7, 0.3], [0.9, 0.2, 0.5])[-1]
    assert (last.val, last.test, last.val_spread, last.test_spread) == (0.7, 0.2, 0.0, 0.0)


def test_no_trials_give_no_curve() -> None:
    assert best_of_k([], []) == []


def test_gains_are_paired_by_seed() -> None:
    gain = paired_gain({0: 1.0, 1: 2.0, 5: 0.0}, {0: 1.5, 1: 2.5, 7: 9.0})
    assert (gain.mean, gain.half, gain.n) == (0.5, 0.0, 2)
    assert math.isnan(paired_gain({0: 1.0}, {1: 1.0}).mean)


def trials() -> tuple[list[dict[str, importance.Value]], list[float]]:
    generator = np.random.default_rng(0)
    configurations: list[dict[str, importance.Value]] = [
        {"lr": float(10 ** generator.uniform(-4, -2)), "idle": float(generator.random()), "kind": "ab"[i % 2], "same": 1}
        for i in range(16)
    ]
    skills = [math.log10(float(one["lr"])) + 0.1 * (one["kind"] == "a") for one in configurations]
    return configurations, skills


@pytest.mark.parametrize("evaluator", [importance.FANOVA, importance.SPEARMAN])
def test_what_matters_comes_first(evaluator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if evaluator == importance.FANOVA:
        pytest.importorskip("optuna")
    else:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    configurations, skills = trials()
    used, shares = importance.importances(configurations, skills)
    assert used == evaluator
    assert next(iter(shares)) == "lr" and set(shares) == {"lr", "idle", "kind"}
    assert shares["lr"] > 0.6 > max(shares["idle"], shares["kind"])
    if evaluator == importance.FANOVA:
        assert sum(shares.values()) == pytest.approx(1)


def test_little_is_said_of_few_or_odd_trials() -> None:
    configurations, skills = trials()
    assert importance.importances(configurations[:3], skills[:3])[1] == {}
    assert importance.importances(configurations, [0.5] * 16)[1] == {}
    # A trial without a value of its own (defaults of a mapping) is left out, and not the column.
    without = [{name: value for name, value in configurations[0].items() if name != "lr"}, *configurations[1:]]
    assert "lr" in importance.importances(without, skills)[1]
