"""What a method may ask of the harness while it trains."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from mtlbench.contract.batch import Batch
from mtlbench.contract.optim import OptimizerSpec

BudgetMode = Literal["equal_total", "equal_final", "paper"]


@dataclass(frozen=True)
class Budget:
    """How long a method may train; the unit is passes over the training images, the same for every task.

    Attributes:
        mode: "equal_total": all phases share `epochs`; "equal_final": the final network alone gets `epochs`, and what it
            cost to find comes on top; "paper": the published schedule, `epochs` being what a plain network gets.
        epochs: passes over train.
    """

    mode: BudgetMode
    epochs: int

    def split(self, *fractions: float) -> list[int]:
        """Whole epochs in proportion to the fractions: they sum to `epochs`, and each positive fraction gets at least one.

        Raises:
            ValueError: there are fewer epochs than positive fractions (declare `minimum_epochs` on the architecture).
        """
        positive = [i for i, fraction in enumerate(fractions) if fraction > 0]
        if self.epochs < len(positive):
            raise ValueError(f"{self.epochs} epochs cannot be split into {len(positive)} parts")
        shares = [fraction / sum(fractions) * self.epochs for fraction in fractions]
        parts = [max(1, int(share)) if share > 0 else 0 for share in shares]
        while sum(parts) != self.epochs:
            step = 1 if sum(parts) < self.epochs else -1
            able = [i for i in positive if step > 0 or parts[i] > 1]
            parts[max(able, key=lambda i: step * (shares[i] - parts[i]))] += step
        return parts


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from anything printable; the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


@dataclass
class Run:
    """The running trial, as its method sees it.

    Attributes:
        seed: the trial's seed.
        budget: how long it may train.
        optimizer: the protocol's optimizer.
        batch_size: images in a training batch.
        images_per_epoch: training images.
        micro_batches: pieces in which a batch passes through the network.
        device: where batches come from and networks live.
        autocast: a context for forward passes in the trial's precision.
        training_images: (count, batch size) → batches of the first `count` images of a fixed random order of train,
            unaugmented.
        epoch: the number of the current epoch, counted from the trial's start over all phases.
    """

    seed: int
    budget: Budget
    optimizer: OptimizerSpec
    batch_size: int
    images_per_epoch: int
    device: torch.device
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext
    training_images: Callable[[int, int], Iterator[Batch]] = field(default=lambda count, size: iter(()))
    epoch: int = 0
    micro_batches: int = 1

    def generator(self, *name: object) -> torch.Generator:
        """A CPU random stream of the method's own, determined by the trial's seed, the epoch and the name.

        Ask for it once per epoch and draw from it; the same name in the same epoch starts the same stream again, which is
        what makes a resumed trial equal to an undisturbed one.
        """
        return torch.Generator().manual_seed(derive_seed("method", self.seed, self.epoch, *name))

    def fixed_generator(self, *name: object) -> torch.Generator:
        """The same, for draws that hold for the whole trial (task groups, for example)."""
        return torch.Generator().manual_seed(derive_seed("method", self.seed, "trial", *name))


TaskLosses = dict[str, Tensor]
"""Task → scalar loss. A task without a label in the batch is absent."""


def detached(losses: TaskLosses) -> TaskLosses:
    """The same values without their graphs."""
    return {task: loss.detach() for task, loss in losses.items()}


def total(losses: TaskLosses | Sequence[Tensor]) -> Tensor:
    """The sum of the losses."""
    values = list(losses.values()) if isinstance(losses, dict) else list(losses)
    return torch.stack(values).sum()
