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
from mtlbench.errors import UserError, did_you_mean


def reference_method() -> str:
    """The method that Δ is measured against."""
    return str(importlib.import_module(f"{mtlbench.__name__}.methods").REFERENCE)


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
    architecture: Plugin
    strategy: Plugin
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
    folder = importlib.import_module(f"{mtlbench.__name__}.methods")
    parts = name.split("+")
    if len(parts) > 2 or not all(parts):
        raise UserError(f"Method {name!r} is not understood: expected one name, or architecture+strategy.")
    plugins = [registry.method(part) for part in parts]
    if len(plugins) == 1:
        other = folder.DEFAULT_STRATEGY if plugins[0].kind == "architecture" else folder.DEFAULT_ARCHITECTURE
        plugins.append(registry.method(other))
        plugins.sort(key=lambda plugin: plugin.kind)
    elif [plugin.kind for plugin in plugins] != ["architecture", "strategy"]:
        kinds = " and ".join(f"{plugin.name} is a(n) {plugin.kind}" for plugin in plugins)
        raise UserError(f"Method {name!r} must be architecture+strategy, but {kinds}.")
    architecture, strategy = plugins
    if strategy.cls.needs_sharing and not architecture.cls.shares:
        raise UserError(
            f"{strategy.name} balances what tasks do to shared weights, and {architecture.name} shares none: the pair "
            f"means nothing. Combine {strategy.name} with an architecture that shares."
        )
    own: dict[str, dict[str, Any]] = {"architecture": {}, "strategy": {}}
    for key, value in given.items():
        part, _, bare = key.rpartition(".")
        known = [p.kind for p in plugins if bare in p.cls.hypers] if not part else [part] if part in own else []
        if not known:
            names = {hyper for p in plugins for hyper in p.cls.hypers}
            raise UserError(f"{name} has no hyper-parameter {key!r}.{did_you_mean(bare, names) or ' It has none.'}")
        if len(known) > 1:
            raise UserError(
                f"Both parts of {name} have a hyper-parameter {key!r}: write architecture.{key} or strategy.{key}."
            )
        own[known[0]][bare] = value
    values = {plugin.kind: plugin.cls.configure(own[plugin.kind], plugin.name) for plugin in plugins}
    changed = {
        hyper: value
        for plugin in plugins
        for hyper, value in values[plugin.kind].items()
        if value != plugin.cls.hypers[hyper].default
    }
    # One trial, one name: `equal`, `hard_sharing+equal` and `hard_sharing` are the same thing.
    if strategy.name == folder.DEFAULT_STRATEGY:
        name = architecture.name
    elif architecture.name == folder.DEFAULT_ARCHITECTURE:
        name = strategy.name
    else:
        name = f"{architecture.name}+{strategy.name}"
    return Method(name, architecture, strategy, values["architecture"], values["strategy"], changed)
