"""Handwritten digits in four styles, each style a task with images of its own: multi-input data without a download."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from mtlbench.contract import BadSample, Card, Dataset, Hyper, Key, Sample
from mtlbench.tasks import Classification, Task

from ._shared.arrays import Array
from ._shared.random_stream import random_stream
from ._shared.sklearn_digits import LICENCE, SIDE, SOURCE, SPLITS, digits, enlarge, split_rule


class MultiDomain(Dataset):
    """scikit-learn's digits as ink, chalk, colour and outline: which digit is it, in each style?

    Every source picture appears in one style only, so no two tasks have an image in common, as in DomainNet.
    """

    size: int = Hyper(32, ge=24, le=96, help="side of the canvas in pixels; digits are 24 wide, at a random place")
    copies: int = Hyper(4, ge=1, le=100, help="renderings of every training picture, each at another place")
    seed: int = Hyper(0, ge=0, lt=2**32, help="seed of places and colours")

    card: ClassVar[Card] = Card(
        title="MultiDomain (rendered from Optical Recognition of Handwritten Digits, 1998)",
        summary="Handwritten digits in four styles; every style is a classification task with images of its own.",
        source=f"{SOURCE}; rendered by mtlbench (datasets/multidomain.py)",
        licence=LICENCE,
        defects=(
            "about 275 source pictures per style for training, 100 for testing: differences of one point are noise",
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
                for number in range(first, stop)
                for copy in range(self.copies if split == "train" else 1)
            ]
            for split, (first, stop) in SPLITS.items()
        }

    def load(self, key: Key) -> Sample:
        """One digit in its style; the label of that style's task only."""
        number, copy = _checked(key)
        images, labels = digits()
        rng = random_stream(self.seed, number, copy)
        canvas = np.zeros((self.size, self.size))
        top, left = rng.integers(0, self.size - SIDE + 1, 2)
        canvas[top : top + SIDE, left : left + SIDE] = enlarge(images[number])
        style = self.style(number)
        picture = np.clip(STYLES[style](canvas, rng), 0, 1)
        return {"image": np.round(255 * picture).astype(np.uint8), style: np.asarray(labels[number], np.int16)}

    def style(self, number: int) -> str:
        """The style that a source picture is shown in."""
        return list(STYLES)[number % len(STYLES)]

    def scene(self, key: Key) -> str | None:
        """The source picture, which its copies share."""
        return str(key[1]) if isinstance(key, tuple) else None

    def split_rule(self) -> str:
        """How the splits were made."""
        return f"{split_rule()}; picture n is shown in style n mod {len(STYLES)} only"


def _checked(key: Key) -> tuple[int, int]:
    """Number of the source picture, and copy."""
    match key:
        case (str(split), int(number), int(copy)) if split in SPLITS and 0 <= number < len(digits()[1]):
            return number, copy
    raise BadSample(f"multidomain has no sample {key!r}: expected (split, number, copy)")


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
