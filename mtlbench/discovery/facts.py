"""What a plugin is, from its source: kind, first line of its description, family, paper. Nothing is imported.

The classes that a plugin's class is derived from are followed through `from … import …` statements, in the plugin's folder
and in mtlbench. What only running the file would show (an exception while it is imported) is not seen here.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mtlbench
from mtlbench.discovery.places import Place
from mtlbench.publication import Publication

_CONTRACT = Path(mtlbench.__file__).parent / "contract"
_ROOTS = {
    (_CONTRACT / "architecture.py", "Architecture"): "architecture",
    (_CONTRACT / "strategy.py", "Strategy"): "strategy",
    (_CONTRACT / "dataset.py", "Dataset"): "dataset",
}
"""(file, class) → the kind of the plugins that are derived from it."""

_GROUPS = {"architecture": "methods", "strategy": "methods", "dataset": "datasets"}


@dataclass(frozen=True)
class Facts:
    """What a plugin's file says.

    Attributes:
        name: as it is called on the command line.
        path: the plugin's file.
        group: "methods" or "datasets"; "" where neither the place nor the file says so.
        kind: "architecture", "strategy", "dataset", "broken", or "unavailable": a package is missing that it names.
        summary: the first line of its description; of a plugin that cannot be used, why.
        family, publication, compared_with: as in `mtlbench.contract.Configurable`.
        passes, needs_sharing, invariances: as in `mtlbench.contract.Strategy`.
    """

    name: str
    path: Path
    group: str
    kind: str
    summary: str
    family: str = ""
    publication: Publication | None = None
    compared_with: str = ""
    passes: str = ""
    needs_sharing: bool = False
    invariances: frozenset[str] = frozenset()

    @property
    def usable(self) -> bool:
        """Whether a class was found and the packages that it names are installed."""
        return self.kind in _GROUPS


def read_facts(place: Place) -> Facts:
    """The facts of the plugin that lies there."""

    def unusable(kind: str, reason: str) -> Facts:
        return Facts(place.name, place.path, place.group, kind, reason)

    if place.refused:
        return unusable("broken", place.refused)
    try:
        tree = _parsed(place.path)
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        return unusable("broken", f"{type(error).__name__}: {error}")
    if missing := next((name for name in _imported_packages(tree) if not _is_installed(name)), None):
        return unusable("broken", f"ModuleNotFoundError: No module named {missing!r}")
    candidates = list(_plugin_classes(place.path))
    if len(candidates) != 1:
        names = ", ".join(found.name for _, found, _ in candidates) or "none"
        where = "package" if place.path.name == "__init__.py" else "file"
        return unusable(
            "broken", f"expected one subclass of Architecture, Strategy or Dataset in the {where}, found {names}"
        )
    path, cls, kind = candidates[0]
    group = _GROUPS[kind]
    if place.group and place.group != group:
        return unusable("broken", f"{cls.name} is a(n) {kind}, and stands among the {place.group}: move it")
    attributes = _attributes(path, cls)
    requires = _literal(attributes.get("requires")) or {}
    if missing := next((name for name in requires if not _is_installed(name)), None):
        return Facts(place.name, place.path, group, "unavailable", f"needs the package {missing!r}: {requires[missing]}")
    return Facts(
        place.name,
        place.path,
        group,
        kind,
        (ast.get_docstring(cls) or "").partition("\n")[0],
        _literal(attributes.get("family")) or "",
        _publication(attributes.get("publication")),
        _literal(attributes.get("compared_with")) or "",
        _literal(attributes.get("passes")) or "",
        bool(_literal(attributes.get("needs_sharing"))),
        _names(attributes.get("invariances")),
    )


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def _plugin_classes(path: Path) -> Iterator[tuple[Path, ast.ClassDef, str]]:
    """(file, class, kind) of the plugin classes in a file; of a package's `__init__.py` also those of its own modules."""
    for statement in _parsed(path).body:
        if isinstance(statement, ast.ClassDef):
            if kind := _kind(path, statement):
                yield path, statement, kind
        elif isinstance(statement, ast.ImportFrom) and statement.level == 1 and path.name == "__init__.py":
            for alias in statement.names:
                imported = _imported(path, statement, alias.name)
                if imported is not None and imported[0].is_relative_to(path.parent) and (kind := _kind(*imported)):
                    yield (*imported, kind)


def _kind(path: Path, cls: ast.ClassDef) -> str:
    """The kind of plugin that a class is; empty for any other class."""
    if kind := _ROOTS.get((path, cls.name)):
        return kind
    return next((kind for base in _bases(path, cls) if (kind := _kind(*base))), "")


def _attributes(path: Path, cls: ast.ClassDef) -> dict[str, ast.expr]:
    """Name → value of what is assigned in the bodies of a class and of those that it is derived from."""
    attributes: dict[str, ast.expr] = {}
    for base in reversed(list(_bases(path, cls))):
        attributes |= _attributes(*base)
    for statement in cls.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value is not None:
            attributes[statement.target.id] = statement.value
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            attributes[statement.targets[0].id] = statement.value
    return attributes


def _bases(path: Path, cls: ast.ClassDef) -> Iterator[tuple[Path, ast.ClassDef]]:
    """(file, class) of the classes that a class is derived from, as far as their sources are found."""
    for base in cls.bases:
        expression = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(expression, ast.Name) and (found := _class(path, expression.id)) is not None:
            yield found


def _class(path: Path, name: str) -> tuple[Path, ast.ClassDef] | None:
    """The class that a name stands for in a file: defined there, or imported by `from … import …`."""
    try:
        body = _parsed(path).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    for statement in body:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            return path, statement
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    return _imported(path, statement, alias.name)
    return None


def _imported(path: Path, statement: ast.ImportFrom, name: str) -> tuple[Path, ast.ClassDef] | None:
    """The class `name` that an import statement of a file names."""
    module = (statement.module or "").split(".") if statement.module else []
    if statement.level:
        folder = path.parent
        for _ in range(statement.level - 1):
            folder = folder.parent
    elif module and module[0] == mtlbench.__name__:
        folder, module = Path(mtlbench.__file__).parent, module[1:]
        if module and module[0] in ("methods", "datasets"):
            places = importlib.import_module(f"{mtlbench.__name__}.{module[0]}").__path__
            folder, module = Path(next(iter(places))), module[1:]
    else:
        return None
    target = folder.joinpath(*module)
    for file in (target / "__init__.py", target.with_name(f"{target.name}.py")):
        if file.is_file() and file != path:
            return _class(file, name)
    return None


def _imported_packages(tree: ast.Module) -> Iterator[str]:
    """The outermost names of what a module imports unconditionally."""
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
            yield statement.module.partition(".")[0]


@cache
def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package.partition(".")[0]) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _publication(expression: ast.expr | None) -> Publication | None:
    """The publication that is written as a call with literals; None for any other expression."""
    if not isinstance(expression, ast.Call):
        return None
    arguments = [_literal(argument) for argument in expression.args]
    named = {keyword.arg: _literal(keyword.value) for keyword in expression.keywords if keyword.arg}
    try:
        return Publication(*arguments, **named)
    except TypeError:
        return None


def _names(expression: ast.expr | None) -> frozenset[str]:
    """The members of a set of texts that is written as `frozenset({...})`."""
    if isinstance(expression, ast.Call) and len(expression.args) == 1:
        return frozenset(_literal(expression.args[0]) or ())
    return frozenset()


def _literal(expression: ast.expr | None) -> Any:
    """The value of a literal; None for any other expression."""
    try:
        return None if expression is None else ast.literal_eval(expression)
    except ValueError:
        return None
