"""Kinds of task: loss, metrics and reference constant side by side, one file per kind.

`base` is the contract, `meter` the streaming metric over it (it needs torchmetrics, so it is not imported from here),
`skill` the scale on which tasks are averaged, `reduce` what losses and statistics of a plugin's own kind are built from.
"""

from mtlbench.tasks.attributes import Attributes
from mtlbench.tasks.base import MetricInfo, Statistics, Task
from mtlbench.tasks.boundaries import Boundaries
from mtlbench.tasks.classification import Classification
from mtlbench.tasks.depth import Depth
from mtlbench.tasks.normals import Normals
from mtlbench.tasks.reconstruction import Reconstruction
from mtlbench.tasks.reduce import full_precision, image_counts, image_sums, masked_mean, ratio
from mtlbench.tasks.saliency import Saliency
from mtlbench.tasks.segmentation import Segmentation
from mtlbench.tasks.skill import mean_skill, skill

__all__ = [
    "Attributes",
    "Boundaries",
    "Classification",
    "Depth",
    "MetricInfo",
    "Normals",
    "Reconstruction",
    "Saliency",
    "Segmentation",
    "Statistics",
    "Task",
    "full_precision",
    "image_counts",
    "image_sums",
    "masked_mean",
    "mean_skill",
    "ratio",
    "skill",
]
