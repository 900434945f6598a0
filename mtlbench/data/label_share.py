"""Training with fewer labels: which images keep theirs is drawn per task by a seeded rule, equal for all methods."""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import Tensor

from mtlbench.data import order
from mtlbench.data.split import Split

RULE = "per task and seed, the images with the smallest hashes keep their labels; targets that are the image itself stay"
"""What the protocol says."""


def with_fewer_labels(split: Split, share: float, seed: int) -> Split:
    """The split with labels on a part of its images, per task; the same memory, and 1 gives the split itself.

    Tasks are drawn independently. A smaller share keeps a part of what a larger one keeps. Tasks whose target is the image
    itself need no label and keep all.

    Args:
        share: of the labelled images of each task, in (0, 1]; at least one image keeps its label.
        seed: of the draw.
    """
    if share == 1:
        return split
    labelled = {
        task.name: split.labelled[task.name] if task.from_image else _kept(split.labelled[task.name], task.name, share, seed)
        for task in split.tasks
    }
    return split.with_labels(labelled)


def _kept(labelled: Tensor, task: str, share: float, seed: int) -> Tensor:
    """bool [N]: which of the labelled images keep their label."""
    images = labelled.nonzero()[:, 0].numpy()
    words = order.bits(seed, order.LABELS, zlib.crc32(task.encode()), images)[:, 0]
    count = max(1, math.ceil(share * len(images) - 1e-9))
    kept = torch.zeros_like(labelled)
    kept[torch.from_numpy(images[np.argsort(words, kind="stable")[:count]])] = True
    return kept
