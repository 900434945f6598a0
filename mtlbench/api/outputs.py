"""What a network's raw outputs mean, by kind of task."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlbench.tasks import Attributes, Boundaries, Classification, Normals, Reconstruction, Saliency, Segmentation
from mtlbench.tasks.base import Task


def decode(task: Task, output: Tensor) -> Tensor:
    """One raw output, [channels, H, W] of a dense task or [channels], as values in the task's own units.

    | kind | result |
    |---|---|
    | segmentation | int64 [H, W], the class of every pixel |
    | depth | float32 [H, W], in the dataset's unit |
    | normals | float32 [3, H, W], unit vectors |
    | boundaries, saliency | float32 [H, W], probability |
    | reconstruction | float32 [3, H, W] in [0, 1] |
    | classification | int64 [], the class |
    | attributes | float32 [channels], probability of each |

    Kinds that a plugin brought are returned as they are.
    """
    output = output.float()
    if isinstance(task, Segmentation | Classification):
        return output.argmax(0)
    if isinstance(task, Normals):
        return torch.nn.functional.normalize(output, dim=0)
    if isinstance(task, Boundaries | Saliency):
        return output[0].sigmoid()
    if isinstance(task, Attributes):
        return output.sigmoid()
    if isinstance(task, Reconstruction):
        return output.clamp(0, 1)
    return output[0] if task.dense and len(output) == 1 else output
