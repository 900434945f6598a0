"""Properties of datasets: what is in a sample."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch

from mtlbench.conformance.dataset_subject import DatasetSubject
from mtlbench.conformance.suite import Failed, NotApplicable
from mtlbench.contract import Key, Sample
from mtlbench.data.sample_validation import validate_sample
from mtlbench.data.writing import sample_id

THREADS = 4
REPEATS = 3
"""How often each sample is read by the threads."""
MOST_SAMPLES = 100
"""How many samples of train are read at most, to find a label of a task that few samples have."""


def samples(subject: DatasetSubject) -> None:
    """Image and targets have the shapes, data types and value ranges that the tasks state."""
    dataset = subject.dataset
    for key in subject.all_keys:
        try:
            validate_sample(dataset.load(key), dataset.tasks, dataset.image_size)
        except Exception as error:
            text = str(error).partition("\n")[0]
            raise Failed(f"{sample_id(key)}: {text or type(error).__name__}") from error


def labels(subject: DatasetSubject) -> None:
    """Every task has labels in train."""
    split = subject.split("train")
    missing = {task.name: task for task in subject.dataset.tasks if not split.labelled[task.name].any()}
    keys = replace(subject, limit=MOST_SAMPLES).keys("train") if missing else []
    for key in keys:
        sample = subject.dataset.load(key)
        for name in missing.keys() & sample.keys():
            if missing[name].valid(torch.from_numpy(sample[name])[None]).any():
                del missing[name]
        if not missing:
            return
    if missing:
        raise Failed(
            f"{', '.join(missing)}: no label among {len(keys)} samples of train; a task without labels cannot be trained"
        )


def own_images(subject: DatasetSubject) -> None:
    """In multi-input data a sample holds the target of exactly one task."""
    if not subject.cls.multi_input:
        raise NotApplicable("all tasks have the same images (multi_input is False)")
    for key, sample in subject.samples.items():
        if len(sample) != 2:
            targets = ", ".join(name for name in sample if name != "image") or "none"
            raise Failed(f"{sample_id(key)} holds the targets {targets}: expected one")


def repeatable(subject: DatasetSubject) -> None:
    """A sample is the same whenever, in whichever order and by whichever instance it is loaded."""
    expected, other = subject.samples, subject.make()
    for key in reversed(subject.all_keys):
        _require_equal(key, expected[key], other.load(key), "loaded by another instance in another order")
        _require_equal(key, expected[key], subject.dataset.load(key), "loaded again")


def threads(subject: DatasetSubject) -> None:
    """Several threads load the same samples as one, where the dataset says so."""
    if not subject.cls.thread_safe:
        raise NotApplicable("thread_safe is False: samples are loaded one after another")
    keys, expected, shared = subject.all_keys * REPEATS, subject.samples, subject.make()
    with ThreadPoolExecutor(THREADS) as pool:
        for key, sample in zip(keys, pool.map(shared.load, keys), strict=True):
            _require_equal(key, expected[key], sample, f"loaded by {THREADS} threads; set thread_safe = False")


def _require_equal(key: Key, expected: Sample, sample: Sample, how: str) -> None:
    if expected.keys() != sample.keys():
        raise Failed(f"{sample_id(key)} holds {', '.join(sample)} instead of {', '.join(expected)} when it is {how}")
    for name, array in expected.items():
        other = sample[name]
        if array.dtype != other.dtype or not np.array_equal(array, other, equal_nan=array.dtype.kind == "f"):
            raise Failed(f"{name} of {sample_id(key)} is another one when it is {how}")
