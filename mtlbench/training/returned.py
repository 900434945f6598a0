"""What a plugin's step returned, compared with what it should: one line that names the plugin, not torch's traceback."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from torch import Tensor

from mtlbench.errors import UserError


def check_losses(losses: object, step: Callable[..., object], tasks: Collection[str]) -> None:
    """Refuse what is not a mapping from tasks to scalar losses.

    Args:
        losses: what the step returned.
        step: the step.
        tasks: the names that may be in it.

    Raises:
        UserError: names the step's file and what was expected.
    """
    if not isinstance(losses, dict):
        raise UserError(f"{place_of(step)} returned {type(losses).__name__}, expected a dict from task to scalar loss.")
    for task, loss in losses.items():
        if task not in tasks:
            raise UserError(f"{place_of(step)} returned a loss of {task!r}, expected those of {', '.join(tasks)}.")
        if not isinstance(loss, Tensor) or loss.ndim:
            shape = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise UserError(f"{place_of(step)} returned {shape} as the loss of {task}, expected a scalar tensor.")


def place_of(function: Callable[..., object]) -> str:
    """Name and file of a function, as a message names it."""
    inner: Any = function
    while isinstance(inner, partial):
        inner = inner.func
    name = getattr(inner, "__qualname__", type(inner).__name__)
    owner = getattr(inner, "__self__", None)
    if owner is not None:
        name = f"{type(owner).__name__}.{inner.__name__}"
    try:
        return f"{name} ({inspect.getsourcefile(inner)})"
    except TypeError:
        return name
