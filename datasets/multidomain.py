"""Handwritten digits in four styles, each style a task with images of its own: multi-input data without a download."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator, Philox, SeedSequence
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from mtlbench.contract.dataset import BadSample, Card, Dataset, Key, Sample
from mtlbench.contract.hyper import Hyper
from mtlbench.tasks import Classification
from mtlbench.tasks.base import Task

Array = NDArray[Any]

DIGIT = 24
"""A digit's side on the canvas: 8x8 pixels, enlarged three times."""
_SPLITS = ("train", "val", "test")
_CUTS = (0, 1100, 1397, 1797)
"""Train, val and test are consecutive runs of the source's 1,797 pictures."""


class MultiDomain(Dataset):
    """scikit-learn's digits as ink, chalk, colour and outline: which digit is it, in each style?

    Every source picture appears in one style only, so no two tasks have an image in common, as in DomainNet.
    """

    size: int = Hyper(32, help="side of the canvas in pixels; digits are 24 wide, at a random place", check="24 <= v <= 96")
    copies: int = Hyper(4, help="renderings of every training picture, each at another place", check="1 <= v <= 100")
    seed: int = Hyper(0, help="seed of places and colours", check="0 <= v < 2 ** 32")

    card: ClassVar[Card] = Card(
        title="MultiDomain (rendered from Optical Recognition of Handwritten Digits, 1998)",
        summary="Handwritten digits in four styles; every style is a classification task with images of its own.",
        source="E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49; "
        "its test part, as embedded in scikit-learn; rendered by mtlbench (datasets/multidomain.py)",
        licence="digits: CC BY 4.0",
        defects=(
            "about 275 source pictures a style for training, 100 for testing: differences of one point are noise",
            "8x8 pictures enlarged three times: blurred",
        ),
    )
    embedded: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True
    multi_input: ClassVar[bool] = True
    mean: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)
    std: ClassVar[tuple[float, float, float]] = (0.3, 0.3, 0.3)
    defaults: ClassVar[Mapping[str, Any]] = {
        "backbone": "resnet_tiny",
        "output_stride": 32,
        "epochs": 10,
        "batch_size": 32,
    }

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Classification of the digit, in each style."""
        return tuple(Classification(style, channels=10) for style in STYLES)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.size, self.size

    def index(self) -> Mapping[str, Sequence[Key]]:
        """Keys (split, number of the source picture, copy)."""
        return {
            split: [
                (split, number, copy)
                for number in range(low, high)
                for copy in range(self.copies if split == "train" else 1)
            ]
            for split, low, high in zip(_SPLITS, _CUTS[:-1], _CUTS[1:], strict=True)
        }

    def load(self, key: Key) -> Sample:
        """One digit in its style; the label of that style's task only."""
        if not (isinstance(key, tuple) and len(key) == 3 and key[0] in _SPLITS and 0 <= int(key[1]) < _CUTS[-1]):
            raise BadSample(f"multidomain has no sample {key!r}: expected (split, number, copy)")
        number, copy = int(key[1]), int(key[2])
        rng = Generator(Philox(SeedSequence(self.seed, spawn_key=(number, copy))))
        canvas = np.zeros((self.size, self.size))
        top, left = rng.integers(0, self.size - DIGIT + 1, 2)
        canvas[top : top + DIGIT, left : left + DIGIT] = _enlarged(self._digits.images[number] / 16)
        style = self.style(number)
        picture = np.clip(STYLES[style](canvas, rng), 0, 1)
        return {
            "image": np.round(255 * picture).astype(np.uint8),
            style: np.asarray(self._digits.target[number], np.int16),
        }

    def style(self, number: int) -> str:
        """The style that a source picture is shown in."""
        return list(STYLES)[number % len(STYLES)]

    def scene(self, key: Key) -> str | None:
        """The source picture, which its copies share."""
        return str(key[1]) if isinstance(key, tuple) else None

    def split_rule(self) -> str:
        """How the splits were made."""
        low, high = _CUTS[1:3]
        return (
            f"by source picture, in the source's order (who wrote them is not known): train 0-{low - 1}, "
            f"val {low}-{high - 1}, test {high}-{_CUTS[3] - 1}; picture n is shown in style n mod {len(STYLES)} only"
        )

    @cached_property
    def _digits(self) -> Any:
        return load_digits()


def _enlarged(image: Array) -> Array:
    """A picture [8, 8] to [24, 24], bilinear between pixel centres."""
    place = ((np.arange(DIGIT) + 0.5) * 8 / DIGIT - 0.5).clip(0, 7)
    weights = np.clip(1 - np.abs(place[:, None] - np.arange(8)), 0, 1)
    return weights @ image @ weights.T


def _ink(stroke: Array, rng: Generator) -> Array:
    """Dark blue on paper with grain."""
    paper = 0.92 + rng.normal(0, 0.02, stroke.shape)
    return paper[..., None] - stroke[..., None] * np.array([0.8, 0.75, 0.5])


def _chalk(stroke: Array, rng: Generator) -> Array:
    """White, crumbling, on a dark board."""
    crumbs = 1 - 0.6 * (rng.random(stroke.shape) < 0.25)
    board = np.array([0.12, 0.22, 0.16]) + rng.normal(0, 0.03, (*stroke.shape, 1))
    return board + (0.8 * stroke * crumbs)[..., None]


def _colour(stroke: Array, rng: Generator) -> Array:
    """Any colour on any other that is not too near."""
    ground = rng.uniform(0, 1, 3)
    figure = (ground + rng.uniform(0.35, 0.65, 3)) % 1
    return ground + stroke[..., None] * (figure - ground)


def _outline(stroke: Array, rng: Generator) -> Array:
    """Only the strokes' edges, in pencil."""
    steep = np.hypot(*np.gradient(stroke))
    paper = 0.85 + rng.normal(0, 0.04, stroke.shape)
    return np.repeat((paper - 0.75 * np.clip(4 * steep, 0, 1))[..., None], 3, axis=2)


STYLES: dict[str, Callable[[Array, Generator], Array]] = {
    "ink": _ink,
    "chalk": _chalk,
    "colour": _colour,
    "outline": _outline,
}
"""The tasks: strokes [H, W] in [0, 1] → a picture [H, W, 3]."""
