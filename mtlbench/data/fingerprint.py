"""Names for prepared data: a cheap key that finds them, and a fingerprint of what they were made from."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mtlbench.config import source_hash
from mtlbench.contract.dataset import Dataset
from mtlbench.errors import UserError

STORE_FORMAT = 1
"""Raise when the files of the store change their meaning."""

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, how many are done, how many there are)."""


def cheap_key(dataset: Dataset, name: str) -> str:
    """Names a prepared folder, from what can be asked without reading a raw file: 16 hexadecimal digits.

    It changes with the plugin's version, options, source file and helper modules, with the encodings of its tasks, and
    with names, sizes and modification times of its raw files: whatever may change the arrays gives another folder.
    """
    height, width = dataset.image_size
    tasks = [
        (task.name, task.kind, task.channels, task.dtype, task.invalid, task.from_image, task.target_shape(height, width))
        for task in dataset.tasks
    ]
    files = [
        (relative, status.st_size, status.st_mtime_ns)
        for relative, path in relative_names(dataset.files()).items()
        for status in (_status(path),)
    ]
    source = _digest_of_source(type(dataset))
    parts = [STORE_FORMAT, name, dataset.version, source, dataset.describe(), (height, width), tasks, files]
    return _digest(parts)[:16]


def content_fingerprint(
    dataset: Dataset, name: str, skipped: Sequence[tuple[str, str]], progress: Progress | None = None
) -> str:
    """What the prepared data were made from: sha256 of version, options, raw files' content and skipped samples.

    Computed pixels are no part of it: decoders and renderers may differ by a rounding error between machines.

    Args:
        skipped: (split, sample id) of every sample that was left out.
    """
    files = relative_names(dataset.files())
    digests: dict[str, str] = {}
    with ThreadPoolExecutor(threads()) as pool:
        for done, (relative, digest) in enumerate(zip(files, pool.map(_digest_of_file, files.values()), strict=True), 1):
            digests[relative] = digest
            if progress:
                progress("fingerprint", done, len(files))
    return _digest([name, dataset.version, dataset.describe(), digests, sorted(skipped)])


def relative_names(files: Sequence[Path]) -> dict[str, Path]:
    """Raw files by their names below the deepest folder that holds them all, sorted: the same wherever the data lie."""
    if not files:
        return {}
    paths = [Path(os.path.abspath(path)) for path in files]
    base = os.path.commonpath([path.parent for path in paths])
    return dict(sorted((path.relative_to(base).as_posix(), path) for path in paths))


def threads() -> int:
    """Threads that read raw files."""
    return min(8, os.cpu_count() or 1)


def _digest(parts: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _digest_of_source(plugin: type) -> str:
    try:
        return source_hash.digest(Path(inspect.getfile(plugin)))
    except (TypeError, OSError):  # defined in an interactive session
        return ""


def _digest_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
