"""The reference constants of a prepared dataset and their metrics, kept beside it: equal for all trials, computed once."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mtlbench.config.syntax_tree import canonical_source
from mtlbench.records import canonical, write_text
from mtlbench.tasks.base import Task


class ConstantsFile:
    """Numbers by name, in a file that is named by what they depend on beside the data.

    Args:
        folder: of the prepared data; None keeps nothing.
        tasks: their definitions and their code are part of the file's name: other tasks have another file.
    """

    def __init__(self, folder: Path | None, tasks: Sequence[Task]) -> None:
        self.path = None if folder is None else folder / f"constants-{_key(tasks)}.json"
        self.values: dict[str, Any] = {}
        if self.path is not None:
            try:
                values = json.loads(self.path.read_text(encoding="utf-8"))
                self.values = values if isinstance(values, dict) else {}
            except (OSError, ValueError):
                self.values = {}

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        """The value of that name, computed and kept where it is not known. Values are JSON; floats keep every bit."""
        if name not in self.values:
            self.values[name] = compute()
            if self.path is not None:
                self._keep()
        return self.values[name]

    def _keep(self) -> None:
        assert self.path is not None
        try:
            write_text(self.path, json.dumps(self.values, sort_keys=True))
        except OSError:
            # A cache that cannot be written to costs time, not the trial.
            self.path = None


def _key(tasks: Sequence[Task]) -> str:
    digest = hashlib.sha256()
    for task in tasks:
        digest.update(canonical(task.describe()).encode())
        for base in type(task).__mro__:
            source = inspect.getsourcefile(base) if issubclass(base, Task) else None
            if source is not None:
                digest.update(canonical_source(Path(source).read_bytes()))
    return digest.hexdigest()[:16]
