"""What a split's labels look like, in one line per task: how many there are, and how they are spread."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.data.split import Split
from mtlbench.tasks import Attributes, Boundaries, Classification, Depth, Normals, Saliency, Segmentation
from mtlbench.tasks.base import Task

Chunks = Iterable[NDArray[Any]]

_MOST = 6
"""Classes named in a line."""


def label_statistics(split: Split) -> dict[str, str]:
    """Task → what its labels look like; one pass over the split's targets."""
    lines = {}
    for task in split.tasks:
        count = int(split.labelled[task.name].sum())
        of = "all" if count == len(split) else f"{count:,} of {len(split):,}"
        said = describe(task, split.chunks(task)) if count else ""
        lines[task.name] = f"{of} labelled{f'; {said}' if said else ''}"
    return lines


def describe(task: Task, chunks: Chunks) -> str:
    """How the labels of one task are spread; empty for kinds that this module does not know."""
    if isinstance(task, Segmentation):
        return _shares(task, chunks, task.classes)
    if isinstance(task, Classification):
        return _shares(task, chunks, None)
    if isinstance(task, Boundaries | Saliency):
        yes, known, total = _binary(task, chunks)
        kind = "boundary" if isinstance(task, Boundaries) else "salient"
        return f"{_percent(yes, known)} {kind}, {_percent(total - known, total)} unlabelled"
    if isinstance(task, Attributes):
        return _attributes(task, chunks)
    if isinstance(task, Depth):
        return _depth(task, chunks)
    if isinstance(task, Normals):
        return _normals(chunks)
    return ""


def _shares(task: Task, chunks: Chunks, names: tuple[str, ...] | None) -> str:
    counts, unlabelled = np.zeros(task.channels, np.int64), 0
    for chunk in chunks:
        known = chunk[chunk != task.invalid].astype(np.int64)
        counts += np.bincount(known, minlength=task.channels)[: task.channels]
        unlabelled += chunk.size - known.size
    total = int(counts.sum())
    order = counts.argsort(kind="stable")[::-1]
    named = [f"{names[k] if names else f'class {k}'} {_percent(counts[k], total)}" for k in order[:_MOST] if counts[k]]
    absent = int((counts == 0).sum())
    rest = f", … ({task.channels} classes{f', {absent} absent' if absent else ''})" if task.channels > _MOST else ""
    return f"{', '.join(named)}{rest}; {_percent(unlabelled, total + unlabelled)} unlabelled"


def _binary(task: Task, chunks: Chunks) -> tuple[int, int, int]:
    yes = known = total = 0
    for chunk in chunks:
        yes += int((chunk == 1).sum())
        known += int((chunk != task.invalid).sum())
        total += chunk.size
    return yes, known, total


def _attributes(task: Attributes, chunks: Chunks) -> str:
    yes, known = np.zeros(task.channels, np.int64), np.zeros(task.channels, np.int64)
    for chunk in chunks:
        yes += (chunk == 1).sum(0)
        known += (chunk != task.invalid).sum(0)
    share = yes / np.maximum(known, 1)
    low, high = int(share.argmin()), int(share.argmax())
    names = task.names or tuple(f"attribute {number}" for number in range(task.channels))
    return f"yes in {100 * share[low]:.1f} % ({names[low]}) to {100 * share[high]:.1f} % ({names[high]})"


def _depth(task: Depth, chunks: Chunks) -> str:
    least, greatest, total, count, size = np.inf, -np.inf, 0.0, 0, 0
    for chunk in chunks:
        known = chunk[(chunk > 0) & np.isfinite(chunk)]
        size += chunk.size
        if known.size:
            least, greatest = min(least, float(known.min())), max(greatest, float(known.max()))
            total, count = total + float(known.sum(dtype=np.float64)), count + known.size
    unit = f" {task.unit}" if task.unit else ""
    return (
        f"{least:.3g} to {greatest:.3g}, mean {total / max(count, 1):.3g}{unit}; {_percent(size - count, size)} unlabelled"
    )


def _normals(chunks: Chunks) -> str:
    mean, count, size = np.zeros(3), 0, 0
    for chunk in chunks:
        known = (chunk != 0).any(1)
        mean += chunk.sum((0, 2, 3), dtype=np.float64)
        count, size = count + int(known.sum()), size + known.size
    x, y, z = mean / max(count, 1)
    return f"mean ({x:.2f}, {y:.2f}, {z:.2f}); {_percent(size - count, size)} unlabelled"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / max(whole, 1):.1f} %"
