"""Two handwritten digits on one canvas, from the digits that come with scikit-learn: real, and nothing to download."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from mtlbench.contract import Card, Hyper

from ._shared import sklearn_digits
from ._shared.two_digits import Pool, TwoDigits


class MultiDigits(TwoDigits):
    """Two scikit-learn digits on one canvas: which is on the left, which on the right?"""

    size: int = Hyper(36, gt=24, le=96, help="side of the canvas in pixels; digits are 24 wide and overlap below 48")
    train: int = Hyper(3000, ge=1, le=1_000_000, help="number of training compositions")
    val: int = Hyper(600, ge=1, le=1_000_000, help="number of validation compositions")
    test: int = Hyper(1000, ge=1, le=1_000_000, help="number of test compositions")
    seed: int = Hyper(0, ge=0, lt=2**32, help="seed of the pairing")

    card: ClassVar[Card] = Card(
        title="MultiDigits (composed from Optical Recognition of Handwritten Digits, 1998)",
        summary="Two overlapping handwritten digits on one canvas, classified left and right. Runs without any download.",
        source=f"{sklearn_digits.SOURCE}; composition after Sabour et al., NeurIPS 2017",
        licence=sklearn_digits.LICENCE,
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

    def pools(self) -> Mapping[str, tuple[Pool, Pool]]:
        """The same pictures for both sides: consecutive runs of the source."""
        images, labels = sklearn_digits.digits()
        enlarged = np.round(255 * np.clip(sklearn_digits.enlarge(images), 0, 1)).astype(np.uint8)
        pools = {}
        for split, (first, stop) in sklearn_digits.SPLITS.items():
            pool = Pool(enlarged[first:stop], labels[first:stop], np.arange(first, stop))
            pools[split] = (pool, pool)
        return pools

    def split_rule(self) -> str:
        """How the splits were made."""
        return f"{sklearn_digits.split_rule()}; compositions never mix splits"
