"""`mtlbench list`: all methods and datasets, or the reference of one of them, of the settings or of experiment files."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mtlbench.cli.methods_page import by_family, methods_markdown
from mtlbench.cli.options import add_plugins
from mtlbench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel

    from mtlbench.config.plugins import AnyPlugin
    from mtlbench.discovery.facts import Facts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "List methods and datasets, describe one of them, or list `settings`, `backbones` or the fields of an `experiment` "
        "file."
    )
    parser.add_argument(
        "name", nargs="?", help="a method, a dataset, `methods`, `datasets`, `settings`, `backbones` or `experiment`"
    )
    parser.add_argument("--markdown", action="store_true", help="the table of methods in docs/methods.md")
    add_plugins(parser)


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.discovery.facts import read_facts
    from mtlbench.discovery.places import plugin_folders, plugin_places

    console, name = Console(), arguments.name
    references = {"settings": settings_table, "backbones": backbones_table, "experiment": experiment_table}
    if name in references:
        console.print(references[name]())
        return 0
    facts = sorted(map(read_facts, plugin_places(plugin_folders(arguments.plugins))), key=lambda plugin: plugin.name)
    groups = ("methods", "datasets")
    if arguments.markdown:
        console.print(
            methods_markdown([plugin for plugin in facts if plugin.group == "methods"]), soft_wrap=True, markup=False
        )
        return 0
    if name is None or name in groups:
        for group in [name] if name else groups:
            console.print(plugins_table(group, [plugin for plugin in facts if plugin.group in (group, "")]))
        return 0
    if name not in {plugin.name for plugin in facts}:
        names = [plugin.name for plugin in facts]
        raise UserError(f"There is no method or dataset {name!r}.{did_you_mean(name, [*names, *groups, *references])}")
    from mtlbench.config.plugins import Registry

    registry = Registry(arguments.plugins)
    plugin = next(plugin for group in groups if (plugin := registry.group(group).get(name)) is not None)
    describe(console, plugin)
    return 0


def plugins_table(title: str, plugins: Iterable[Facts]) -> Table:
    """One line per plugin, under its family; of one that cannot be used, why."""
    table = _table(title, "name", "kind", "paper", "what it is")
    table.title_style = "bold"
    families = by_family(plugins)
    for family, members in families.items():
        if len(families) > 1:
            table.add_row(f"\n{family or 'others'}", style="bold")
        for plugin in members:
            paper = plugin.publication.citation if plugin.publication else ""
            style = "" if plugin.usable else "dim"
            table.add_row(f"  {plugin.name}", plugin.kind, escape(paper), escape(plugin.summary), style=style)
    return table


def describe(console: Console, plugin: AnyPlugin) -> None:
    """A plugin's description and its hyper-parameters or options.

    Raises:
        UserError: the plugin is broken; says why.
    """
    from mtlbench.contract.hyper import describe_range

    cls = plugin.cls
    console.print(f"[bold]{plugin.name}[/bold] ({plugin.kind}, {escape(str(plugin.path))})", highlight=False, soft_wrap=True)
    console.print(escape(inspect.cleandoc(cls.__doc__ or "")), highlight=False)
    if cls.hypers:
        option = "--dataset-arg" if plugin.kind == "dataset" else "--method-arg"
        table = _table(f"\n{option} NAME=VALUE", "name", "default", "range", "what it is")
        for name, info in cls.hypers.items():
            searched = [] if info.search is None else [f"searched: {describe_range(info.search)}"]
            ranges = "\n".join(filter(None, [info.bounds.describe(name), *searched]))
            table.add_row(name, escape(repr(info.default)), escape(ranges), escape(info.help))
        console.print(table)
    defaults = getattr(cls, "defaults", {})
    if defaults:
        listed = ", ".join(f"{name} = {value}" for name, value in defaults.items())
        console.print(f"\nsettings by default: {listed}", highlight=False)


def settings_table() -> Table:
    """All settings with their defaults."""
    from mtlbench.config.settings import Settings

    table = _table("settings (--setting NAME=VALUE)", "name", "default", "what it is")
    for name, field in Settings.model_fields.items():
        table.add_row(name, escape(repr(field.default)), escape(field.description or ""))
    return table


def experiment_table() -> Table:
    """All fields of an experiment file."""
    table = _table("fields of an experiment file (docs/experiments.md)", "field", "value", "default", "what it is")
    # A long default must not take the room of what a field is.
    table.columns[2].max_width = 10
    for field in experiment_fields():
        table.add_row(*(escape(part) for part in field))
    return table


def experiment_fields() -> Iterator[tuple[str, str, str, str]]:
    """(field, kind of value, default, what it is) of every field; of an entry's fields as `methods[].label`."""
    from mtlbench.planning.experiment import DatasetEntry, Experiment, MethodEntry, TuneEntry

    models: list[tuple[str, type[BaseModel]]] = [
        ("", Experiment),
        ("methods[].", MethodEntry),
        ("datasets[].", DatasetEntry),
        ("tune.", TuneEntry),
    ]
    for prefix, model in models:
        for name, field in model.model_fields.items():
            default = "required" if field.is_required() else _as_yaml(field.get_default(call_default_factory=True))
            yield prefix + name, _kind(field.annotation), default, field.description or ""


def backbones_table() -> Table:
    """All backbones and what they are made of."""
    from mtlbench.networks.backbone import LAYOUTS
    from mtlbench.networks.lenet import LENETS, WIDTHS

    table = _table("backbones", "name", "blocks per stage", "width", "block")
    for name, layout in LAYOUTS.items():
        table.add_row(name, str(layout.blocks), str(layout.width), layout.block.__name__)
    for name in LENETS:
        table.add_row(name, "(1, 1)", str(WIDTHS[0]), "convolution, fully connected")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _kind(annotation: object) -> str:
    """A field's type in a user's words."""
    # `list[str]` passes for a class on Python 3.10; what tells it apart is that it has an origin.
    is_class = isinstance(annotation, type) and get_origin(annotation) is None
    text = getattr(annotation, "__name__", "") if is_class else str(annotation).replace("typing.", "")
    if text.startswith("dict"):
        return "NAME: VALUE"
    if get_origin(annotation) is Literal:
        return " or ".join(get_args(annotation))
    words = {
        "str": "text",
        "str | None": "text",
        "bool": "true or false",
        "int": "number",
        "int | list[int]": "number or list of numbers",
        "mtlbench.planning.experiment.TuneEntry | None": "fields",
    }
    return words.get(text, "list of texts" if text == "list[str]" else "list of names or entries")


def _as_yaml(value: object) -> str:
    """A default as an experiment file would say it; empty for what is absent."""
    import yaml

    if value is None or value == "":
        return ""
    return str(yaml.safe_dump(value, default_flow_style=True)).splitlines()[0]
