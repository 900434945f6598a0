"""A dataset that is being checked, with a few of its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mtlbench.conformance.suite import NotApplicable
from mtlbench.contract import Dataset, Key, Sample
from mtlbench.contract.batch import Batch
from mtlbench.data.sample_validation import unlabelled_target
from mtlbench.data.split import Split
from mtlbench.data.writing import sample_id
from mtlbench.tasks import Task


@dataclass(frozen=True)
class DatasetSubject:
    """A dataset that is being checked.

    Attributes:
        cls: the plugin's class.
        root: the folder of its raw files; None for the plugin's default, or where there are none.
        values: all option values (`cls.configure` made them).
        limit: how many samples of a split are read at most.
    """

    cls: type[Dataset]
    root: Path | None
    values: Mapping[str, Any]
    limit: int

    def make(self, **changed: Any) -> Dataset:
        """A new instance, with some options changed."""
        return self.cls(self.root, {**self.values, **changed})

    @cached_property
    def dataset(self) -> Dataset:
        """One instance that all properties share."""
        return self.make()

    @cached_property
    def index(self) -> Mapping[str, Sequence[Key]]:
        """The dataset's index.

        Raises:
            NotApplicable: there is none; the property `index` says why.
        """
        try:
            return self.dataset.index()
        except Exception:
            raise NotApplicable("not checked: there is no index (see `index`)") from None

    def keys(self, split: str) -> list[Key]:
        """At most `limit` keys of a split, spread evenly."""
        keys = self.index[split]
        places = np.linspace(0, len(keys) - 1, min(self.limit, len(keys))).round().astype(int).tolist()
        return [keys[place] for place in places]

    @cached_property
    def all_keys(self) -> list[Key]:
        """At most `limit` keys of every split."""
        return [key for split in self.index for key in self.keys(split)]

    @cached_property
    def samples(self) -> dict[Key, Sample]:
        """The samples of `all_keys`.

        Raises:
            NotApplicable: one cannot be read; the property `samples` says why.
        """
        try:
            return {key: self.dataset.load(key) for key in self.all_keys}
        except NotApplicable:
            raise
        except Exception:
            raise NotApplicable("not checked: a sample cannot be read (see `samples`)") from None

    def split(self, name: str) -> Split:
        """The read samples of a split, as the harness serves them."""
        samples = [self.samples[key] for key in self.keys(name)]
        height, width = self.dataset.image_size
        arrays = {"image": np.stack([sample["image"] for sample in samples])}
        labelled: dict[str, np.ndarray] = {}
        for task in self.dataset.tasks:
            if task.from_image:
                labelled[task.name] = np.ones(len(samples), np.bool_)
                continue
            missing = unlabelled_target(task, height, width)
            arrays[task.name] = np.stack([sample.get(task.name, missing) for sample in samples])
            labelled[task.name] = task.valid(torch.from_numpy(arrays[task.name])).numpy()
        return Split(
            name,
            self.dataset.tasks,
            arrays,
            labelled=labelled,
            ids=[sample_id(key) for key in self.keys(name)],
            scenes=[None] * len(samples),
            mean=self.dataset.mean,
            multi_input=self.dataset.multi_input,
        )

    def batch(self, split: str) -> Batch:
        """All read samples of a split in one batch."""
        samples = self.split(split)
        return samples.batch(torch.arange(len(samples)))

    def labelled_tasks(self, split: Split) -> list[Task]:
        """The tasks that have a label among a split's read samples.

        Raises:
            NotApplicable: there is none.
        """
        tasks = [task for task in self.dataset.tasks if split.labelled[task.name].any()]
        if not tasks:
            raise NotApplicable(f"not checked: no task has a label among {len(split)} samples of {split.name}")
        return tasks
