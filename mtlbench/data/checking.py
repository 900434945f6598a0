"""Is a folder of raw files whole? Every sample is read; what is missing, corrupt or left over is named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mtlbench.contract.dataset import BadSample, Dataset, Key
from mtlbench.data.checks import check_sample
from mtlbench.data.fingerprint import Progress, threads
from mtlbench.data.writing import sample_id


@dataclass(frozen=True)
class Finding:
    """What was found in a dataset's folder.

    Attributes:
        samples: number of samples by split.
        bad: (split, sample, what is wrong) of every sample that cannot be used; the reason names the file.
        extra: files below the dataset's folder that no sample uses.
        folder: that folder; None where no files are read.
    """

    samples: dict[str, int]
    bad: tuple[tuple[str, str, str], ...]
    extra: tuple[Path, ...]
    folder: Path | None


def check_folder(dataset: Dataset, progress: Progress | None = None) -> Finding:
    """Read every sample of a dataset and compare it with what the plugin declares; nothing is written.

    Raises:
        UserError: whole folders are missing.
    """
    index = dataset.index()
    bad: list[tuple[str, str, str]] = []
    for split, keys in index.items():
        for done, (key, reason) in enumerate(zip(keys, _reasons(dataset, keys), strict=True), 1):
            if reason:
                bad.append((split, sample_id(key), reason))
            if progress:
                progress(split, done, len(keys))
    folder, extra = left_over(dataset)
    return Finding({split: len(keys) for split, keys in index.items()}, tuple(bad), extra, folder)


def left_over(dataset: Dataset) -> tuple[Path | None, tuple[Path, ...]]:
    """The deepest folder that holds all files a dataset reads, and the files below it that it does not read."""
    used = {Path(os.path.abspath(path)) for path in dataset.files()}
    if not used:
        return None, ()
    folder = Path(os.path.commonpath([path.parent for path in used]))
    found = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return folder, tuple(sorted(path for path in found if path not in used))


def _reasons(dataset: Dataset, keys: Sequence[Key]) -> Iterator[str]:
    """What is wrong with each sample, in order; empty where nothing is."""

    def reason(key: Key) -> str:
        try:
            check_sample(dataset.load(key), dataset.tasks, dataset.image_size)
        except (BadSample, OSError) as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(threads() if dataset.thread_safe else 1) as pool:
        yield from pool.map(reason, keys)
