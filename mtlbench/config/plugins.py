"""Methods and datasets by name. A broken plugin is listed with its reason and breaks nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar, cast, overload

from mtlbench.config.plugin import AnyPlugin, Plugin
from mtlbench.contract import Architecture, Dataset, Strategy
from mtlbench.discovery.places import plugin_folders, plugin_places
from mtlbench.errors import UserError, did_you_mean

__all__ = ["AnyPlugin", "Plugin", "Registry"]


class Registry:
    """All plugins that can be found.

    Args:
        folders: extra folders with plugins, beside those in the environment variable MTLBENCH_PLUGINS. A folder's
            `methods` and `datasets` are searched too.

    Raises:
        UserError: a folder does not exist.
    """

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        self.folders = plugin_folders(folders)
        self.plugins: dict[tuple[str, str], AnyPlugin] = {}
        for place in plugin_places(self.folders):
            self._add(Plugin(place.name, place.path, place.module_name, place.group, place.refused))

    def _add(self, plugin: AnyPlugin) -> None:
        group = plugin.group or ("datasets" if plugin.kind == "dataset" else "methods")
        earlier = self.plugins.get((group, plugin.name))
        if earlier is None:
            self.plugins[group, plugin.name] = plugin
        elif earlier.path != plugin.path:
            reason = f"the name {plugin.name!r} is taken by {earlier.path}; rename the file"
            self.plugins[group, f"{plugin.name} ({plugin.path})"] = replace(plugin, _refused=reason)

    @overload
    def group(self, group: Literal["methods"]) -> dict[str, Plugin[Architecture | Strategy]]: ...
    @overload
    def group(self, group: Literal["datasets"]) -> dict[str, Plugin[Dataset]]: ...
    @overload
    def group(self, group: str) -> dict[str, AnyPlugin]: ...
    def group(self, group: str) -> Mapping[str, AnyPlugin]:
        """Name → plugin of "methods" or "datasets", sorted; broken ones included."""
        return {name: plugin for (own, name), plugin in sorted(self.plugins.items()) if own == group}

    def architectures(self) -> dict[str, type[Architecture]]:
        """Name → class of every architecture that can be used."""
        return {
            name: self.architecture(name).cls
            for name, plugin in self.group("methods").items()
            if plugin.kind == "architecture"
        }

    def strategies(self) -> dict[str, type[Strategy]]:
        """Name → class of every strategy that can be used."""
        return {name: self.strategy(name).cls for name, plugin in self.group("methods").items() if plugin.kind == "strategy"}

    def datasets(self) -> dict[str, type[Dataset]]:
        """Name → class of every dataset that can be used."""
        return {name: plugin.cls for name, plugin in self.group("datasets").items() if not plugin.broken}

    def dataset(self, name: str) -> Plugin[Dataset]:
        """The dataset plugin of that name, usable.

        Raises:
            UserError: unknown (with the nearest name) or broken.
        """
        return _usable(name, self.group("datasets"), "dataset")

    def method(self, name: str) -> Plugin[Architecture | Strategy]:
        """The architecture or strategy plugin of that name, usable.

        Raises:
            UserError: unknown (with the nearest name) or broken.
        """
        return _usable(name, self.group("methods"), "method")

    def architecture(self, name: str) -> Plugin[Architecture]:
        """The architecture plugin of that name, usable.

        Raises:
            UserError: unknown (with the nearest name), broken, or a strategy.
        """
        plugin = self.method(name)
        if plugin.kind != "architecture":
            raise UserError(f"{name} is a {plugin.kind}, and an architecture is expected.")
        return cast("Plugin[Architecture]", plugin)

    def strategy(self, name: str) -> Plugin[Strategy]:
        """The strategy plugin of that name, usable.

        Raises:
            UserError: unknown (with the nearest name), broken, or an architecture.
        """
        plugin = self.method(name)
        if plugin.kind != "strategy":
            raise UserError(f"{name} is an {plugin.kind}, and a strategy is expected.")
        return cast("Plugin[Strategy]", plugin)


P = TypeVar("P", bound=Architecture | Strategy | Dataset)


def _usable(name: str, known: dict[str, Plugin[P]], word: str) -> Plugin[P]:
    if name not in known:
        raise UserError(f"There is no {word} {name!r}.{did_you_mean(name, known)} `mtlbench list` shows all.")
    _ = known[name].cls  # raises for a broken one
    return known[name]
