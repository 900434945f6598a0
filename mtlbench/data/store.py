"""The prepared store: a dataset's samples, checked once and kept as memory-mapped arrays.

    cache/NAME-KEY/meta.json                 fingerprint, what was skipped, samples per split; written last
    cache/NAME-KEY/SPLIT/image.npy           uint8 [N, H, W, 3]
    cache/NAME-KEY/SPLIT/task-TASK.npy       targets [N, *target_shape]; none for tasks made from the image
    cache/NAME-KEY/SPLIT/samples.json        ids, scenes, which samples are labelled

A folder is written under another name and renamed when it is complete, so that whoever finds it finds all of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtlbench.contract.dataset import Dataset
from mtlbench.data.arrays import open_array
from mtlbench.data.fingerprint import Progress, cheap_key
from mtlbench.data.split import Split
from mtlbench.data.writing import SampleLists, StoreMeta, cache_lock, task_file, write_store
from mtlbench.errors import UserError


@dataclass(frozen=True)
class Prepared:
    """A dataset ready to serve batches.

    Attributes:
        dataset: the plugin that it was made by.
        fingerprint: sha256 of what it was made from.
        splits: by name; `train`, `val` and `test` are always there.
        meta: the content of `meta.json`.
        folder: where it lies.
    """

    dataset: Dataset
    fingerprint: str
    splits: Mapping[str, Split]
    meta: StoreMeta
    folder: Path


def prepare(
    dataset: Dataset, name: str, cache: Path, *, skip_bad: bool = False, progress: Progress | None = None
) -> Prepared:
    """Open a dataset's prepared arrays, making them first where they are missing.

    Processes that prepare the same dataset at the same time wait for the first and share what it made.

    Args:
        dataset: the configured plugin.
        name: its plugin name; names the folder.
        cache: the folder that holds prepared data.
        skip_bad: leave out samples that cannot be read, and list them, instead of refusing the dataset.
        progress: told what is being done, how far it is, and out of how many.

    Raises:
        UserError: files are missing, a sample is bad (and `skip_bad` is off), a split is missing or empty, the disk is
            full, or the cache folder cannot be used.
    """
    folder = cache / f"{name}-{cheap_key(dataset, name)}"
    if not (folder / "meta.json").exists():
        with cache_lock(cache, name):
            if not (folder / "meta.json").exists():
                write_store(dataset, name, folder, skip_bad, progress)
    meta: StoreMeta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    if meta["skipped"] and not skip_bad:
        first = meta["skipped"][0]
        raise UserError(
            f"{name}: {len(meta['skipped'])} samples cannot be used; the first is {first['split']} {first['id']}: "
            f"{first['reason']}. Mend or replace the files, or leave such samples out with --skip-bad."
        )
    try:
        splits = {split: _open_split(dataset, split, folder / split) for split in meta["samples"]}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"The prepared data in {folder} are damaged ({error}). Delete that folder and try again.") from None
    return Prepared(dataset, meta["fingerprint"], splits, meta, folder)


def _open_split(dataset: Dataset, name: str, folder: Path) -> Split:
    samples: SampleLists = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
    arrays = {"image": open_array(folder / "image.npy")}
    for task in dataset.tasks:
        if not task.from_image:
            arrays[task.name] = open_array(folder / task_file(task.name))
    for key, array in arrays.items():
        if len(array) != len(samples["ids"]):
            raise ValueError(f"{name} {key} holds {len(array)} samples, expected {len(samples['ids'])}")
    labelled = {task: np.array(flags, np.bool_) for task, flags in samples["labelled"].items()}
    return Split(
        name,
        dataset.tasks,
        arrays,
        labelled=labelled,
        ids=samples["ids"],
        scenes=samples["scenes"],
        mean=dataset.mean,
        multi_input=dataset.multi_input,
    )
