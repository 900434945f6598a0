"""What a task is: its loss, its metrics, how its targets are stored and how augmentation changes them.

A task knows tensors and nothing else: no dataset, no network, no method. Everything that is reported about a task comes
from per-image *sufficient statistics* (`Task.statistics`): the metrics of a set are a function (`Task.summarise`) of
their sum over its images, never a mean of batch means, and the same statistics allow bootstraps over images later.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

Statistics = dict[str, Tensor]
"""Named per-image statistics: every tensor has the images as its first dimension."""


@dataclass(frozen=True)
class MetricInfo:
    """How to read one metric: which way is better, its perfect value, its unit."""

    name: str
    higher_is_better: bool
    perfect: float
    unit: str = ""

    @property
    def arrow(self) -> str:
        return "↑" if self.higher_is_better else "↓"


class Task(ABC):
    """One thing to predict from an image.

    A missing label is part of the encoding: each kind names the value that marks an invalid pixel (`invalid`), and a
    sample without this task's label is a target that is invalid everywhere. Losses and metrics leave invalid elements
    out; a batch without any valid element has loss 0 (with a graph, so that it can be back-propagated).

    Attributes:
        kind: the kind's name, as in a protocol card.
        dense: True when the prediction is a map at the image's resolution, False for one vector per image.
        from_image: True when the target is the (augmented, clean) image itself and nothing is stored.
        dtype: how targets are stored and handed out (NumPy name).
        invalid: the stored value of an element without a label.
        metrics: what `summarise` returns, in the order tables show it.
        primary: the metric that skill and selection use.
        name: the task's name within its dataset.
        channels: output channels that a head must give.
        weight: loss weight published for this dataset (used by fixed weighting only; losses are never pre-weighted).
    """

    kind: ClassVar[str]
    dense: ClassVar[bool] = True
    from_image: ClassVar[bool] = False
    dtype: ClassVar[str]
    invalid: ClassVar[float]

    def __init__(self, name: str, channels: int, weight: float = 1.0) -> None:
        self.name = name
        self.channels = channels
        self.weight = weight

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, channels={self.channels})"

    @property
    @abstractmethod
    def metrics(self) -> tuple[MetricInfo, ...]:
        """The reported metrics; names are unique within the task."""

    @property
    def primary(self) -> MetricInfo:
        """The primary metric, one of `metrics`: the first, unless a kind says otherwise."""
        return self.metrics[0]

    @abstractmethod
    def target_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape of one stored target, without the batch dimension."""

    @abstractmethod
    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The training loss: a scalar, the mean over valid elements of the batch; 0 (with a graph) when there are none.

        Args:
            prediction: [B, channels, H, W] for dense tasks, [B, channels] otherwise; raw network outputs, float.
            target: a batch of stored targets, [B, *target_shape].
        """

    @abstractmethod
    def statistics(self, prediction: Tensor, target: Tensor) -> Statistics:
        """Sufficient statistics of every image, float64 or int64, first dimension B."""

    @abstractmethod
    def summarise(self, totals: Mapping[str, Tensor]) -> dict[str, float]:
        """The metrics of a set from the sums of its images' statistics; NaN where undefined (no valid element)."""

    @abstractmethod
    def valid(self, target: Tensor) -> Tensor:
        """Bool [B]: which samples have at least one valid element."""

    @abstractmethod
    def fit_constant(self, targets: Iterable[np.ndarray]) -> list[float]:
        """Fit the reference constant on training targets (each array a chunk [n, *target_shape]).

        Returns the constant as plain numbers (JSON), for `constant_prediction`.
        """

    @abstractmethod
    def constant_prediction(self, constant: list[float], target: Tensor) -> Tensor:
        """The reference prediction, spatially uniform, shaped as a network's output for a batch of targets."""

    def augmented(self, target: Tensor, zoom: Tensor, flipped: Tensor) -> Tensor:
        """What the *values* of targets become when their images are zoomed and mirrored.

        Positions are the harness's part: the target was resampled before.

        Args:
            target: [B, ...] after resampling.
            zoom: float [B], > 1 enlarges.
            flipped: bool [B], mirrored left to right.
        """
        return target

    def describe(self) -> dict[str, Any]:
        """The task's part of the protocol card: everything that decides what its numbers mean."""
        return {
            "name": self.name,
            "kind": self.kind,
            "channels": self.channels,
            "loss": (type(self).loss.__doc__ or "").strip().splitlines()[0],
            "metrics": [metric.name for metric in self.metrics],
            "primary": self.primary.name,
        }
