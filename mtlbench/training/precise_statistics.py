"""BatchNorm's running statistics of a deployed network, recomputed on training images for every method alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from torch import nn

from mtlbench.contract import Batch
from mtlbench.networks.batchnorm import recompute


def recompute_statistics(
    deployed: nn.Module, batches: Iterable[Batch], autocast: Callable[[], AbstractContextManager[object]]
) -> None:
    """Replace all running statistics by their average over the batches; a batch of one image is left out.

    Args:
        deployed: the network whose statistics are recomputed.
        batches: training images, unaugmented.
        autocast: the context of forward passes.
    """

    def forward(batch: Batch) -> None:
        with autocast():
            deployed(batch.image, None, batch.rows)

    # A last batch of one image would give statistics of nothing.
    recompute(deployed, forward, (batch for batch in batches if len(batch) > 1))
