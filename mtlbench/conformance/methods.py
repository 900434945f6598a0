"""The properties of a method: what its class says, what it does with a batch, what its trials do."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from mtlbench.config.plugins import Registry
from mtlbench.conformance import architectures, declarations, strategies, trials
from mtlbench.conformance.result import PropertyResult
from mtlbench.contract import Architecture, Strategy


def check_method(name: str, registry: Registry, only: Collection[str] = ()) -> Iterator[PropertyResult]:
    """Check one property of an architecture or strategy after another, on the CPU.

    Args:
        name: the plugin's name.
        registry: where it is found, inside or outside the repository.
        only: names of the properties to check; empty for all.

    Returns:
        one result per property; the caller decides how many to ask for.

    Raises:
        UserError: there is no such method, or it cannot be imported.
    """
    yield from check_steps(name, registry, only)
    yield from check_trials(name, registry, only)


def check_steps(name: str, registry: Registry, only: Collection[str] = ()) -> Iterator[PropertyResult]:
    """The properties that the class and single steps show; arguments and results as in `check_method`."""
    plugin = registry.method(name)
    files, cls = plugin.files, plugin.cls
    yield from declarations.SUITE.run(declarations.ClassSubject(name, cls), files, only)
    if issubclass(cls, Architecture):
        yield from architectures.SUITE.run(architectures.ArchitectureSubject(name, cls), files, only)
    else:
        assert issubclass(cls, Strategy)
        yield from strategies.SUITE.run(strategies.StrategySubject(name, cls), files, only)


def check_trials(name: str, registry: Registry, only: Collection[str] = ()) -> Iterator[PropertyResult]:
    """The properties that whole trials show; arguments and results as in `check_method`."""
    plugin = registry.method(name)
    with tempfile.TemporaryDirectory(prefix="mtlbench-check-") as folder, garbage_set_aside():
        yield from trials.SUITE.run(trials.TrialSubject(name, registry, Path(folder)), plugin.files, only)


@contextmanager
def garbage_set_aside() -> Iterator[None]:
    """Objects that live already are not searched for garbage again: every trial does so before it starts."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
