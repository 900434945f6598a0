"""`mtlbench leaderboard`: draw leaderboards from records, or check records."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from mtlbench.cli.options import add_plugins, print_boards
from mtlbench.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draw leaderboards (Markdown, CSV, LaTeX, pages, pictures) from records and nothing else. With --check: only say "
        "which record files are fit for a leaderboard, and why others are not."
    )
    parser.add_argument("--dataset", "-d", help="a name or a comma list (default: all that have records)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="records (default: results)")
    parser.add_argument("--out", type=Path, default=Path("leaderboards"), help="leaderboards (default: leaderboards)")
    parser.add_argument("--check", nargs="*", type=Path, metavar="FILE", help="check these records, or all in --results")
    add_plugins(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.check is not None:
        return _check(arguments)
    from mtlbench.leaderboard.draw import draw_all
    from mtlbench.leaderboard.terminal import terminal

    datasets = [part.strip() for part in arguments.dataset.split(",")] if arguments.dataset else None
    drawn = draw_all(arguments.results, arguments.out, datasets)
    console = Console()
    print_boards(console, terminal(drawn.summaries))
    for line in drawn.refused:
        print(f"left out: {line}", file=sys.stderr)
    for path in drawn.files:
        console.print(str(path), highlight=False, soft_wrap=True)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from mtlbench.config.plugins import Registry
    from mtlbench.leaderboard.record_checks import check_file
    from mtlbench.leaderboard.record_consistency import consistent
    from mtlbench.leaderboard.record_files import record_files
    from mtlbench.records import read

    registry = Registry(arguments.plugins)
    sources = {plugin.name: plugin.source for plugin in registry.plugins.values()}
    files = arguments.check or record_files(arguments.results)
    if not files:
        raise UserError(f"There is no record in {arguments.results}: name files, or another folder with --results.")
    problems_of = {path: check_file(path, sources) for path in files}
    fit = [(path, read(path)) for path, problems in problems_of.items() if not problems]
    for line in consistent(fit)[1]:
        problems_of[next(path for path, _ in fit if line.startswith(f"{path}: "))].append(line)
    for path, problems in problems_of.items():
        print("; ".join(problems) if problems else f"{path}: fit")
    return 2 if any(problems_of.values()) else 0
