"""Binary maps: the base of tasks that mark pixels, their class-balanced loss and counts over thresholds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtlbench.tasks.base import Statistics, Task
from mtlbench.tasks.constants import count_values, require_targets
from mtlbench.tasks.reduce import full_precision, image_histograms

UNLABELLED = 255
_SURE = 20.0
"""A logit whose sigmoid is 1 or 0 within 2e-9."""


class BinaryMap(Task):
    """A task that marks pixels.

    Target: uint8 [1, H, W], 1 marked, 0 not, 255 unlabelled. Prediction: one logit, [B, 1, H, W]. Reference constant: every
    pixel is marked.
    """

    dtype = "uint8"
    invalid: ClassVar[float] = UNLABELLED

    def target_shape(self, height: int, width: int) -> tuple[int, ...]:
        return (1, height, width)

    def valid(self, target: Tensor) -> Tensor:
        return (target != UNLABELLED).flatten(1).any(1)

    def fit_constant(self, targets: Iterable[np.ndarray]) -> list[float]:
        """[1]: every pixel is marked, whatever the targets, as long as there are any."""
        require_targets(self, any(count_values([chunk], 2).any() for chunk in targets))
        return [1.0]

    def constant_prediction(self, constant: list[float], target: Tensor) -> Tensor:
        return torch.full(target.shape, _SURE if constant[0] else -_SURE, device=target.device)


def balanced_cross_entropy(logits: Tensor, target: Tensor, positive_weight: float | None) -> Tensor:
    """Binary cross-entropy with weight w on positive and 1 - w on negative pixels, over the number of labelled ones.

    Xie and Tu, Holistically-nested edge detection, ICCV 2015, eq. 2; divided by all labelled pixels of the batch.

    Args:
        logits: [B, 1, H, W].
        target: uint8 [B, 1, H, W], 0 or 1; 255 is unlabelled.
        positive_weight: w in (0, 1); None for the batch's share of negative pixels.
    """
    valid = target != UNLABELLED
    positive = target == 1
    count = valid.sum().clamp(min=1)
    weight = (valid & ~positive).sum() / count if positive_weight is None else positive_weight
    logits = torch.where(valid, full_precision(logits), 0)
    surprise = F.softplus(torch.where(positive, -logits, logits))
    balanced = torch.where(positive, weight, 1 - weight) * surprise
    return torch.where(valid, balanced, 0).sum() / count


def score_histograms(logits: Tensor, target: Tensor, steps: int, first: int, last: int) -> Statistics:
    """Where the scores of positive and of negative pixels lie between the thresholds first/steps, …, last/steps.

    Args:
        logits: [B, 1, H, W]; their sigmoid is the score. NaN counts as score 0.
        target: uint8 [B, 1, H, W], 0 or 1; 255 is unlabelled.
        steps: thresholds from 0 to 1.
        first, last: the thresholds used, K = last - first + 1 of them.

    Returns:
        `positives` and `negatives`, int64 [B, K + 1]: pixels by the number of thresholds <= their score.
    """
    score = full_precision(logits).sigmoid().nan_to_num(nan=0.0)
    # Even spacing makes the search for the threshold a multiplication, 20 times as fast as `torch.bucketize` on a CPU.
    passed = (score * steps).long().clamp(first - 1, last) - (first - 1)
    bins = last - first + 2
    counts = image_histograms(torch.where(target == 1, passed + bins, passed), target != UNLABELLED, 2 * bins)
    return {"positives": counts[:, bins:], "negatives": counts[:, :bins]}


def true_false_positives(positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """From score histograms [..., K + 1]: true and false positives at each threshold, [..., K]."""
    tp, fp = (counts.flip(-1).cumsum(-1).flip(-1)[..., 1:] for counts in (positives, negatives))
    return tp, fp
