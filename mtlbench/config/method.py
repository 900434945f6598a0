"""From a method's name to its architecture, its strategy and their hyper-parameters.

`a` is an architecture with the default strategy, or a strategy on the default architecture; `a+s` names both.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mtlbench
from mtlbench.config.plugins import Plugin, Registry
from mtlbench.contract import Architecture, Strategy
from mtlbench.errors import UserError, did_you_mean, shown


def reference_method() -> str:
    """The method that Δ is measured against."""
    return _constant("REFERENCE")


@dataclass(frozen=True)
class Method:
    """A resolved method.

    Attributes:
        name: as in a leaderboard row: the shortest way to say it.
        architecture, strategy: the plugins.
        architecture_hypers, strategy_hypers: all values.
        changed: those that are not at their defaults.
    """

    name: str
    architecture: Plugin[Architecture]
    strategy: Plugin[Strategy]
    architecture_hypers: dict[str, Any]
    strategy_hypers: dict[str, Any]
    changed: dict[str, Any]


def resolve(name: str, given: Mapping[str, Any], registry: Registry) -> Method:
    """Find a method's parts and check its hyper-parameters.

    Args:
        name: `a` or `a+s`.
        given: hyper-parameters by name; where both parts have one of a name, write `architecture.name` or `strategy.name`.

    Raises:
        UserError: an unknown part, a pair that means nothing, an unknown or refused hyper-parameter.
    """
    architecture, strategy = _parts(name, registry)
    if strategy.cls.needs_sharing and not architecture.cls.shares:
        raise UserError(
            f"{strategy.name} balances what tasks do to shared weights, and {architecture.name} shares none: the pair "
            f"means nothing. Combine {strategy.name} with an architecture that shares."
        )
    for_architecture, for_strategy = _assign(name, given, architecture, strategy)
    architecture_hypers = architecture.cls.configure(for_architecture, architecture.name)
    strategy_hypers = strategy.cls.configure(for_strategy, strategy.name)
    changed = {
        hyper: value
        for cls, values in ((architecture.cls, architecture_hypers), (strategy.cls, strategy_hypers))
        for hyper, value in values.items()
        if value != cls.hypers[hyper].default
    }
    short = _short_name(architecture.name, strategy.name)
    return Method(short, architecture, strategy, architecture_hypers, strategy_hypers, changed)


def _parts(name: str, registry: Registry) -> tuple[Plugin[Architecture], Plugin[Strategy]]:
    parts = name.split("+")
    if len(parts) > 2 or not all(parts):
        raise UserError(f"Method {name!r} is not understood: expected one name, or architecture+strategy.")
    kinds = [registry.method(part).kind for part in parts]
    if kinds == ["architecture"]:
        parts = [name, _constant("DEFAULT_STRATEGY")]
    elif kinds == ["strategy"]:
        parts = [_constant("DEFAULT_ARCHITECTURE"), name]
    elif kinds != ["architecture", "strategy"]:
        described = " and ".join(f"{part} is a(n) {kind}" for part, kind in zip(parts, kinds, strict=True))
        raise UserError(f"Method {name!r} must be architecture+strategy, but {described}.")
    return registry.architecture(parts[0]), registry.strategy(parts[1])


def _assign(
    name: str, given: Mapping[str, Any], architecture: Plugin[Architecture], strategy: Plugin[Strategy]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The given hyper-parameters of each part."""
    known = {"architecture": architecture.cls.hypers, "strategy": strategy.cls.hypers}
    assigned: dict[str, dict[str, Any]] = {"architecture": {}, "strategy": {}}
    for key, value in given.items():
        part, _, hyper = key.rpartition(".")
        kinds = [part] if part in known else [] if part else [kind for kind in known if hyper in known[kind]]
        if not kinds:
            names = {hyper for hypers in known.values() for hyper in hypers}
            raise UserError(f"{name} has no hyper-parameter {shown(key)}.{did_you_mean(hyper, names) or ' It has none.'}")
        if len(kinds) > 1:
            raise UserError(
                f"Both parts of {name} have a hyper-parameter {key!r}: write architecture.{key} or strategy.{key}."
            )
        assigned[kinds[0]][hyper] = value
    return assigned["architecture"], assigned["strategy"]


def _short_name(architecture: str, strategy: str) -> str:
    """One trial, one name: `equal`, `hard_sharing+equal` and `hard_sharing` are the same thing."""
    if strategy == _constant("DEFAULT_STRATEGY"):
        return architecture
    return strategy if architecture == _constant("DEFAULT_ARCHITECTURE") else f"{architecture}+{strategy}"


def _constant(name: str) -> str:
    """What methods/__init__.py says."""
    return str(getattr(importlib.import_module(f"{mtlbench.__name__}.methods"), name))
