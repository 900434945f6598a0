"""Statistics at few seeds, against scipy and against simulation."""

import math

import numpy as np
import pytest
import scipy.stats

from mtlbench.statistics import intervals as statistics


def test_the_t_interval_is_scipys():
    values = [0.3, 0.5, 0.45]
    found = statistics.t_interval(values)
    low, high = scipy.stats.t.interval(0.95, 2, loc=np.mean(values), scale=scipy.stats.sem(values))
    assert (found.low, found.high, found.n) == pytest.approx((low, high, 3))


def test_one_value_has_no_interval_and_a_failed_seed_no_mean():
    assert statistics.t_interval([0.1]).mean == 0.1
    assert math.isnan(statistics.t_interval([0.1]).half)
    assert math.isnan(statistics.t_interval([0.1, math.nan]).mean)
    assert statistics.t_interval([0.1, 0.1, 0.1]) == statistics.Interval(0.1, 0.0, 3)


def test_tukey_is_scipys_at_unequal_sizes():
    groups = {"a": [1.0, 1.2, 1.1], "b": [1.5, 1.4, 1.7, 1.6], "c": [0.9, 1.3]}
    pooled = statistics.pool(groups)
    reference = scipy.stats.tukey_hsd(*groups.values())
    interval = reference.confidence_interval()
    names = list(groups)
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            if i != j:
                found = pooled.compare(a, b)
                assert found.p == pytest.approx(reference.pvalue[j, i], abs=1e-9)
                assert found.difference - found.half == pytest.approx(interval.low[j, i])
                assert found.difference + found.half == pytest.approx(interval.high[j, i])


def test_the_best_and_its_ties():
    groups = {
        "good": [2.0, 2.1, 2.2],
        "equal": [2.05, 2.15, 2.0],
        "bad": [0.1, 0.2, 0.0],
        "once": [9.0],
        "failed": [9.0, math.nan],
    }
    assert statistics.tied_with_best(groups) == ("good", ["equal"])
    assert statistics.tied_with_best(groups, higher_is_better=False) == ("bad", [])
    assert statistics.tied_with_best({"alone": [1.0, 2.0]}) == ("", [])


def test_equal_methods_are_told_apart_in_at_most_five_percent_of_tables():
    generator = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        groups = {str(i): generator.standard_normal(3).tolist() for i in range(6)}
        _, tied = statistics.tied_with_best(groups)
        wrong += len(tied) < 5
    assert wrong / 300 < 0.08


def test_no_noise_separates_any_difference_and_no_other():
    assert statistics.tied_with_best({"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [0.9, 0.9]}) == ("a", ["b"])


def mean_error(totals):
    return float(totals["sum"] / totals["count"])


def test_the_bootstrap_is_paired_and_clusters_scenes():
    generator = np.random.default_rng(0)
    hard = np.repeat(generator.gamma(2, 1, 30), 2)
    first = {"sum": hard, "count": np.ones(60)}
    second = {"sum": hard - 0.1 + 0.01 * generator.standard_normal(60), "count": np.ones(60)}
    alone = statistics.paired_bootstrap(first, second, mean_error, draws=200)
    assert alone.mean == pytest.approx(
        mean_error({k: v.sum() for k, v in second.items()}) - mean_error({k: v.sum() for k, v in first.items()})
    )
    assert alone.high < 0, "a small difference on equal images is seen, however much images differ"
    shuffled = statistics.paired_bootstrap(
        first, {"sum": generator.permutation(second["sum"]), "count": np.ones(60)}, mean_error, draws=200
    )
    assert shuffled.half > 5 * alone.half
    scenes = [f"s{i // 2}" for i in range(60)]
    clustered = statistics.paired_bootstrap(
        {"sum": np.zeros(60), "count": np.ones(60)}, first, mean_error, scenes, draws=200
    )
    independent = statistics.paired_bootstrap({"sum": np.zeros(60), "count": np.ones(60)}, first, mean_error, draws=200)
    assert clustered.n == 30
    assert independent.half < clustered.half, "two images of one scene are one piece of evidence here"


def test_the_bootstrap_repeats_to_the_bit_and_keeps_shapes():
    generator = np.random.default_rng(3)
    first, second = ({"confusion": generator.integers(0, 9, (8, 3, 3))} for _ in range(2))

    def accuracy(totals):
        assert totals["confusion"].shape == (3, 3)
        return float(np.trace(totals["confusion"]) / totals["confusion"].sum())

    once, again = (statistics.paired_bootstrap(first, second, accuracy, [None] * 8, draws=50) for _ in range(2))
    assert once == again


def test_the_bootstrap_refuses_other_images():
    with pytest.raises(ValueError, match="unequal numbers of images"):
        statistics.paired_bootstrap({"a": np.ones(3)}, {"a": np.ones(4)}, lambda totals: 0.0)
    with pytest.raises(ValueError, match="2 scenes for 3 images"):
        statistics.paired_bootstrap({"a": np.ones(3)}, {"a": np.ones(3)}, lambda totals: 0.0, ["x", "y"])


def test_critical_differences_only_over_many_datasets():
    assert statistics.critical_difference(5, 30) == pytest.approx(2.728 * math.sqrt(5 * 6 / 180), abs=2e-3)
    with pytest.raises(ValueError, match="at least 5 datasets"):
        statistics.critical_difference(5, 4)
