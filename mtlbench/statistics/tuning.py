"""Statistics of searches for hyper-parameters: what a smaller budget would have found, and what tuning gained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mtlbench.statistics.intervals import Interval, t_interval


@dataclass(frozen=True)
class BestOfK:
    """What a budget of k trials finds: expectations over all sets of k of the n trials that were run.

    Attributes:
        val: expected val score of the best of k on val; val_spread: its standard deviation.
        test: expected test score of the trial that is best of k on val; test_spread: its standard deviation.
    """

    k: int
    val: float
    val_spread: float
    test: float
    test_spread: float


def best_of_k(val: Sequence[float], test: Sequence[float]) -> list[BestOfK]:
    """For k = 1 … n, by order statistics: no set of trials is drawn.

    With the trials sorted by val, the one at place i (from 1) is the best of k trials drawn without replacement with
    probability C(i − 1, k − 1) / C(n, k). Of trials with equal val scores the earlier one wins, as it does in a search.

    Args:
        val, test: score of each trial, higher is better, in the order of their numbers.
    """
    n = len(val)
    worst_first = sorted(range(n), key=lambda trial: (val[trial], -trial))
    curve = []
    for k in range(1, n + 1):
        chances = [math.comb(place, k - 1) / math.comb(n, k) for place in range(n)]
        val_mean, val_spread = _moments([val[trial] for trial in worst_first], chances)
        test_mean, test_spread = _moments([test[trial] for trial in worst_first], chances)
        curve.append(BestOfK(k, val_mean, val_spread, test_mean, test_spread))
    return curve


def _moments(values: Sequence[float], chances: Sequence[float]) -> tuple[float, float]:
    """Expectation and standard deviation."""
    mean = math.fsum(value * chance for value, chance in zip(values, chances, strict=True))
    variance = math.fsum((value - mean) ** 2 * chance for value, chance in zip(values, chances, strict=True))
    return mean, math.sqrt(variance)


def paired_gain(before: Mapping[int, float], after: Mapping[int, float]) -> Interval:
    """Mean of after − before over the seeds that both have, with its t interval (NaN below two seeds)."""
    return t_interval([after[seed] - before[seed] for seed in sorted(set(before) & set(after))])
