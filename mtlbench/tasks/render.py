"""Targets and predictions as pictures: drawn in one way per kind of task, so that the two can be compared."""

from __future__ import annotations

import colorsys

import numpy as np
import torch
from torch import Tensor

from mtlbench.tasks import Attributes, Boundaries, Classification, Depth, Normals, Reconstruction, Saliency, Segmentation
from mtlbench.tasks.base import Task

_GOLDEN = 0.618034
"""Hues this far apart (as a fraction of the circle) are well spread however many there are."""


def target_picture(task: Task, target: Tensor) -> np.ndarray | str:
    """One stored target [*target_shape]: uint8 [H, W, 3] for dense tasks, words for others. Unlabelled pixels are black."""
    target = target.cpu()
    if isinstance(task, Segmentation):
        return _classes(target.long(), task.channels)
    if isinstance(task, Depth):
        return _depth(target, target)
    if isinstance(task, Normals):
        return _normals(target)
    if isinstance(task, Boundaries | Saliency):
        return _grey(torch.where(target == task.invalid, 0, target).float()[0])
    if isinstance(task, Reconstruction):
        return _colour(target.nan_to_num())
    return _words(task, target, target)


def prediction_picture(task: Task, prediction: Tensor, target: Tensor) -> np.ndarray | str:
    """One raw output [channels, H, W] or [channels], drawn as `target_picture` draws the target it belongs to."""
    prediction, target = prediction.float().cpu(), target.cpu()
    if isinstance(task, Segmentation):
        return _classes(prediction.argmax(0), task.channels)
    if isinstance(task, Depth):
        return _depth(prediction, target)
    if isinstance(task, Normals):
        return _normals(prediction)
    if isinstance(task, Boundaries | Saliency):
        return _grey(prediction[0].sigmoid())
    if isinstance(task, Reconstruction):
        return _colour(prediction)
    chosen = prediction.argmax() if isinstance(task, Classification) else (prediction > 0).long()
    return _words(task, chosen, target)


def _classes(label: Tensor, count: int) -> np.ndarray:
    """One colour per class; neighbouring numbers have unlike hues and brightness. Beyond the last class: black."""
    palette = [colorsys.hsv_to_rgb(k * _GOLDEN % 1, 0.45 + 0.15 * (k % 3), 0.95 - 0.2 * (k % 2)) for k in range(count)]
    table = np.array([*palette, (0, 0, 0)])
    index = label.numpy()
    return (255 * table[np.where((index >= 0) & (index < count), index, count)]).astype(np.uint8)


def _depth(value: Tensor, target: Tensor) -> np.ndarray:
    """Dark to bright over the range of the target's valid pixels."""
    from matplotlib import colormaps

    valid = target[(target > 0) & target.isfinite()]
    low, high = (float(valid.quantile(q)) for q in (0.02, 0.98)) if len(valid) else (0.0, 1.0)
    unit = ((value[0] - low) / max(high - low, 1e-9)).clamp(0, 1).nan_to_num()
    shown = 255 * colormaps["viridis"](unit.numpy())[..., :3]
    if value is target:
        shown[~((target[0] > 0) & target[0].isfinite()).numpy()] = 0
    return shown.astype(np.uint8)


def _normals(direction: Tensor) -> np.ndarray:
    """The usual colours: -1 … 1 of x, y, z as 0 … 255 of red, green, blue."""
    length = direction.norm(dim=0, keepdim=True)
    unit = torch.where(length > 1e-6, (direction / length.clamp(min=1e-6) + 1) / 2, 0)
    return _colour(unit)


def _grey(unit: Tensor) -> np.ndarray:
    return _colour(unit.expand(3, *unit.shape))


def _colour(unit: Tensor) -> np.ndarray:
    return unit.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()


def _words(task: Task, value: Tensor, target: Tensor) -> str:
    """What the label says, and whether it is the true one where that is known."""
    if isinstance(task, Attributes):
        known = target >= 0
        right = int(((value == target) & known).sum())
        return f"{int((value == 1).sum())} yes" if value is target else f"{right} of {int(known.sum())} right"
    if value is target or int(target) < 0:
        return str(int(value))
    return f"{int(value)} ({'right' if int(value) == int(target) else 'wrong'})"
