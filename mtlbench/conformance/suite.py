"""A suite of properties: functions that raise where a plugin lacks what their first line describes."""

from __future__ import annotations

import random
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch

from mtlbench.conformance.result import PropertyResult
from mtlbench.errors import UserError

Subject = TypeVar("Subject")


class Failed(Exception):
    """The plugin lacks the property. The message says how it shows and what to do."""


class NotApplicable(Exception):
    """The property means nothing for this plugin. The message says why."""


@dataclass(frozen=True)
class Property(Generic[Subject]):
    """One property: its name, what it says, and a function that raises where it does not hold."""

    name: str
    description: str
    check: Callable[[Subject], None]


class Suite(Generic[Subject]):
    """Properties in the order in which they are checked.

    A property is a function of the subject, added with `@suite.add`. Its name is the property's name, the first line of its
    docstring is the description.
    """

    def __init__(self) -> None:
        self.properties: list[Property[Subject]] = []

    def add(self, check: Callable[[Subject], None]) -> Callable[[Subject], None]:
        """Add a property; fit to be used as a decorator."""
        description = (check.__doc__ or "").strip().splitlines()[0]
        self.properties.append(Property(check.__name__, description, check))
        return check

    def run(self, subject: Subject, files: Sequence[Path] = (), only: Collection[str] = ()) -> Iterator[PropertyResult]:
        """Check one property after another.

        Args:
            files: the plugin's Python files: errors that come from them are reported with file and line.
            only: names of the properties to check; empty for all.
        """
        for each in self.properties:
            if not only or each.name in only:
                yield check(each, subject, files)


def check(each: Property[Subject], subject: Subject, files: Sequence[Path] = ()) -> PropertyResult:
    """Check one property. Whatever is raised becomes a result."""

    def result(ok: bool | None, reason: str = "") -> PropertyResult:
        return PropertyResult(each.name, each.description, ok, reason)

    try:
        with undisturbed():
            each.check(subject)
    except NotApplicable as reason:
        return result(None, str(reason))
    except (Failed, UserError) as reason:
        return result(False, str(reason))
    except Exception as error:
        return result(False, describe(error, files))
    return result(True)


def describe(error: Exception, files: Sequence[Path]) -> str:
    """An unexpected error in one line: its type, its message, and the place in the plugin's files that led to it."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    own = {path.resolve() for path in files}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).resolve() in own]
    return f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else text


@contextmanager
def undisturbed() -> Iterator[None]:
    """One CPU thread and fixed global random numbers within the context; all as it was after it."""
    threads, python_state, numpy_state = torch.get_num_threads(), random.getstate(), np.random.get_state()
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seed_everything(0)
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def seed_everything(seed: int) -> None:
    """Set all global random states, which no result may depend on."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
