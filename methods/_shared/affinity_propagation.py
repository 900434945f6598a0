"""Affinity propagation: clusters around exemplars, as many as the similarities suggest (Frey and Dueck, Science 2007)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DAMPING, _MOST_ITERATIONS = 0.5, 200

_TIE_BREAK = 1e-9
"""Relative size of what is added to the similarities."""


def cluster(similarity: Floats, preference: float, stable_for: int = 50) -> list[int] | None:
    """The cluster of every item, numbered by exemplar.

        R(i, k) ← S(i, k) − max_{k' ≠ k} (A(i, k') + S(i, k'))
        A(i, k) ← min(0, R(k, k) + Σ_{i' ≠ i, k} max(0, R(i', k))),      A(k, k) ← Σ_{i' ≠ k} max(0, R(i', k))

    both damped by one half. Items with A(k, k) + R(k, k) > 0 are exemplars; the iterations end when these have been the same
    for `stable_for` of them, or after 200.

    With symmetric similarities two items may be equally good exemplars, and the iterations would not choose. So numbers that
    are far smaller than any difference of interest, and always the same, are added first (scikit-learn adds random ones).

    Args:
        similarity: [N, N], the higher the more alike; the diagonal is not read.
        preference: the diagonal: how readily an item becomes an exemplar.
        stable_for: iterations without a change of exemplars.

    Returns:
        N numbers from 0; None where there is no exemplar.
    """
    count = len(similarity)
    everyone = np.arange(count)
    others = similarity[~np.eye(count, dtype=bool)]
    if others.size == 0 or bool((others == others[0]).all()):
        # Nothing tells the items apart, and the iterations would not settle.
        apart = others.size > 0 and preference > others[0]
        return everyone.tolist() if apart else [0] * count
    s = similarity.copy()
    np.fill_diagonal(s, preference)
    scattered = np.modf(np.arange(1, count * count + 1) * np.sqrt(2))[0].reshape(count, count)
    s += _TIE_BREAK * np.abs(s).max() * scattered
    a, r = np.zeros_like(s), np.zeros_like(s)
    exemplars, unchanged = np.zeros(count, dtype=bool), 0
    for _ in range(_MOST_ITERATIONS):
        both = a + s
        best = both.argmax(1)
        highest = both[everyone, best]
        both[everyone, best] = -np.inf
        responsibility = s - highest[:, None]
        responsibility[everyone, best] = s[everyone, best] - both.max(1)
        r = _DAMPING * r + (1 - _DAMPING) * responsibility
        support = np.maximum(r, 0)
        np.fill_diagonal(support, r.diagonal())
        column = support.sum(0)
        availability = np.minimum(column - support, 0)
        np.fill_diagonal(availability, column - r.diagonal())
        a = _DAMPING * a + (1 - _DAMPING) * availability
        now = (a + r).diagonal() > 0
        unchanged = unchanged + 1 if bool((now == exemplars).all()) else 1
        exemplars = now
        if unchanged >= stable_for and exemplars.any():
            break
    chosen = np.flatnonzero(exemplars)
    if chosen.size == 0:
        return None
    labels = _nearest(s, chosen)
    # The best exemplar of each cluster is the member that is most alike to all of it.
    members = [np.flatnonzero(labels == number) for number in range(len(chosen))]
    chosen = np.sort([within[s[np.ix_(within, within)].sum(0).argmax()] for within in members])
    return _nearest(s, chosen).tolist()


def _nearest(s: Floats, chosen: NDArray[np.intp]) -> NDArray[np.intp]:
    """The number of the exemplar that each item is most alike to; an exemplar is its own."""
    labels = s[:, chosen].argmax(1)
    labels[chosen] = np.arange(len(chosen))
    return labels
