"""Where plugins lie: the repository's own folders, extra folders, and entry points of installed packages.

A plugin is a Python file `NAME.py` or a package `NAME/__init__.py`; names that start with an underscore are helpers.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import mtlbench
from mtlbench.errors import UserError

GROUPS = {"methods": f"{mtlbench.__name__}.methods", "datasets": f"{mtlbench.__name__}.datasets"}
"""Group → the package of the repository's own plugins."""

OUTSIDE = f"{mtlbench.__name__}_plugin_"
"""How the private module names of plugins from extra folders begin."""


@dataclass(frozen=True)
class Place:
    """Where one plugin lies.

    Attributes:
        name: the file's name without its ending, or the package's name.
        path: the file; of a package, its `__init__.py`.
        module_name: what it is imported as.
        group: "methods" or "datasets" where the place says so, else "".
        refused: why the place holds no plugin that can be used; empty where it may.
    """

    name: str
    path: Path
    module_name: str
    group: str
    refused: str = ""


def plugin_folders(folders: Iterable[Path]) -> list[Path]:
    """The given folders and those in the environment variable MTLBENCH_PLUGINS, absolute.

    Raises:
        UserError: one does not exist.
    """
    from_environment = [Path(name) for name in os.environ.get("MTLBENCH_PLUGINS", "").split(os.pathsep) if name]
    absolute = [Path(folder).expanduser().resolve() for folder in [*folders, *from_environment]]
    for folder in absolute:
        if not folder.is_dir():
            raise UserError(f"There is no plugin folder {folder}: --plugins expects a folder with Python files.")
    return absolute


def plugin_places(folders: Iterable[Path]) -> list[Place]:
    """All places, in the order in which names are taken: the repository's, those in `folders`, installed packages'.

    Args:
        folders: absolute; a folder's `methods` and `datasets` are searched too.
    """
    places = []
    for group, package in GROUPS.items():
        for own_folder in importlib.import_module(package).__path__:
            places += [Place(name, path, f"{package}.{name}", group) for name, path in _plugin_paths(Path(own_folder))]
    for folder in folders:
        for inside, group in ((folder, ""), (folder / "methods", "methods"), (folder / "datasets", "datasets")):
            leave_out = () if group else tuple(GROUPS)
            for name, path in _plugin_paths(inside, leave_out):
                places.append(Place(name, path, _private_name(name, path), group))
    for group, package in GROUPS.items():
        places += [_installed(point, group) for point in entry_points(group=package)]
    return places


def python_files(path: Path) -> list[Path]:
    """The file itself, or all Python files of the package whose `__init__.py` it is; sorted."""
    return sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]


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


def _installed(point: EntryPoint, group: str) -> Place:
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
    return Place(point.name, path, module_name, group, reason)
