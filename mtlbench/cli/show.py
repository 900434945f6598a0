"""`mtlbench show`: print a record for a person."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Print a record: its method and settings, its metrics, its costs."
    parser.add_argument("name", help="a record's id (or its beginning), its file, or a row's name")
    parser.add_argument("--dataset", "-d", help="the dataset, where a row's name is on several")
    parser.add_argument("--results", type=Path, default=Path("results"), help="records (default: results)")


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.leaderboard.find_records import find
    from mtlbench.leaderboard.show import show

    console = Console()
    for record in find(arguments.results, arguments.name, arguments.dataset):
        console.print(show(record))
    return 0
