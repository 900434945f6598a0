"""When AdaShare does what: how the budget and the training images are divided among its phases and rounds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from mtlbench.contract import Run, UserError

WARM_UP, POLICY = 0.1, 0.4
"""Shares of the budget that warm-up and policy learning take by default (equal_total)."""

PUBLISHED_WARM_UP = 0.2
"""Share of the 20,000 iterations (100,000 on Taskonomy) before retraining."""

PUBLISHED_SAMPLES = 8
"""Policies that are sampled and retrained."""

PUBLISHED_RATE = 0.01
"""Learning rate of the policy's Adam."""

TRAVEL = 5.0
"""How far a logit can go at least, at one rate a step, so that π can reach 0 or 1 (published: 32 or more)."""

Part = tuple[float, float]


@dataclass(frozen=True)
class Division:
    """How a budget is divided, in epochs.

    Attributes:
        warm_up, policy: of the two phases of the search.
        lead: share of policy learning's first epoch that still is warm-up, where warm-up has no whole epoch.
        retraining: of each sample's retraining.
    """

    warm_up: int
    lead: float
    policy: int
    retraining: list[int]


def split_budget(run: Run, warm_up: float, policy: float, samples: int) -> Division:
    """Divide the run's budget.

    Args:
        warm_up, policy: their shares under "equal_total"; retraining has the rest. Under "equal_final" retraining has all
            epochs and the others come on top, in the same proportion; under "paper" they take as long as each retraining.

    Raises:
        UserError: nothing is left to retrain with.
    """
    epochs, rest = run.budget.epochs, 1 - warm_up - policy
    if rest <= 0:
        raise UserError(f"adashare: warm_up + policy = {warm_up + policy:g} leaves no budget to retrain with: lower one.")
    if run.budget.mode == "equal_total":
        if epochs < samples + 1:
            raise UserError(f"adashare: {samples} samples need {samples + 1} epochs or more, and there are {epochs}.")
        lead = min(warm_up * epochs, 0.9)
        if warm_up * epochs < 1 or epochs < samples + 2:
            search, *retraining = run.budget.split(warm_up + policy, *[rest / samples] * samples)
            return Division(0, lead, search, retraining)
        first, second, *retraining = run.budget.split(warm_up, policy, *[rest / samples] * samples)
        return Division(first, 0.0, second, retraining)
    shares = (warm_up / rest, policy / rest)
    if run.budget.mode == "paper":
        shares = (PUBLISHED_WARM_UP, 1 - PUBLISHED_WARM_UP)
    first, second = (max(1, round(share * epochs)) if share else 0 for share in shares)
    return Division(first, 0.0, second, [epochs] * samples)


def rounds_of_epoch(images: int, batch_size: int, policy_images: float, wanted: float) -> list[tuple[Part, Part]]:
    """For every round of an epoch the parts of train that its weight steps and its policy steps use.

    Args:
        images: in train; the last `policy_images` of them (a fraction) are the policy's.
        batch_size: rounds end where batches do.
        wanted: rounds an epoch; fewer where there are not as many batches, and never less than one.
    """
    middle = round((1 - policy_images) * images)
    edges = ((0, middle), (middle, images))
    batches = [(stop - start) // batch_size for start, stop in edges]
    rounds = max(1, min(*batches, ceil(wanted)))
    parts = []
    for (start, stop), whole in zip(edges, batches, strict=True):
        cuts = [start + whole * number // rounds * batch_size for number in range(rounds)] + [stop]
        parts.append([(one / images, other / images) for one, other in pairwise(cuts)])
    return list(zip(*parts, strict=True))


def policy_rate(epochs: int, images: int, batch_size: int, policy_images: float) -> float:
    """The published rate, or a higher one (up to 0.1) where so few policy steps would not let the policy decide."""
    steps = epochs * max(1, round(policy_images * images) // batch_size)
    return min(max(PUBLISHED_RATE, TRAVEL / steps), 0.1)


@dataclass(frozen=True)
class ByProgress:
    """Temperature and curriculum by the progress of the policy phase: the same at 10 epochs and at 1,000.

    Attributes:
        blocks: L.
        start, end: τ falls geometrically from one to the other.
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
