"""Confidence intervals at few seeds, against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from mtlbench.statistics.intervals import Interval, t_interval


def test_the_t_interval_is_scipys() -> None:
    values = [0.3, 0.5, 0.45]
    interval = t_interval(values)
    low, high = scipy.stats.t.interval(0.95, 2, loc=np.mean(values), scale=scipy.stats.sem(values))
    assert (interval.low, interval.high, interval.n) == pytest.approx((low, high, 3))


def test_one_value_has_no_interval_and_a_failed_seed_no_mean() -> None:
    assert t_interval([0.1]).mean == 0.1
    assert math.isnan(t_interval([0.1]).half)
    assert math.isnan(t_interval([0.1, math.nan]).mean)
    assert t_interval([0.1, 0.1, 0.1]) == Interval(0.1, 0.0, 3)
