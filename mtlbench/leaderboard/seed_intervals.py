"""Confidence intervals over seeds, as plots of seaborn ask for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mtlbench.statistics.intervals import t_interval


def interval_ends(values: Sequence[float]) -> tuple[float, float]:
    """Both ends of the t interval; the mean itself where there is none (one seed)."""
    interval = t_interval(list(values))
    half = interval.half if math.isfinite(interval.half) else 0.0
    return interval.mean - half, interval.mean + half
