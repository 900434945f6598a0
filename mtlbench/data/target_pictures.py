"""Stored targets as pictures for people: what is unlabelled can be told apart, and legends say what colours mean."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtlbench.tasks import Attributes, Boundaries, Classification, Depth, Normals, Reconstruction, Saliency, Segmentation
from mtlbench.tasks.base import Task
from mtlbench.tasks.render import target_picture

UNLABELLED_COLOUR = (255, 0, 255)
"""Colour of pixels that neither loss nor metrics see: magenta, which no kind of task draws."""

Pixels = NDArray[np.uint8]

Legend = list[tuple[Pixels | None, str]]
"""A colour (None for a line of words alone) and what it means."""

_DRAWN = (Segmentation, Depth, Normals, Boundaries, Saliency, Reconstruction)
_MOST_LINES = 14
"""Lines of text that fit beside an image."""


def picture(task: Task, target: Tensor) -> Pixels | str:
    """One stored target as pixels [H, W, 3] or words; what is unlabelled is `UNLABELLED_COLOUR`, or says so."""
    if isinstance(task, Classification | Attributes):
        return words(task, target)
    drawn = np.array(target_picture(task, target) if isinstance(task, _DRAWN) else _grey(target))
    drawn[unlabelled(task, target).numpy()] = UNLABELLED_COLOUR
    return drawn


def _grey(target: Tensor) -> Pixels:
    """A map of a kind that a plugin brought: its first channel, dark to bright over its finite values."""
    values = target.reshape(-1, *target.shape[-2:])[0].double().numpy()
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    shown = np.nan_to_num((values - low) / max(high - low, 1e-12)).clip(0, 1)
    return np.repeat(np.round(255 * shown).astype(np.uint8)[..., None], 3, axis=2)


def words(task: Task, target: Tensor) -> str:
    """What a label that is no map says."""
    values = target.tolist()
    if isinstance(task, Attributes):
        names = task.names or tuple(str(number) for number in range(task.channels))
        yes = [name for name, value in zip(names, values, strict=True) if value == 1]
        unknown = sum(value == task.invalid for value in values)
        said = [*yes[: _MOST_LINES - 2], *([f"… {len(yes)} in all"] if len(yes) > _MOST_LINES - 2 else [])] or ["(none)"]
        return "\n".join([*said, *([f"({unknown} unlabelled)"] if unknown else [])])
    return "no label" if values == task.invalid else f"class {values}"


def unlabelled(task: Task, target: Tensor) -> Tensor:
    """Bool [H, W]: the pixels of one dense target that neither loss nor metrics see."""
    if isinstance(task, Depth):
        return ~((target[0] > 0) & target[0].isfinite())
    if isinstance(task, Normals):
        return target.norm(dim=0) == 0
    missing = target.isnan() if np.isnan(task.invalid) else target == task.invalid
    return missing.reshape(-1, *target.shape[-2:]).all(0)


def legend(task: Task, targets: list[Tensor]) -> Legend:
    """What colours mean, over the targets that are shown: (colour or None, words) line by line."""
    entries: Legend = []
    if isinstance(task, Segmentation):
        colours = np.asarray(target_picture(task, torch.arange(task.channels, dtype=torch.uint8)[None]))[0]
        names = task.classes or tuple(f"class {number}" for number in range(task.channels))
        seen = torch.cat([target.flatten() for target in targets]).unique().tolist()
        entries = [(colours[label], names[label]) for label in seen if label < task.channels]
    elif isinstance(task, Depth):
        ends = np.asarray(target_picture(task, torch.linspace(1, 2, 256).reshape(1, 1, 256)))[0]
        kind = "inverse depth" if task.inverse else "depth"
        unit = f" ({task.unit})" if task.unit else ""
        entries = [(ends[0], f"least {kind}{unit}"), (ends[-1], "greatest, of each image")]
    elif isinstance(task, Normals):
        for name, axis in {"x": 0, "y": 1, "z": 2}.items():
            direction = torch.zeros(3, 1, 1)
            direction[axis] = -1
            entries.append((np.asarray(target_picture(task, direction))[0, 0], f"towards -{name}"))
    elif isinstance(task, Boundaries | Saliency):
        yes = "boundary" if isinstance(task, Boundaries) else "salient"
        entries = [(np.full(3, 255, np.uint8), yes), (np.zeros(3, np.uint8), f"no {yes}" if yes == "boundary" else "not")]
    elif task.dense and not isinstance(task, _DRAWN):
        entries = [(np.zeros(3, np.uint8), "least"), (np.full(3, 255, np.uint8), "greatest, of each image")]
    elif not task.dense:
        return [(None, f"{task.channels} {'attributes' if isinstance(task, Attributes) else 'classes'}")]
    if any(bool(unlabelled(task, target).any()) for target in targets):
        entries.append((np.array(UNLABELLED_COLOUR, np.uint8), "unlabelled"))
    return entries
