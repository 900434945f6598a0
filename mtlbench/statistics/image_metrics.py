"""Primary metrics of a set of images from sums of their per-image statistics, without the tasks that measured them.

A record keeps the statistics of every test image (`Result.images`); what a task kind calls them and how a metric is
computed from their sums is documented at `statistics` and `summarise` of `mtlbench.tasks`, with which these functions
agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

Totals = Mapping[str, np.ndarray]
"""Statistic → its sum over the images of a set."""


def mean_iou(totals: Totals) -> float:
    """Segmentation: mean over the classes that occur in the labels of TP / (TP + FP + FN)."""
    tp, fp, fn = (_floats(totals, name) for name in ("tp", "fp", "fn"))
    present = tp + fn > 0
    return float(np.mean(tp[present] / (tp + fp + fn)[present])) if present.any() else math.nan


def mean_absolute_error(totals: Totals) -> float:
    """Depth: over all valid pixels."""
    return _ratio(totals, "abs_err", "valid")


def mean_angle(totals: Totals) -> float:
    """Normals: over all valid pixels, in degrees."""
    return _ratio(totals, "angle", "valid")


def mean_squared_error(totals: Totals) -> float:
    """Reconstruction: over all valid values."""
    return _ratio(totals, "sq_err", "valid")


def accuracy(totals: Totals) -> float:
    """Classification: over all labelled images."""
    return _ratio(totals, "correct", "valid")


def mean_accuracy(totals: Totals) -> float:
    """Attributes: mean over the attributes that have a label."""
    tp, fp, fn, tn = (_floats(totals, name) for name in ("tp", "fp", "fn", "tn"))
    labelled = tp + fp + fn + tn
    known = labelled > 0
    return float(np.mean((tp + tn)[known] / labelled[known])) if known.any() else math.nan


def max_f(totals: Totals) -> float:
    """Boundaries: the largest F-measure over the thresholds, of precision and recall pooled over all pixels.

    `positives` and `negatives` count pixels by the number of thresholds at or below their score.
    """
    positives, negatives = (_floats(totals, name) for name in ("positives", "negatives"))
    tp, fp = (np.cumsum(counts[::-1])[::-1][1:] for counts in (positives, negatives))
    boundary = positives.sum()
    return float(np.max(2 * tp / (tp + fp + boundary))) if boundary else math.nan


def max_jaccard(totals: Totals) -> float:
    """Saliency: the largest mean over images of the Jaccard index over the thresholds."""
    images = float(totals["images"])
    return float(np.max(_floats(totals, "jaccard"))) / images if images else math.nan


PRIMARY: Mapping[str, Callable[[Totals], float]] = {
    "attributes": mean_accuracy,
    "boundaries": max_f,
    "classification": accuracy,
    "depth": mean_absolute_error,
    "normals": mean_angle,
    "reconstruction": mean_squared_error,
    "saliency": max_jaccard,
    "segmentation": mean_iou,
}
"""Kind of task → its primary metric; NaN where no image has a label."""


def _floats(totals: Totals, name: str) -> np.ndarray:
    return np.asarray(totals[name], dtype=np.float64)


def _ratio(totals: Totals, numerator: str, denominator: str) -> float:
    below = float(totals[denominator])
    return float(totals[numerator]) / below if below else math.nan
