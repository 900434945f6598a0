"""Whether a folder of raw files is complete: every sample is read; what is missing, damaged or unused is named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from mtlbench.contract.dataset import BadSample, Dataset, Key
from mtlbench.data.fingerprint import Progress, threads
from mtlbench.data.sample_validation import validate_sample
from mtlbench.data.writing import sample_id


@dataclass(frozen=True)
class BadFile:
    """A sample that cannot be used: its split, its id, and why; the reason names the file."""

    split: str
    sample: str
    reason: str


@dataclass(frozen=True)
class FolderReport:
    """The state of a dataset's folder.

    Attributes:
        samples: number of samples by split.
        bad: the samples that cannot be used.
        unused: files below the dataset's folder that no sample uses.
        folder: that folder; None where no files are read.
        shared_scenes: (split, other split) → the scenes that both have images of, where any are.
    """

    samples: dict[str, int]
    bad: tuple[BadFile, ...]
    unused: tuple[Path, ...]
    folder: Path | None
    shared_scenes: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)


def inspect_folder(dataset: Dataset, progress: Progress | None = None) -> FolderReport:
    """Read every sample of a dataset and compare it with what the plugin declares; nothing is written.

    Raises:
        UserError: whole folders are missing.
    """
    index = dataset.index()
    bad: list[BadFile] = []
    for split, keys in index.items():
        for done, (key, reason) in enumerate(zip(keys, _reasons(dataset, keys), strict=True), 1):
            if reason:
                bad.append(BadFile(split, sample_id(key), reason))
            if progress:
                progress(split, done, len(keys))
    folder, unused = unused_files(dataset)
    sizes = {split: len(keys) for split, keys in index.items()}
    return FolderReport(sizes, tuple(bad), unused, folder, shared_scenes(dataset, index))


def shared_scenes(dataset: Dataset, index: Mapping[str, Sequence[Key]]) -> dict[tuple[str, str], tuple[str, ...]]:
    """(split, other split) → the scenes that both have images of. Splits of one scene are no independent evidence."""
    scenes = {split: {scene for key in keys if (scene := dataset.scene(key)) is not None} for split, keys in index.items()}
    shared = {(first, second): tuple(sorted(scenes[first] & scenes[second])) for first, second in combinations(scenes, 2)}
    return {splits: names for splits, names in shared.items() if names}


def unused_files(dataset: Dataset) -> tuple[Path | None, tuple[Path, ...]]:
    """The deepest folder that holds all files a dataset reads, and the files below it that it does not read."""
    used = {Path(os.path.abspath(path)) for path in dataset.files()}
    if not used:
        return None, ()
    folder = Path(os.path.commonpath([path.parent for path in used]))
    present = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return folder, tuple(sorted(path for path in present if path not in used))


def _reasons(dataset: Dataset, keys: Sequence[Key]) -> Iterator[str]:
    """What is wrong with each sample, in order; empty where nothing is."""

    def reason(key: Key) -> str:
        try:
            validate_sample(dataset.load(key), dataset.tasks, dataset.image_size)
        except (BadSample, OSError) as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(threads() if dataset.thread_safe else 1) as pool:
        yield from pool.map(reason, keys)
