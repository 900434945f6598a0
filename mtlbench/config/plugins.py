"""Finds methods and datasets: the repository's own folders, extra folders, and entry points of installed packages.

A plugin is a Python file that defines one architecture, strategy or dataset; its name is the file's. Files are imported
when they are asked for; one that cannot be imported is listed as broken, with its reason, and breaks nothing else.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import mtlbench
from mtlbench.config import source_hash
from mtlbench.contract import Architecture, Dataset, Strategy
from mtlbench.errors import UserError, did_you_mean

KINDS: dict[str, type] = {"architecture": Architecture, "strategy": Strategy, "dataset": Dataset}
_OWN = {"methods": f"{mtlbench.__name__}.methods", "datasets": f"{mtlbench.__name__}.datasets"}


@dataclass
class Plugin:
    """One plugin file.

    Attributes:
        name: the file's name without its ending.
        path: where it is.
        module_name: what it is imported as.
        group: "methods" or "datasets" where the folder says so, else "".
    """

    name: str
    path: Path
    module_name: str
    group: str = ""
    _taken: str = field(default="", repr=False)

    @cached_property
    def source(self) -> str:
        """Hash of the file and of the helper modules that it mentions."""
        return source_hash.digest(self.path)

    @cached_property
    def _loaded(self) -> tuple[type | None, str]:
        if self._taken:
            return None, self._taken
        try:
            module = self._module()
        except Exception as error:
            return None, f"{type(error).__name__}: {error}"
        found = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and value.__module__ == module.__name__ and issubclass(value, tuple(KINDS.values()))
        ]
        if len(found) != 1:
            names = ", ".join(one.__name__ for one in found) or "none"
            return None, f"expected one subclass of Architecture, Strategy or Dataset in the file, found {names}"
        for package, hint in getattr(found[0], "requires", {}).items():
            if importlib.util.find_spec(package) is None:
                return None, f"needs the package {package!r}: {hint}"
        return found[0], ""

    def _module(self) -> ModuleType:
        if self.module_name.startswith(f"{mtlbench.__name__}."):
            return importlib.import_module(self.module_name)
        if self.module_name in sys.modules:
            return sys.modules[self.module_name]
        spec = importlib.util.spec_from_file_location(self.module_name, self.path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[self.module_name]
            raise
        return module

    @property
    def broken(self) -> str:
        """Why the plugin cannot be used; empty when it can."""
        return self._loaded[1]

    @property
    def kind(self) -> str:
        """ "architecture", "strategy", "dataset", or "broken"."""
        cls = self._loaded[0]
        return "broken" if cls is None else next(kind for kind, base in KINDS.items() if issubclass(cls, base))

    @property
    def cls(self) -> Any:
        """The plugin's class.

        Raises:
            UserError: the plugin is broken; says why.
        """
        cls, reason = self._loaded
        if cls is None:
            raise UserError(f"{self.name} ({self.path}) cannot be used: {reason}")
        return cls

    @property
    def summary(self) -> str:
        """The first line of the class's description."""
        cls = self._loaded[0]
        return ((cls.__doc__ or "").strip().splitlines() or [""])[0] if cls else self.broken


class Registry:
    """All plugins that can be found.

    Args:
        folders: extra folders with plugin files, beside those in the environment variable MTLBENCH_PLUGINS.
    """

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        named = [Path(one) for one in os.environ.get("MTLBENCH_PLUGINS", "").split(os.pathsep) if one]
        self.folders = [Path(one).expanduser().resolve() for one in [*folders, *named]]
        self.plugins: dict[tuple[str, str], Plugin] = {}
        for group, package in _OWN.items():
            module = importlib.import_module(package)
            for place in module.__path__:
                for path in _files(Path(place)):
                    self._add(Plugin(path.stem, path, f"{package}.{path.stem}", group))
        for folder in self.folders:
            if not folder.is_dir():
                raise UserError(f"There is no plugin folder {folder}: --plugins expects a folder with Python files.")
            for inside, group in ((folder, ""), (folder / "methods", "methods"), (folder / "datasets", "datasets")):
                for path in _files(inside):
                    self._add(_outside(path, group))
        for group in _OWN:
            for point in entry_points(group=f"{mtlbench.__name__}.{group}"):
                module_name = point.value.partition(":")[0]
                spec = importlib.util.find_spec(module_name)
                if spec is not None and spec.origin:
                    self._add(Plugin(point.name, Path(spec.origin), f"mtlbench_entry_{point.name}", group))

    def _add(self, plugin: Plugin) -> None:
        group = plugin.group or ("datasets" if plugin.kind == "dataset" else "methods")
        earlier = self.plugins.get((group, plugin.name))
        if earlier is None:
            self.plugins[group, plugin.name] = plugin
        elif earlier.path != plugin.path:
            reason = f"the name {plugin.name!r} is taken by {earlier.path}; rename the file"
            self.plugins[group, f"{plugin.name} ({plugin.path})"] = replace(plugin, _taken=reason)

    def group(self, group: str) -> dict[str, Plugin]:
        """Name → plugin of "methods" or "datasets", sorted."""
        return {name: plugin for (own, name), plugin in sorted(self.plugins.items()) if own == group}

    def dataset(self, name: str) -> Plugin:
        """The dataset plugin of that name, usable.

        Raises:
            UserError: unknown (with the nearest name) or broken.
        """
        plugin = self._get("datasets", "dataset", name)
        _ = plugin.cls
        return plugin

    def method(self, name: str) -> Plugin:
        """The architecture or strategy plugin of that name, usable.

        Raises:
            UserError: unknown (with the nearest name) or broken.
        """
        plugin = self._get("methods", "method", name)
        _ = plugin.cls
        return plugin

    def _get(self, group: str, word: str, name: str) -> Plugin:
        known = self.group(group)
        if name not in known:
            raise UserError(f"There is no {word} {name!r}.{did_you_mean(name, known)} `mtlbench list` shows all.")
        return known[name]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith("_")) if folder.is_dir() else []


def _outside(path: Path, group: str) -> Plugin:
    # The content is part of the module's name, so that a long-lived worker imports an edited file anew.
    digest = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:12]
    return Plugin(path.stem, path, f"mtlbench_plugin_{digest}_{path.stem}", group)
