"""Two handwritten digits on one canvas, from the digits that come with scikit-learn: real, and nothing to download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from sklearn.datasets import load_digits

from mtlbench.contract.dataset import Card, Dataset, Key, Sample
from mtlbench.contract.hyper import Hyper
from mtlbench.datasets._two_digits import SPLITS, TASKS, Array, Compositions, Pool
from mtlbench.tasks.base import Task

SIDE = 24
"""A digit's side on the canvas: 8x8 pixels, enlarged three times."""

_CUTS = (0, 1100, 1397, 1797)
"""Train, val and test are consecutive runs of the source's 1,797 pictures."""


class MultiDigits(Dataset):
    """Two scikit-learn digits on one canvas: which is on the left, which on the right?"""

    size: int = Hyper(36, help="side of the canvas in pixels; digits are 24 wide and overlap below 48", check="24 < v <= 96")
    train: int = Hyper(3000, help="number of training compositions", check="1 <= v <= 1000000")
    val: int = Hyper(600, help="number of validation compositions", check="1 <= v <= 1000000")
    test: int = Hyper(1000, help="number of test compositions", check="1 <= v <= 1000000")
    seed: int = Hyper(0, help="seed of the pairing", check="0 <= v < 2 ** 32")

    card: ClassVar[Card] = Card(
        title="MultiDigits (composed from Optical Recognition of Handwritten Digits, 1998)",
        summary="Two overlapping handwritten digits on one canvas, classified left and right. Runs without any download.",
        source="E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49; "
        "its test part, as embedded in scikit-learn; composition after Sabour et al., NeurIPS 2017",
        licence="digits: CC BY 4.0",
        defects=(
            "1,797 source pictures only: compositions repeat digits (in other pairs), so their errors are correlated",
            "8x8 pictures enlarged three times: blurred",
        ),
    )
    embedded: ClassVar[bool] = True
    defaults: ClassVar[Mapping[str, Any]] = {
        "backbone": "resnet_tiny",
        "output_stride": 32,
        "epochs": 5,
        "batch_size": 32,
        "lr": 3e-3,
    }
    mean: ClassVar[tuple[float, float, float]] = (0.26, 0.26, 0.26)
    std: ClassVar[tuple[float, float, float]] = (0.33, 0.33, 0.33)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Classification of the left and of the right digit."""
        return TASKS

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.size, self.size

    @cached_property
    def compositions(self) -> Compositions:
        """All compositions; made once."""
        digits = load_digits()
        images, labels = enlarged(digits.images / 16), digits.target
        pools = {}
        for split, low, high in zip(SPLITS, _CUTS[:-1], _CUTS[1:], strict=True):
            pool = Pool(images[low:high], labels[low:high], np.arange(low, high))
            pools[split] = (pool, pool)
        counts = {"train": self.train, "val": self.val, "test": self.test}
        return Compositions.draw(self.size, pools, counts, self.seed)

    def index(self) -> Mapping[str, Sequence[Key]]:
        """Keys (split, number)."""
        return self.compositions.index()

    def load(self, key: Key) -> Sample:
        """One composition."""
        return self.compositions.load(key)

    def split_rule(self) -> str:
        """How val was cut."""
        low, high = _CUTS[1:3]
        return (
            f"by source picture, in the source's order (who wrote them is not known): train 0-{low - 1}, "
            f"val {low}-{high - 1}, test {high}-{_CUTS[3] - 1}; compositions never mix splits"
        )


def enlarged(images: Array) -> Array:
    """Pictures [N, 8, 8] in [0, 1] to uint8 [N, 24, 24], bilinear between pixel centres."""
    place = (np.arange(SIDE) + 0.5) * 8 / SIDE - 0.5
    weights = np.clip(1 - np.abs(place.clip(0, 7)[:, None] - np.arange(8)), 0, 1)
    return np.round(255 * np.clip(weights @ images @ weights.T, 0, 1)).astype(np.uint8)
