"""The properties that every dataset must have, checked on a few of its samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mtlbench.conformance import dataset_samples, dataset_statements, dataset_targets
from mtlbench.conformance.dataset_subject import DatasetSubject
from mtlbench.conformance.result import PropertyResult
from mtlbench.conformance.suite import Suite
from mtlbench.contract import Dataset

SUITE = Suite[DatasetSubject]()

for _property in (
    dataset_statements.card,
    dataset_statements.constants,
    dataset_statements.missing_root,
    dataset_statements.tasks,
    dataset_statements.index,
    dataset_statements.disjoint_splits,
    dataset_statements.scenes,
    dataset_statements.files,
    dataset_samples.samples,
    dataset_samples.labels,
    dataset_samples.own_images,
    dataset_samples.repeatable,
    dataset_samples.threads,
    dataset_statements.description,
    dataset_targets.unlabelled,
    dataset_targets.losses,
    dataset_targets.reference_constant,
    dataset_targets.augmentation,
):
    SUITE.add(_property)


def check_dataset(
    cls: type[Dataset], root: Path | None, options: Mapping[str, Any], *, limit: int = 4, files: Sequence[Path] = ()
) -> Iterator[PropertyResult]:
    """Check one property after another.

    Args:
        cls: the plugin's class.
        root: the folder of its raw files, None for the plugin's default.
        options: options that are not at their defaults.
        limit: how many samples of each split are read.
        files: the plugin's Python files: errors that come from them are reported with file and line.

    Returns:
        one result per property; that of `scenes` says how many scenes there are, and which splits share some.

    Raises:
        UserError: an option is unknown or refused.
    """
    subject = DatasetSubject(cls, root, cls.configure(options, cls.__name__), limit)
    for result in SUITE.run(subject, files):
        if result.name == "scenes" and result.ok:
            result = replace(result, reason=dataset_statements.shared_scenes(subject))
        yield result
