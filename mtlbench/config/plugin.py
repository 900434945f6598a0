"""One plugin: a Python file or package that defines one architecture, strategy or dataset.

It is imported when its class is asked for; one that cannot be imported keeps the reason.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar, cast

from mtlbench.config import source_hash
from mtlbench.contract import Architecture, Dataset, Strategy
from mtlbench.discovery.places import OUTSIDE, python_files
from mtlbench.errors import UserError

KINDS: dict[str, type] = {"architecture": Architecture, "strategy": Strategy, "dataset": Dataset}
GROUPS = {"architecture": "methods", "strategy": "methods", "dataset": "datasets"}
"""Kind of a plugin → the group it belongs to."""

P_co = TypeVar("P_co", bound=Architecture | Strategy | Dataset, covariant=True)


class _Loaded(NamedTuple):
    """What an import gave: the class, or why there is none."""

    cls: type | None
    reason: str = ""
    lacks_package: bool = False


@dataclass
class Plugin(Generic[P_co]):
    """One plugin; `P_co` is what its class is derived from, as far as the caller knows.

    Attributes:
        name: the file's name without its ending, or the package's name.
        path: the file; of a package, its `__init__.py`.
        module_name: what it is imported as.
        group: "methods" or "datasets" where the place says so, else "".
    """

    name: str
    path: Path
    module_name: str
    group: str = ""
    _refused: str = field(default="", repr=False)

    @cached_property
    def source(self) -> str:
        """Hash of the plugin's code and of the helpers that it imports."""
        return source_hash.digest(self.path)

    @property
    def files(self) -> list[Path]:
        """The plugin's Python files: one, or all of the package's."""
        return python_files(self.path)

    @property
    def is_outside(self) -> bool:
        """Whether it comes from an extra folder, which another machine may not have."""
        return self.module_name.startswith(OUTSIDE)

    @property
    def broken(self) -> str:
        """Why the plugin cannot be used; empty when it can."""
        return self._loaded.reason

    @property
    def lacks_package(self) -> bool:
        """Whether all that is missing is a package that the plugin needs (`requires`)."""
        return self._loaded.lacks_package

    @property
    def kind(self) -> str:
        """ "architecture", "strategy", "dataset", or "broken"."""
        cls = self._loaded.cls
        return "broken" if cls is None else _kind(cls)

    @property
    def cls(self) -> type[P_co]:
        """The plugin's class.

        Raises:
            UserError: the plugin is broken; says why.
        """
        if self._loaded.cls is None:
            raise UserError(f"{self.name} ({self.path}) cannot be used: {self.broken}")
        return cast("type[P_co]", self._loaded.cls)

    @property
    def summary(self) -> str:
        """The first line of the class's description."""
        cls = self._loaded.cls
        return ((cls.__doc__ or "").strip().splitlines() or [""])[0] if cls else self.broken

    @cached_property
    def _loaded(self) -> _Loaded:
        if self._refused:
            return _Loaded(None, self._refused)
        try:
            module = self._module()
        except Exception as error:
            return _Loaded(None, f"{type(error).__name__}: {error}")
        candidates = _plugin_classes(module)
        if len(candidates) != 1:
            names = ", ".join(cls.__name__ for cls in candidates) or "none"
            place = "package" if hasattr(module, "__path__") else "file"
            return _Loaded(None, f"expected one subclass of Architecture, Strategy or Dataset in the {place}, found {names}")
        cls = candidates[0]
        kind = _kind(cls)
        if self.group and GROUPS[kind] != self.group:
            return _Loaded(None, f"{cls.__name__} is a(n) {kind}, and stands among the {self.group}: move it")
        requires: dict[str, str] = getattr(cls, "requires", {})
        for package, hint in requires.items():
            if not _is_installed(package):
                return _Loaded(None, f"needs the package {package!r}: {hint}", lacks_package=True)
        return _Loaded(cls)

    def _module(self) -> ModuleType:
        if not self.is_outside:
            return importlib.import_module(self.module_name)
        if self.module_name in sys.modules:
            return sys.modules[self.module_name]
        # A package's own modules are found in its folder, so that relative imports work under the private name.
        folders = [str(self.path.parent)] if self.path.name == "__init__.py" else None
        spec = importlib.util.spec_from_file_location(self.module_name, self.path, submodule_search_locations=folders)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            for name in [name for name in sys.modules if _is_within(name, self.module_name)]:
                del sys.modules[name]
            raise
        return module


AnyPlugin = Plugin[Architecture | Strategy | Dataset]


def _plugin_classes(module: ModuleType) -> list[type]:
    """Architectures, strategies and datasets among a module's names that were defined in it, or anywhere in the package."""
    values: list[Any] = list({id(value): value for value in vars(module).values()}.values())
    return [
        value
        for value in values
        if isinstance(value, type)
        and _is_within(value.__module__, module.__name__)
        and issubclass(value, tuple(KINDS.values()))
    ]


def _is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _kind(cls: type) -> str:
    return next(kind for kind, base in KINDS.items() if issubclass(cls, base))


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the parent of a dotted name
        return False
