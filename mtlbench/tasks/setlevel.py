"""What a task measures when one of its metrics is not a function of sums over images.

A median needs a histogram too fine to keep for every image; an average precision needs the scores themselves. Such a
kind implements `measure`, which returns both beside the per-image statistics, and gets `statistics` from it. Its
`summarise` then finds all three in `totals`, and does with less when only the per-image sums are there (a bootstrap
over images): an approximation, or NaN, as the kind says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Tensor

from mtlbench.tasks.base import Statistics


@dataclass(frozen=True)
class Measured:
    """What one batch contributes to a set. Names are unique over the three fields.

    Attributes:
        images: per-image statistics, [B, ...]; summed over the set, and kept per image on request.
        sums: set-level statistics of the batch, without an image dimension; summed over the set.
        kept: per-image values, [B, ...], that are concatenated over the set instead of summed.
    """

    images: Statistics
    sums: Statistics = field(default_factory=dict)
    kept: Statistics = field(default_factory=dict)


class SetLevel(ABC):
    """Mixed into a task, before `Task`, whose metrics need more than sums of per-image statistics."""

    @abstractmethod
    def measure(self, prediction: Tensor, target: Tensor) -> Measured:
        """Everything that a batch contributes; arguments as for `Task.statistics`."""

    def statistics(self, prediction: Tensor, target: Tensor) -> Statistics:
        """The per-image part of `measure`."""
        return self.measure(prediction, target).images
