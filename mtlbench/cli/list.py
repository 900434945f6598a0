"""`mtlbench list`: what there is, and what one of it is."""

from __future__ import annotations

import argparse
import inspect
import re
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mtlbench.cli.options import add_plugins
from mtlbench.errors import UserError, did_you_mean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "List methods and datasets, or describe one of them, or list the `settings` or `backbones`."
    parser.add_argument("name", nargs="?", help="a method, a dataset, `methods`, `datasets`, `settings` or `backbones`")
    add_plugins(parser)


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.config.plugins import Registry

    console, name = Console(), arguments.name
    if name == "settings":
        console.print(_settings())
        return 0
    if name == "backbones":
        console.print(_backbones())
        return 0
    registry = Registry(arguments.plugins)
    groups = {"methods": registry.group("methods"), "datasets": registry.group("datasets")}
    if name is None or name in groups:
        for group in [name] if name else groups:
            console.print(_plugins(group, groups[group].values()))
        return 0
    for known in groups.values():
        if name in known:
            _describe(console, known[name])
            return 0
    everything = [*groups["methods"], *groups["datasets"], *groups, "settings", "backbones"]
    raise UserError(f"There is no method or dataset {name!r}.{did_you_mean(name, everything)}")


def _plugins(title: str, plugins: Any) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for column in ("name", "kind", "what it is"):
        table.add_column(column, overflow="fold")
    for plugin in plugins:
        style = "dim" if plugin.broken else ""
        kind = "unavailable" if plugin.broken else plugin.kind
        table.add_row(plugin.name, kind, escape(plugin.broken or plugin.summary), style=style)
    return table


def _describe(console: Console, plugin: Any) -> None:
    cls = plugin.cls
    console.print(f"[bold]{plugin.name}[/bold] ({plugin.kind}, {escape(str(plugin.path))})", highlight=False, soft_wrap=True)
    console.print(escape(inspect.cleandoc(cls.__doc__ or "")), highlight=False)
    if cls.hypers:
        flag = "--option" if plugin.kind == "dataset" else "--set"
        table = Table(title=f"\n{flag} NAME=VALUE", title_justify="left", box=None, pad_edge=False, header_style="dim")
        for column in ("name", "default", "range", "what it is"):
            table.add_column(column, overflow="fold")
        for name, info in cls.hypers.items():
            allowed = re.sub(r"\bv\b", name, info.check) if info.check else ""
            table.add_row(name, escape(repr(info.default)), escape(allowed), escape(info.help))
        console.print(table)
    if plugin.kind == "dataset" and cls.defaults:
        console.print(f"\nsettings by default: {', '.join(f'{k} = {v}' for k, v in cls.defaults.items())}", highlight=False)


def _settings() -> Table:
    from mtlbench.config.settings import Settings

    table = Table(
        title="settings (--setting NAME=VALUE)", title_justify="left", box=None, pad_edge=False, header_style="dim"
    )
    for column in ("name", "default", "what it is"):
        table.add_column(column, overflow="fold")
    for name, field in Settings.model_fields.items():
        table.add_row(name, escape(repr(field.default)), field.description or "")
    return table


def _backbones() -> Table:
    from mtlbench.networks.backbone import LAYOUTS

    table = Table(title="backbones", title_justify="left", box=None, pad_edge=False, header_style="dim")
    for column in ("name", "blocks a stage", "width", "block"):
        table.add_column(column)
    for name, layout in LAYOUTS.items():
        table.add_row(name, str(layout.blocks), str(layout.width), layout.block.__name__)
    return table
