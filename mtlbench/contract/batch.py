"""What a step gets: images and the targets of the tasks that have labels on them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images with targets on one device.

    Attributes:
        image: float32 [B, 3, H, W] in [0, 1] (networks normalise themselves).
        targets: one tensor per task, [B, *target_shape] in the task's own encoding. Samples without a label hold the
            task's invalid value everywhere.
        labelled: bool [B] per task, on the CPU: which samples carry a label of it. Asking costs no synchronisation.
        index: int64 [B] on the CPU: the samples' positions in their split.
        rows: None when every task is predicted on every image; else (multi-input data) int64 per task, ascending: the
            images that are this task's own, on the images' device.
    """

    image: Tensor
    targets: dict[str, Tensor]
    labelled: dict[str, Tensor]
    index: Tensor
    rows: dict[str, Tensor] | None = None

    def __len__(self) -> int:
        return self.image.shape[0]

    def target(self, task: str) -> Tensor:
        """The targets that belong to the task's predictions: all of them, or its own rows of multi-input data."""
        target = self.targets[task]
        return target if self.rows is None else target[self.rows[task]]

    def has_labels(self, task: str) -> bool:
        """Whether any sample of the batch carries a label of the task."""
        return bool(self.labelled[task].any())

    def pieces(self, count: int) -> list[Batch]:
        """The batch cut into that many of nearly equal size, in order; fewer where a piece would have one image only."""
        count = max(1, min(count, len(self) // 2))
        edges = [len(self) * number // count for number in range(count + 1)]
        return [self._cut(start, stop) for start, stop in pairwise(edges)]

    def _cut(self, start: int, stop: int) -> Batch:
        rows = self.rows
        if rows is not None:
            rows = {task: own[(own >= start) & (own < stop)] - start for task, own in rows.items()}
        targets, labelled = (
            {task: tensor[start:stop] for task, tensor in tensors.items()} for tensors in (self.targets, self.labelled)
        )
        return Batch(self.image[start:stop], targets, labelled, self.index[start:stop], rows)
