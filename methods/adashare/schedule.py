"""When AdaShare does what within policy learning: rounds, temperature, curriculum and the policy's learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

PUBLISHED_SAMPLES = 8
"""Policies that are sampled and retrained."""

PUBLISHED_RATE = 0.01
"""Learning rate of the policy's Adam."""

TRAVEL = 5.0
"""How far a logit can go at least, at one rate per step, so that π can reach 0 or 1 (published: 32 or more)."""

Part = tuple[float, float]


def rounds_of_epoch(images: int, batch_size: int, policy_images: float, wanted: float) -> list[tuple[Part, Part]]:
    """For every round of an epoch the parts of train that its weight steps and its policy steps use.

    Args:
        images: in train; the last `policy_images` of them (a fraction) are the policy's.
        batch_size: rounds end where batches do.
        wanted: rounds per epoch; fewer where there are not as many batches, and never less than one.
    """
    middle = round((1 - policy_images) * images)
    edges = ((0, middle), (middle, images))
    batches = [(stop - start) // batch_size for start, stop in edges]
    rounds = max(1, min(*batches, ceil(wanted)))
    parts = []
    for (start, stop), whole in zip(edges, batches, strict=True):
        cuts = [start + whole * number // rounds * batch_size for number in range(rounds)] + [stop]
        parts.append([(first / images, last / images) for first, last in pairwise(cuts)])
    weights, policy = parts
    return list(zip(weights, policy, strict=True))


def policy_rate(epochs: int, images: int, batch_size: int, policy_images: float) -> float:
    """The published rate, or a higher one (up to 0.1) where so few policy steps would not let the policy decide."""
    steps = epochs * max(1, round(policy_images * images) // batch_size)
    return min(max(PUBLISHED_RATE, TRAVEL / steps), 0.1)


@dataclass(frozen=True)
class ByProgress:
    """Temperature and curriculum by the progress of the policy phase: the same at 10 epochs and at 1,000.

    Attributes:
        blocks: L.
        start, end: τ falls geometrically from `start` to `end`.
        curriculum: share of the phase over which the number of gated blocks grows evenly from 1 to L.
    """

    blocks: int
    start: float
    end: float
    curriculum: float

    def __call__(self, done: int, of: int) -> tuple[float, int]:
        """(τ, n) of the round after `done` of `of` rounds. The last one gates all blocks, however few rounds there are."""
        temperature = self.start * (self.end / self.start) ** (done / max(1, of - 1))
        through = done / of / self.curriculum if self.curriculum > 0 else 1.0
        through = 1.0 if done == of - 1 else through
        # The small number: a product that should be whole must not be rounded down.
        return temperature, min(self.blocks, 1 + int((self.blocks - 1) * through + 1e-9))


@dataclass(frozen=True)
class ByRound:
    """Temperature and curriculum by the number of rounds done, as published.

    Attributes:
        blocks: L.
        start, decay: τ = start · decay ^ done.
        speed: rounds until one more block is gated.
    """

    blocks: int
    start: float
    decay: float
    speed: int

    def __call__(self, done: int, of: int) -> tuple[float, int]:
        """(τ, n) of the round after `done` rounds."""
        return self.start * self.decay**done, min(self.blocks, done // self.speed + 1)
