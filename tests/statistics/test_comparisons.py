"""Comparisons among many means, against scipy and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from mtlbench.statistics.comparisons import critical_difference, pool, tied_with_best


def test_tukey_is_scipys_at_unequal_sizes() -> None:
    groups = {"a": [1.0, 1.2, 1.1], "b": [1.5, 1.4, 1.7, 1.6], "c": [0.9, 1.3]}
    pooled = pool(groups)
    reference = scipy.stats.tukey_hsd(*groups.values())
    interval = reference.confidence_interval()
    names = list(groups)
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            if i != j:
                comparison = pooled.compare(a, b)
                assert comparison.p == pytest.approx(reference.pvalue[j, i], abs=1e-9)
                assert comparison.difference - comparison.half == pytest.approx(interval.low[j, i])
                assert comparison.difference + comparison.half == pytest.approx(interval.high[j, i])


def test_the_best_and_its_ties() -> None:
    groups = {
        "good": [2.0, 2.1, 2.2],
        "equal": [2.05, 2.15, 2.0],
        "bad": [0.1, 0.2, 0.0],
        "once": [9.0],
        "failed": [9.0, math.nan],
    }
    assert tied_with_best(groups) == ("good", ["equal"])
    assert tied_with_best(groups, higher_is_better=False) == ("bad", [])
    assert tied_with_best({"alone": [1.0, 2.0]}) == ("", [])


def test_equal_methods_are_told_apart_in_at_most_five_percent_of_tables() -> None:
    generator = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        groups = {str(i): generator.standard_normal(3).tolist() for i in range(6)}
        _, tied = tied_with_best(groups)
        wrong += len(tied) < 5
    assert wrong / 300 < 0.08


def test_no_noise_separates_any_difference_and_no_other() -> None:
    assert tied_with_best({"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [0.9, 0.9]}) == ("a", ["b"])


def test_critical_differences_only_over_many_datasets() -> None:
    assert critical_difference(5, 30) == pytest.approx(2.728 * math.sqrt(5 * 6 / 180), abs=2e-3)
    with pytest.raises(ValueError, match="at least 5 datasets"):
        critical_difference(5, 4)
