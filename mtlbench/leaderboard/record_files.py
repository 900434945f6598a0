"""The record files of a folder: which there are, what they contain by hash, and which dataset each is of."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlbench.errors import UserError, did_you_mean
from mtlbench.leaderboard.parallel import run_all
from mtlbench.records import epochs_on_test

TOP_LEVEL = re.compile(rb'\n "dataset": "([^"\\]+)"')
"""A record's dataset as `mtlbench.records.write` writes it: matched without parsing the file."""

FILES_PER_JOB = 2500
"""Files that one process reads: with more of them several processes read."""

UNKNOWN = ""
"""Stands for the dataset of files that do not say one; no dataset has that name."""


@dataclass(frozen=True)
class Scan:
    """The record files of a folder, without reading them as records.

    Attributes:
        digests: file name relative to the folder → hash of its bytes and of its epochs on test.
        names: dataset → file names. Whether a file is a good record is not known yet.
    """

    digests: dict[str, str]
    names: dict[str, list[str]]


def record_files(results: Path) -> list[Path]:
    """The record files below a folder, sorted; hidden ones (half-written) are left out.

    Raises:
        UserError: no such folder.
    """
    if not results.is_dir():
        raise UserError(
            f"{results}: no such folder of records. Run `mtlbench bench` first, or name the folder that has them."
        )
    return sorted(
        path
        for path in results.rglob("*.json")
        if not path.name.startswith(".") and not epochs_on_test.is_beside_record(path)
    )


def scan(results: Path) -> Scan:
    """Look at all record files below a folder.

    Raises:
        UserError: no such folder.
    """
    suffixes = (epochs_on_test.SUFFIX, epochs_on_test.FORMER_SUFFIX)
    with_epochs = any(next(results.rglob(f"*{suffix}"), None) is not None for suffix in suffixes)

    def digests_of(paths: Sequence[Path]) -> tuple[str, dict[str, tuple[str, str]]]:
        digests = {}
        for path in paths:
            content = path.read_bytes()
            digest = hashlib.sha256(content)
            if with_epochs and (beside := epochs_on_test.existing(path)) is not None:
                digest.update(beside.read_bytes())
            digests[path.relative_to(results).as_posix()] = digest.hexdigest(), _dataset(content)
        return str(paths[0]), digests

    paths = record_files(results)
    jobs = [paths[start : start + FILES_PER_JOB] for start in range(0, len(paths), FILES_PER_JOB)]
    digests: dict[str, str] = {}
    names: dict[str, list[str]] = defaultdict(list)
    for part in run_all(digests_of, jobs).values():
        for name, (digest, dataset) in part.items():
            digests[name] = digest
            names[dataset].append(name)
    return Scan(digests, dict(names))


def require_datasets(results: Path, datasets: Sequence[str] | None, known: Collection[str]) -> None:
    """Refuse datasets of which a folder has no record.

    Raises:
        UserError: the first of them.
    """
    for name in datasets or ():
        if name not in known:
            raise UserError(f"{results} has no record of dataset {name!r}.{did_you_mean(name, known)}")


def _dataset(content: bytes) -> str:
    match = TOP_LEVEL.search(content)
    if match is not None:
        return match[1].decode("utf-8", "replace")
    try:
        return str(json.loads(content).get("dataset", UNKNOWN))
    except (ValueError, AttributeError):
        return UNKNOWN
