"""`mtlbench compare`: what differs between two records or rows."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Say what differs between two records, or two rows with all of their seeds: configuration and result."
    )
    parser.add_argument("first", help="a record's id or file, or a row's name")
    parser.add_argument("second", help="the other")
    parser.add_argument("--dataset", "-d", help="the dataset, where a row's name is on several")
    parser.add_argument("--results", type=Path, default=Path("results"), help="records (default: results)")


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.leaderboard.compare import compare
    from mtlbench.leaderboard.find_records import find

    first, second = (find(arguments.results, name, arguments.dataset) for name in (arguments.first, arguments.second))
    print(compare(first, second))
    return 0
