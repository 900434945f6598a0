"""Writing a prepared store: one process at a time, all or nothing."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

import torch

from mtlbench.contract.dataset import BadSample, Dataset, Key, Sample
from mtlbench.data.arrays import ArrayWriter
from mtlbench.data.fingerprint import STORE_FORMAT, Progress, content_fingerprint, threads
from mtlbench.data.sample_validation import unlabelled_target, validate_sample
from mtlbench.errors import UserError

REQUIRED_SPLITS = ("train", "val", "test")
_READ_AHEAD = 4
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}

Loaded = tuple[Sample, dict[str, bool]]
"""A valid sample, and which tasks it is labelled for."""


class SkippedSample(TypedDict):
    """A sample that was left out: its split, its id, and why."""

    split: str
    id: str
    reason: str


class StoreMeta(TypedDict):
    """The content of a prepared folder's `meta.json`.

    Keys:
        format: `STORE_FORMAT`.
        dataset, version, options: of the plugin.
        fingerprint: sha256 of what the data were made from.
        samples: how many there are, by split.
        skipped: samples that were left out.
    """

    format: int
    dataset: str
    version: int
    options: dict[str, object]
    fingerprint: str
    samples: dict[str, int]
    skipped: list[SkippedSample]


class SampleLists(TypedDict):
    """The content of a split's `samples.json`: one entry per sample, in order."""

    ids: list[str]
    scenes: list[str | None]
    labelled: dict[str, list[bool]]


def task_file(task: str) -> str:
    """The file name of a task's targets."""
    return f"task-{quote(task, safe='')}.npy"


def sample_id(key: Key) -> str:
    """A sample's name: its key, the parts of a tuple joined by slashes."""
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)


@contextmanager
def cache_lock(cache: Path, name: str) -> Iterator[None]:
    """Wait until no other process prepares this dataset; then remove what killed ones left behind.

    Raises:
        UserError: the folder cannot be written to, or its file system has no locks.
    """
    with ExitStack() as stack:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((cache / f".{name}.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)  # released with the file, by a killed process too
            for leftover in cache.iterdir():
                if re.fullmatch(rf"\.{re.escape(name)}-[0-9a-f]{{16}}\.partial", leftover.name):
                    shutil.rmtree(leftover)
        except OSError as error:
            raise UserError(f"The cache folder {cache} cannot be used ({error.strerror}). Choose another one.") from None
        yield


def write_store(dataset: Dataset, name: str, folder: Path, skip_bad: bool, progress: Progress | None) -> None:
    """Make a prepared folder; the caller holds the lock. Whatever goes wrong, nothing half-written stays behind.

    Raises:
        UserError: as `mtlbench.data.store.prepare`.
    """
    index = _checked_index(dataset, name)
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        partial.mkdir()
        skipped: list[SkippedSample] = []
        for split, keys in index.items():
            skipped += _write_split(dataset, name, split, keys, partial / split, skip_bad=skip_bad, progress=progress)
        left_out = Counter(entry["split"] for entry in skipped)
        meta: StoreMeta = {
            "format": STORE_FORMAT,
            "dataset": name,
            "version": dataset.version,
            "options": dataset.describe(),
            "fingerprint": content_fingerprint(dataset, name, [(s["split"], s["id"]) for s in skipped], progress),
            "samples": {split: len(keys) - left_out[split] for split, keys in index.items()},
            "skipped": skipped,
        }
        _write_json(partial / "meta.json", meta)
        if folder.exists():  # without its meta.json, or it would have been opened
            shutil.rmtree(folder)
        partial.rename(folder)
        _sync_folder(folder.parent)
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise UserError(
            f"The disk is full: preparing {name} takes about {_bytes_needed(dataset, index) / 1e6:,.0f} MB in "
            f"{folder.parent}. Free some space or choose another cache folder; nothing half-written was left there."
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _checked_index(dataset: Dataset, name: str) -> Mapping[str, Sequence[Key]]:
    index = dataset.index()
    missing = [split for split in REQUIRED_SPLITS if split not in index]
    missing += [split for split, keys in index.items() if not len(keys)]
    if missing:
        raise UserError(f"{name} has no samples for {', '.join(missing)}. A dataset needs train, val and test splits.")
    for split, keys in index.items():
        twin, count = Counter(map(sample_id, keys)).most_common(1)[0]
        if count > 1:
            raise UserError(f"{name}: {count} samples of {split} are named {twin!r}; names must be unique in a split.")
    return index


def _write_split(
    dataset: Dataset,
    name: str,
    split: str,
    keys: Sequence[Key],
    folder: Path,
    *,
    skip_bad: bool,
    progress: Progress | None,
) -> list[SkippedSample]:
    """Write one split; returns the samples that were left out."""
    folder.mkdir()
    height, width = dataset.image_size
    stored = [task for task in dataset.tasks if not task.from_image]
    ids: list[str] = []
    scenes: list[str | None] = []
    labelled: dict[str, list[bool]] = {task.name: [] for task in dataset.tasks}
    skipped: list[SkippedSample] = []
    with ExitStack() as stack:
        images = stack.enter_context(ArrayWriter(folder / "image.npy", (height, width, 3), "uint8"))
        targets = {
            task.name: stack.enter_context(
                ArrayWriter(folder / task_file(task.name), task.target_shape(height, width), task.dtype)
            )
            for task in stored
        }
        for done, (key, result) in enumerate(_load_all(dataset, name, keys), 1):
            if isinstance(result, BadSample):
                if not skip_bad:
                    raise UserError(
                        f"{name}: {split} {sample_id(key)} cannot be used: {result}. "
                        "Mend or replace the file, or leave such samples out with --skip-bad."
                    )
                skipped.append({"split": split, "id": sample_id(key), "reason": str(result)})
            else:
                sample, flags = result
                images.append(sample["image"])
                for task in stored:
                    target = sample.get(task.name)
                    targets[task.name].append(unlabelled_target(task, height, width) if target is None else target)
                for task_name, flag in flags.items():
                    labelled[task_name].append(flag)
                ids.append(sample_id(key))
                scenes.append(dataset.scene(key))
            if progress:
                progress(split, done, len(keys))
        if not ids:
            raise UserError(f"{name}: no sample of {split} can be used; the first: {skipped[0]['reason']}.")
        for writer in (images, *targets.values()):
            writer.finish()
    lists: SampleLists = {"ids": ids, "scenes": scenes, "labelled": labelled}
    _write_json(folder / "samples.json", lists)
    return skipped


def _load_all(dataset: Dataset, name: str, keys: Sequence[Key]) -> Iterator[tuple[Key, Loaded | BadSample]]:
    """All samples in order; of plugins that say `thread_safe = True`, loaded by a few threads that run a little ahead.

    Not of others: a plugin may hold an open file, and even `np.load` is not safe (it parses headers by
    `ast.literal_eval`, which raises SystemError now and then when two threads are in it; seen with Python 3.11.7).
    """
    if not dataset.thread_safe:
        for key in keys:
            yield key, _load(dataset, name, key)
        return
    with ThreadPoolExecutor(threads()) as pool:
        waiting: deque[tuple[Key, Future[Loaded | BadSample]]] = deque()
        try:
            for key in keys:
                waiting.append((key, pool.submit(_load, dataset, name, key)))
                if len(waiting) > _READ_AHEAD * threads():
                    ready, future = waiting.popleft()
                    yield ready, future.result()
            for ready, future in waiting:
                yield ready, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _load(dataset: Dataset, name: str, key: Key) -> Loaded | BadSample:
    try:
        sample = dataset.load(key)
        validate_sample(sample, dataset.tasks, dataset.image_size)
    except BadSample as error:
        return error
    except OSError as error:  # says which file by itself
        return BadSample(str(error))
    except Exception as error:
        raise RuntimeError(f"{name}: load({key!r}) failed: {type(error).__name__}: {error}") from error
    return sample, {
        task.name: task.from_image
        or (task.name in sample and bool(task.valid(torch.from_numpy(sample[task.name])[None])[0]))
        for task in dataset.tasks
    }


def _bytes_needed(dataset: Dataset, index: Mapping[str, Sequence[Key]]) -> int:
    height, width = dataset.image_size
    targets = sum(unlabelled_target(task, height, width).nbytes for task in dataset.tasks if not task.from_image)
    return sum(map(len, index.values())) * (height * width * 3 + targets)


def _write_json(path: Path, content: StoreMeta | SampleLists) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, default=str)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
