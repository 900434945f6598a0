"""Task weights that are moved on the probability simplex."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def onto_simplex(point: Tensor) -> Tensor:
    """The nearest point [T] with entries ≥ 0 and sum 1 (Duchi et al., ICML 2008, figure 1)."""
    ordered = point.sort(descending=True).values
    counts = torch.arange(1, len(point) + 1, dtype=point.dtype)
    excess = (ordered.cumsum(0) - 1) / counts
    return (point - excess[int((ordered > excess).sum()) - 1]).clamp(min=0)


def move_share(weights: Tensor, at: Sequence[int], move: Callable[[Tensor], Tensor]) -> Tensor:
    """Move the weights of the tasks `at` among each other; those of the others, and the sum of all, stay.

    Args:
        weights: [T] on the simplex, changed in place.
        at: positions of the tasks in a batch.
        move: from these tasks' weights, scaled to sum 1, to new ones of sum 1.

    Returns:
        The new weights of these tasks, of sum 1.
    """
    places = torch.tensor(at)
    share = weights[places].sum()
    current = weights[places] / share if share > 0 else torch.full((len(at),), 1 / len(at), dtype=weights.dtype)
    moved = move(current)
    weights[places] = share * moved
    return moved
