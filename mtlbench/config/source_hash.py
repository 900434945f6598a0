"""What a plugin's code is, as one hash: a plugin with another meaning gives other trials and other prepared data.

Comments, docstrings and layout do not count, so that correcting them keeps every record. Helpers count that the plugin
imports, directly or through others: in its own package, beside it, or in `mtlbench.methods` and `mtlbench.datasets`. Not
followed are imports for type checkers only, names that are put together while the program runs
(`importlib.import_module`), and mtlbench itself, whose changes of meaning raise the protocol's version.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import mtlbench
from mtlbench.config.syntax_tree import canonical_source

_PROJECT = mtlbench.__name__
_GROUPS = ("methods", "datasets")


def digest(path: Path) -> str:
    """Hash of the meaning of a plugin: of one of its files, the packages around it, and what they import of its helpers.

    It depends on the names of the modules, not on the folder they lie in.

    Args:
        path: any file of the plugin.

    Returns:
        16 hexadecimal digits.

    Raises:
        OSError: a file cannot be read.
    """
    finder = _Finder(path)
    files: dict[str, Path] = {}
    contents: dict[str, bytes] = {}
    waiting = [finder.name]
    while waiting:
        name = waiting.pop()
        for module in _with_parents(name):
            file = finder.find(module)
            if module in files or file is None:
                continue
            files[module] = file
            source = file.read_bytes()
            contents[module] = canonical_source(source)
            waiting += imports(source, module, is_package=file.name == "__init__.py")
    hashed = hashlib.sha256()
    for name in sorted(contents):
        hashed.update(f"{name}\0{len(contents[name])}\0".encode() + contents[name])
    return hashed.hexdigest()[:16]


def imports(source: bytes, module: str, is_package: bool) -> list[str]:
    """Absolute names of what a module imports when it runs, functions included; some may name no module.

    `from a import b` gives both `a` and `a.b`, since `b` may be a module.
    """
    return list(_imports(source, module, is_package))


@lru_cache(maxsize=512)
def _imports(source: bytes, module: str, is_package: bool) -> tuple[str, ...]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    package = module if is_package else module.rpartition(".")[0]
    names: list[str] = []
    for statement in _import_statements(tree):
        if isinstance(statement, ast.Import):
            names += [alias.name for alias in statement.names]
            continue
        origin = _origin(statement, package)
        if origin:
            names += [origin, *(f"{origin}.{alias.name}" for alias in statement.names)]
    return tuple(names)


def _import_statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All import statements but those for type checkers only."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _origin(statement: ast.ImportFrom, package: str) -> str:
    """The absolute name of the module that `from … import` names; empty where it points out of the outermost package."""
    if not statement.level:
        return statement.module or ""
    parts = package.split(".") if package else []
    if statement.level > len(parts):
        return ""
    parts = parts[: len(parts) - statement.level + 1]
    return ".".join([*parts, *([statement.module] if statement.module else [])])


def _with_parents(name: str) -> list[str]:
    """The packages around a module, which are imported before it, and the module."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


class _Finder:
    """Finds the files of modules as the import system would, among those that can belong to one plugin.

    Attributes:
        name: the dotted name of the file that the search starts from.
    """

    def __init__(self, path: Path) -> None:
        folder = path.absolute().parent
        parts = [] if path.name == "__init__.py" else [path.stem]
        while (folder / "__init__.py").is_file() and folder.name != _PROJECT:
            parts.insert(0, folder.name)
            folder = folder.parent
        self._folder, self._package = folder, parts[0] if len(parts) > 1 or path.name == "__init__.py" else ""
        self._is_group = self._package in _GROUPS
        self.name = ".".join([_PROJECT, *parts] if self._is_group else parts)
        # Among installed packages lie all others, which no plugin's identity follows.
        self._is_among_installed = bool({"site-packages", "dist-packages"} & set(folder.parts))

    def find(self, module: str) -> Path | None:
        """The file of a module that belongs to the plugin or its helpers; None for any other."""
        parts = module.split(".")
        if parts[0] == _PROJECT:
            # The packages `mtlbench.methods` and `mtlbench.datasets` themselves hold names for the harness.
            if len(parts) < 3 or parts[1] not in _GROUPS:
                return None
            own = _file(self._folder, parts[1:]) if self._is_group else None
            return own or _installed(parts)
        if self._is_group or (self._is_among_installed and parts[0] != self._package and module != self.name):
            return None
        return _file(self._folder, parts)


def _installed(parts: list[str]) -> Path | None:
    """The file of a module of `mtlbench.methods` or `mtlbench.datasets`."""
    group = importlib.import_module(".".join(parts[:2]))
    candidates = (_file(Path(folder), parts[2:]) for folder in group.__path__)
    return next((file for file in candidates if file is not None), None)


def _file(folder: Path, parts: list[str]) -> Path | None:
    path = folder.joinpath(*parts)
    if (path / "__init__.py").is_file():
        return path / "__init__.py"
    file = path.with_name(f"{path.name}.py")
    return file if file.is_file() else None
