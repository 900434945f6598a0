"""`mtlbench check`: the conformance properties of a method or dataset, one line each."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from mtlbench.cli.options import add_dataset_args, add_plugins, assignments
from mtlbench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from mtlbench.config.plugins import AnyPlugin, Registry
    from mtlbench.conformance.result import PropertyResult

GROUPS = {"all": ("methods", "datasets"), "methods": ("methods",), "datasets": ("datasets",)}
"""Words that stand for several plugins → their groups."""

WORDS = {True: ("ok", "green"), False: ("FAILED", "bold red"), None: ("not applicable", "dim")}
"""A result's `ok` → how it is printed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run the conformance properties on a method or dataset, from this repository or from a folder of yours: one line "
        "per property. The exit code is 1 where one fails. A method is checked on the CPU in some seconds."
    )
    parser.add_argument("name", metavar="NAME", help="a method or dataset, or `methods`, `datasets` or `all`")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PROPERTY",
        help="check only this property (may be given several times)",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the dataset's raw files")
    add_dataset_args(parser)
    add_plugins(parser)


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.config.plugins import Registry

    console = Console(soft_wrap=True, highlight=False)
    registry = Registry(arguments.plugins)
    several = arguments.name in GROUPS
    plugins = chosen(registry, arguments.name)
    if (arguments.data or arguments.dataset_arg) and (several or plugins[0].kind != "dataset"):
        raise UserError("--data and --dataset-arg are for one dataset: name it.")
    options = assignments(arguments.dataset_arg)
    check_properties(arguments.only)
    failed = []
    for plugin in plugins:
        properties = results(plugin, registry, arguments.data, options, arguments.only)
        if several:
            properties = without_missing_files(plugin, properties)
        if not report(console, plugin, properties):
            failed.append(plugin.name)
    if several:
        console.print(f"{len(plugins) - len(failed)} of {len(plugins)} plugins have all properties.")
    if several and failed:
        console.print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def chosen(registry: Registry, name: str) -> list[AnyPlugin]:
    """The plugins that a name stands for.

    Raises:
        UserError: there is none; names the nearest.
    """
    groups = GROUPS.get(name)
    if groups is not None:
        return [plugin for group in groups for plugin in registry.group(group).values()]
    known = {other: plugin for group in GROUPS["all"] for other, plugin in registry.group(group).items()}
    if name not in known:
        raise UserError(f"There is no method or dataset {name!r}.{did_you_mean(name, [*known, *GROUPS])}")
    return [known[name]]


def check_properties(names: Sequence[str]) -> None:
    """Compare names of properties with those that there are.

    Raises:
        UserError: one is unknown; names the nearest.
    """
    from mtlbench.conformance import architectures, datasets, declarations, strategies, trials

    suites = (architectures.SUITE, datasets.SUITE, declarations.SUITE, strategies.SUITE, trials.SUITE)
    known = {each.name for suite in suites for each in suite.properties}
    for name in names:
        if name not in known:
            raise UserError(f"There is no property {name!r}.{did_you_mean(name, known)}")


def results(
    plugin: AnyPlugin, registry: Registry, data: Path | None, options: Mapping[str, object], only: Sequence[str]
) -> Iterator[PropertyResult]:
    """The plugin's properties. One that cannot be imported lacks the first and is not asked for more.

    Args:
        data, options: of a dataset.
        only: names of properties to check; empty for all.
    """
    from mtlbench.conformance.datasets import check_dataset
    from mtlbench.conformance.methods import check_method
    from mtlbench.conformance.result import PropertyResult
    from mtlbench.contract import Dataset

    usable = None if plugin.lacks_package else not plugin.broken
    yield PropertyResult("usable", "The plugin is found, is imported, and holds one class.", usable, plugin.broken)
    if plugin.broken:
        return
    cls = plugin.cls
    if issubclass(cls, Dataset):
        root = data.expanduser().resolve() if data else None
        properties = check_dataset(cls, root, options, files=plugin.files)
        yield from (result for result in properties if not only or result.name in only)
    else:
        yield from check_method(plugin.name, registry, only)


def without_missing_files(plugin: AnyPlugin, properties: Iterable[PropertyResult]) -> Iterator[PropertyResult]:
    """The same results; but where many plugins are checked, a dataset whose files are not here has not failed for that."""
    from mtlbench.contract import Dataset

    if plugin.broken or not issubclass(plugin.cls, Dataset) or plugin.cls.embedded:
        yield from properties
        return
    try:
        plugin.cls(None, plugin.cls.configure({}, plugin.name)).index()
        missing = ""
    except UserError as error:
        missing = str(error).splitlines()[0]
    for result in properties:
        skipped = result.ok is False and missing and result.reason.startswith(missing)
        yield replace(result, ok=None, reason=f"its files are not here: {missing}") if skipped else result


def report(console: Console, plugin: AnyPlugin, properties: Iterable[PropertyResult]) -> bool:
    """Print a plugin's properties as they are checked; returns whether none failed."""
    kind = "unavailable" if plugin.lacks_package else plugin.kind
    console.print(Text.assemble((plugin.name, "bold"), f" ({kind}, {plugin.path})"))
    started, counts = time.perf_counter(), {True: 0, False: 0, None: 0}
    for result in properties:
        counts[result.ok] += 1
        word, style = WORDS[result.ok]
        line = Text.assemble("  ", (f"{word:14}", style), f" {result.name:20} {result.description}")
        if result.reason:
            line.append(f" → {result.reason.splitlines()[0]}", style)
        console.print(line)
    seconds = time.perf_counter() - started
    console.print(
        f"{plugin.name}: {counts[True]} ok, {counts[False]} failed, {counts[None]} not applicable ({seconds:.1f} s)\n"
    )
    return not counts[False]
