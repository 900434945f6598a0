"""The skill scale: from the best constant prediction (0) to a perfect one (1), per task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from mtlbench.data.split import Split
from mtlbench.measure.reference_constants import ConstantsFile
from mtlbench.records import Evaluation
from mtlbench.tasks import mean_skill, skill
from mtlbench.tasks.base import Task
from mtlbench.tasks.meter import Meter


class SkillScale:
    """Turns task metrics into skills (c − m)/(c − p).

    m is the primary metric, p its perfect value and c that of the reference constant, which is fitted on train once; its
    own metric is computed once per split.

    Args:
        tasks: the dataset's tasks.
        train: the split that constants are fitted on.
        folder: of the prepared data, where what all trials share is kept; None computes it anew.
    """

    def __init__(self, tasks: Sequence[Task], train: Split, folder: Path | None = None) -> None:
        self.tasks = tuple(tasks)
        self._kept = ConstantsFile(folder, self.tasks)
        self.constants: dict[str, list[float]] = self._kept.get(
            "constants", lambda: {task.name: task.fit_constant(train.chunks(task)) for task in self.tasks}
        )

    def constant_metrics(self, split: Split, batch_size: int = 64) -> dict[str, float]:
        """Task → primary metric of its reference constant on the split."""
        metrics: dict[str, float] = self._kept.get(
            f"metrics on {split.name}", lambda: self._constant_metrics(split, batch_size)
        )
        return metrics

    def _constant_metrics(self, split: Split, batch_size: int) -> dict[str, float]:
        meters = {task.name: Meter(task) for task in self.tasks}
        for indices in torch.arange(len(split)).split(batch_size):
            batch = split.batch(indices)
            for task in self.tasks:
                target = batch.target(task.name)
                if len(target):
                    constant = task.constant_prediction(self.constants[task.name], target)
                    meters[task.name].update(constant, target)
        return {task.name: meters[task.name].compute()[task.primary.name] for task in self.tasks}

    def evaluation(self, metrics: dict[str, dict[str, float]], split: Split) -> Evaluation:
        """Metrics on a split, with their skills."""
        constant = self.constant_metrics(split)
        skills: dict[str, float] = {}
        for task in self.tasks:
            value = skill(metrics[task.name][task.primary.name], constant[task.name], task.primary.perfect)
            if value is not None:
                skills[task.name] = value
        return Evaluation(metrics=metrics, constant=dict(constant), skill=skills, mean_skill=mean_skill(skills))
