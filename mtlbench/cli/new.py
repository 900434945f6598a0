"""`mtlbench new`: a commented plugin file that has all conformance properties, to start from."""

from __future__ import annotations

import argparse
import keyword
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from mtlbench.cli.options import add_plugins
from mtlbench.errors import UserError

if TYPE_CHECKING:
    from mtlbench.config.plugins import Registry

TEMPLATES = "mtlbench.cli.templates"
"""The package whose modules are written: `strategy`, `architecture` and `dataset`, with a class Template."""

RESERVED = ("all", "methods", "datasets", "settings", "backbones", "experiment")
"""Words that commands understand in place of a plugin's name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write a commented plugin file, NAME.py: a small working method or dataset to replace piece by piece. It passes "
        "`mtlbench check` as it is."
    )
    parser.add_argument("what", choices=("method", "dataset"), help="what to write")
    parser.add_argument("name", metavar="NAME", help="its name, in snake_case: that of the file, and of leaderboard rows")
    parser.add_argument(
        "--kind",
        choices=("strategy", "architecture"),
        help="kind of method: how losses move weights (default), or who shares which blocks",
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where to write it (default: ./methods or ./datasets if there, else .)"
    )
    add_plugins(parser)


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.config.plugins import Registry

    if arguments.what == "dataset" and arguments.kind:
        raise UserError("--kind is for methods: a dataset has none.")
    folder = (arguments.folder or default_folder(f"{arguments.what}s")).expanduser()
    check_name(arguments.name, Registry(arguments.plugins))
    kind = "dataset" if arguments.what == "dataset" else arguments.kind or "strategy"
    path = write(kind, arguments.name, folder)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"written: {path}")
    plugins = "" if is_found(arguments.name, path) else f" --plugins {folder}"
    console.print(f"try it:  mtlbench check {arguments.name}{plugins}")
    what = "-m hard_sharing -d" if kind == "dataset" else "-d streets -m"
    console.print(f"run it:  mtlbench bench {what} {arguments.name}{plugins}")
    return 0


def default_folder(group: str) -> Path:
    """Where a plugin goes that no folder was named for."""
    return Path(group) if Path(group).is_dir() else Path()


def check_name(name: str, registry: Registry) -> None:
    """Compare a new plugin's name with the rules.

    Raises:
        UserError: it is not in snake_case, a word of Python, a word that commands use, or taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise UserError(f"The name {name!r} is refused: expected snake_case, such as {snake_case(name)!r}.")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise UserError(f"The name {name!r} is refused: it is a word of Python. Choose another, such as '{name}_method'.")
    if name in RESERVED:
        raise UserError(f"The name {name!r} is refused: `mtlbench list {name}` means something else. Choose another.")
    for group in ("methods", "datasets"):
        plugin = registry.group(group).get(name)
        if plugin is not None:
            raise UserError(f"The name {name!r} is taken by {plugin.path}: choose another.")


def snake_case(name: str) -> str:
    """The nearest name in snake_case."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    plain = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"my_{plain}".rstrip("_")


def write(kind: str, name: str, folder: Path) -> Path:
    """Write the template of a kind under a new name.

    Raises:
        UserError: there is a file of that name, or it cannot be written.
    """
    class_name = "".join(word.capitalize() for word in name.split("_"))
    text = (files(TEMPLATES) / f"{kind}.py").read_text(encoding="utf-8")
    path = folder / f"{name}.py"
    if (folder / name).exists():
        raise UserError(f"{folder / name} exists: remove it, or choose another name or --folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(re.sub(r"\bTemplate\b", class_name, text))
    except FileExistsError:
        raise UserError(f"{path} exists: remove it, or choose another name or --folder.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
    return path


def is_found(name: str, path: Path) -> bool:
    """Whether the plugin is found without naming its folder."""
    from mtlbench.config.plugins import Registry

    registry = Registry()
    known = [registry.group(group).get(name) for group in ("methods", "datasets")]
    return any(plugin is not None and plugin.path.resolve() == path.resolve() for plugin in known)
