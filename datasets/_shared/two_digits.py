"""Two small pictures on one canvas: one at the top left, one at the bottom right, overlapping in the middle.

The composition of Sabour et al. (NeurIPS 2017) as multi-task learning uses it (Sener and Koltun, NeurIPS 2018): tasks `left`
and `right` ask which digit is where.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator

from mtlbench.contract import BadSample, Dataset, Key, Sample
from mtlbench.tasks import Classification, Task

from .arrays import Array
from .random_stream import random_stream

SPLITS = ("train", "val", "test")
_TASKS = (Classification("left", channels=10), Classification("right", channels=10))


@dataclass(frozen=True)
class Pool:
    """Source pictures that one split may use.

    Attributes:
        images: uint8 [N, s, s], bright on black.
        labels: int [N], 0 to 9.
        sources: int [N], what each picture is in its source; splits have no source in common.
    """

    images: Array
    labels: Array
    sources: Array

    def subset(self, rows: Array) -> Pool:
        """The chosen pictures."""
        return Pool(self.images[rows], self.labels[rows], self.sources[rows])


@dataclass(frozen=True)
class Compositions:
    """The compositions of all splits: per split a pool for either side and the pairs drawn from them.

    Attributes:
        size: side of the square canvas in pixels.
        pools: (left, right) by split.
        pairs: int [M, 2] by split, rows of the left and the right pool.
    """

    size: int
    pools: Mapping[str, tuple[Pool, Pool]]
    pairs: Mapping[str, Array]

    @classmethod
    def draw(cls, size: int, pools: Mapping[str, tuple[Pool, Pool]], counts: Mapping[str, int], seed: int) -> Compositions:
        """Draw `counts[split]` pairs per split; depends on the seed, the counts and the pools' sizes alone."""
        pairs = {}
        for number, split in enumerate(SPLITS):
            rng = random_stream(seed, number)
            pairs[split] = np.stack([_draw_evenly(rng, len(pool.labels), counts[split]) for pool in pools[split]], 1)
        return cls(size, pools, pairs)

    def index(self) -> dict[str, Sequence[Key]]:
        """Keys (split, number)."""
        return {split: [(split, number) for number in range(len(pairs))] for split, pairs in self.pairs.items()}

    def load(self, key: Key) -> Sample:
        """Image and both labels of one composition; where the pictures overlap, the brighter pixel shows.

        Raises:
            BadSample: there is no such composition.
        """
        (left, i), (right, j) = self._parts(key)
        return {
            "image": np.repeat(self._canvas(left.images[i], right.images[j])[..., None], 3, axis=2),
            "left": np.asarray(left.labels[i], np.int16),
            "right": np.asarray(right.labels[j], np.int16),
        }

    def _canvas(self, left: Array, right: Array) -> Array:
        """uint8 [H, W] of two pictures [s, s]: the right one ends in the canvas's corner."""
        return overlaid(self.size, left, right, self.size - len(right))

    def sources(self, key: Key) -> tuple[int, int]:
        """Numbers of the left and the right picture within their sources."""
        left, right = (int(pool.sources[row]) for pool, row in self._parts(key))
        return left, right

    def _parts(self, key: Key) -> list[tuple[Pool, int]]:
        match key:
            case (str(split), int(number)) if split in self.pairs and 0 <= number < len(self.pairs[split]):
                rows: list[int] = self.pairs[split][number].tolist()
                return list(zip(self.pools[split], rows, strict=True))
        raise BadSample(f"there is no composition {key!r}: expected (split, number)")


def overlaid(size: int, first: Array, second: Array, offset: int) -> Array:
    """uint8 [size, size]: one picture at the top left, the other `offset` pixels down and right; the brighter shows."""
    canvas = np.zeros((size, size), np.uint8)
    canvas[: len(first), : len(first)] = first
    place = canvas[offset : offset + len(second), offset : offset + len(second)]
    np.maximum(place, second, out=place)
    return canvas


def _draw_evenly(rng: Generator, among: int, count: int) -> Array:
    """`count` draws from `range(among)` in random order, every number as often as any other (or once more)."""
    rounds = [rng.permutation(among) for _ in range(-(-count // among))]
    return np.concatenate(rounds)[:count]


class TwoDigits(Dataset):
    """Base of the datasets of two pictures on one canvas. A subclass declares the options and gives the pools."""

    size: int
    train: int
    val: int
    test: int
    seed: int

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Classification of the left and of the right picture."""
        return _TASKS

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.size, self.size

    @abstractmethod
    def pools(self) -> Mapping[str, tuple[Pool, Pool]]:
        """The pictures for the left and the right side, by split."""

    @cached_property
    def compositions(self) -> Compositions:
        """All compositions; made once."""
        counts = {"train": self.train, "val": self.val, "test": self.test}
        return Compositions.draw(self.size, self.pools(), counts, self.seed)

    def index(self) -> Mapping[str, Sequence[Key]]:
        """Keys (split, number)."""
        return self.compositions.index()

    def load(self, key: Key) -> Sample:
        """One composition."""
        return self.compositions.load(key)
