"""Batches of a split: shuffled and augmented for training, in order and untouched for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mtlbench.contract.batch import Batch
from mtlbench.contract.dataset import Augmentation
from mtlbench.data import order
from mtlbench.data.augment import augment, random_crop_and_flip
from mtlbench.data.split import Split
from mtlbench.tasks.base import Task


class Loader:
    """Serves a split to one trial.

    What an epoch shows, in which order and how augmented, depends on (seed, epoch, image) alone. Batches are read when
    they are asked for, by the caller's thread: copying one out of the memory map takes about a millisecond (eight images
    of 128x256 with three dense targets), less than handing it over from another process or thread would cost.

    Args:
        split: where the samples come from.
        tasks: whose targets are augmented: the split's tasks, or those that are trained.
        batch_size: samples per training batch.
        seed: of order and augmentation.
        device: where batches go.
        augmentation: what `epoch` does to samples; the default does nothing.
    """

    def __init__(
        self,
        split: Split,
        tasks: Sequence[Task],
        batch_size: int,
        seed: int,
        device: torch.device | str = "cpu",
        *,
        augmentation: Augmentation | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"a batch has at least one sample, not {batch_size}")
        self.split, self.tasks, self.batch_size, self.seed = split, tuple(tasks), batch_size, seed
        self.device = torch.device(device)
        self.augmentation = augmentation or Augmentation()

    def batches(self, samples: int | None = None, drop_last: bool = True) -> int:
        """How many batches `epoch` gives for so many samples (default: the whole split)."""
        count = len(self.split) if samples is None else samples
        whole, rest = divmod(count, self.batch_size)
        return whole + (rest > 0 and (whole == 0 or not drop_last))

    def epoch(self, epoch: int, indices: Tensor | None = None, drop_last: bool = True) -> Iterator[Batch]:
        """Training batches of one epoch.

        Args:
            epoch: its number; the same number gives the same batches again.
            indices: positions in the split (int64, on the CPU) to stay within, default all. They keep the order that
                they have in an epoch of the whole split.
            drop_last: leave out a last batch that is not full. A split smaller than one batch is never left out.
        """
        order_of_epoch = order.shuffled(self.seed, epoch, self._all() if indices is None else indices)
        for number in range(self.batches(len(order_of_epoch), drop_last)):
            chosen = order_of_epoch[number * self.batch_size : (number + 1) * self.batch_size]
            batch = self.split.batch(chosen, self.device)
            if self.augmentation.active:
                change = random_crop_and_flip(self.augmentation, self.seed, epoch, chosen.numpy())
                batch = augment(batch, self.tasks, change, self.split.mean)
            yield batch

    def plain(self, indices: Tensor | None = None, batch_size: int | None = None) -> Iterator[Batch]:
        """All samples (or those given) in the given order, unaugmented, none left out."""
        chosen = self._all() if indices is None else indices
        size = batch_size or self.batch_size
        for start in range(0, len(chosen), size):
            yield self.split.batch(chosen[start : start + size], self.device)

    def _all(self) -> Tensor:
        return torch.arange(len(self.split))
