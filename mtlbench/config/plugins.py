"""Finds methods and datasets: the repository's own folders, extra folders, and entry points of installed packages.

A plugin is a Python file `NAME.py` or a package `NAME/__init__.py`; names that start with an underscore are helpers.
A broken plugin is listed with its reason and breaks nothing else.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Literal, TypeVar, cast, overload

import mtlbench
from mtlbench.config.plugin import OUTSIDE, AnyPlugin, Plugin, python_files
from mtlbench.contract import Architecture, Dataset, Strategy
from mtlbench.errors import UserError, did_you_mean

__all__ = ["AnyPlugin", "Plugin", "Registry"]

_OWN = {"methods": f"{mtlbench.__name__}.methods", "datasets": f"{mtlbench.__name__}.datasets"}


class Registry:
    """All plugins that can be found.

    Args:
        folders: extra folders with plugins, beside those in the environment variable MTLBENCH_PLUGINS. A folder's
            `methods` and `datasets` are searched too.

    Raises:
        UserError: a folder does not exist.
    """

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        from_environment = [Path(name) for name in os.environ.get("MTLBENCH_PLUGINS", "").split(os.pathsep) if name]
        self.folders = [Path(folder).expanduser().resolve() for folder in [*folders, *from_environment]]
        self.plugins: dict[tuple[str, str], AnyPlugin] = {}
        for group, package in _OWN.items():
            for place in importlib.import_module(package).__path__:
                for name, path in _plugin_paths(Path(place)):
                    self._add(Plugin(name, path, f"{package}.{name}", group))
        for folder in self.folders:
            if not folder.is_dir():
                raise UserError(f"There is no plugin folder {folder}: --plugins expects a folder with Python files.")
            for inside, group in ((folder, ""), (folder / "methods", "methods"), (folder / "datasets", "datasets")):
                for name, path in _plugin_paths(inside, leave_out=() if group else tuple(_OWN)):
                    self._add(Plugin(name, path, _private_name(name, path), group))
        for group in _OWN:
            for point in entry_points(group=f"{mtlbench.__name__}.{group}"):
                self._add(_installed(point, group))

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


def _plugin_paths(folder: Path, leave_out: tuple[str, ...] = ()) -> list[tuple[str, Path]]:
    """(name, file) of each plugin in a folder; a package comes before a file of its name, as Python has it."""
    if not folder.is_dir():
        return []
    packages = [(path.parent.name, path) for path in sorted(folder.glob("*/__init__.py"))]
    files = [(path.stem, path) for path in sorted(folder.glob("*.py"))]
    return [(name, path) for name, path in [*packages, *files] if not name.startswith("_") and name not in leave_out]


def _private_name(name: str, path: Path) -> str:
    """A module name that holds a hash of the plugin's content: a long-lived worker imports an edited plugin anew."""
    hashed = hashlib.sha256(str(path).encode())
    for file in python_files(path):
        hashed.update(b"\0" + str(file).encode() + b"\0" + file.read_bytes())
    return f"{OUTSIDE}{hashed.hexdigest()[:12]}_{name}"


def _installed(point: EntryPoint, group: str) -> AnyPlugin:
    """The plugin that an entry point of an installed package names."""
    module_name = point.value.partition(":")[0].strip()
    try:
        spec = importlib.util.find_spec(module_name)
        reason = (
            ""
            if spec is not None and spec.origin
            else f"the entry point names a module {module_name!r}, which does not exist"
        )
    except Exception as error:  # finding a module imports the packages around it
        spec, reason = None, f"{type(error).__name__}: {error}"
    path = Path(spec.origin) if spec is not None and spec.origin else Path(module_name)
    return Plugin(point.name, path, module_name, group, reason)
