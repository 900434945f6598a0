"""`mtlbench diff`: what changes in the ranks between two folders of records."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Say what changes in the rankings between two folders of records: rows that are new, gone, or have another rank or "
        "other numbers. Every ranking is made anew from all records of a folder. (`mtlbench compare` compares two rows.)"
    )
    parser.add_argument("before", metavar="A", type=Path, help="a folder of records")
    parser.add_argument("after", metavar="B", type=Path, help="the other: A with a pull request's records, for example")
    parser.add_argument("--dataset", "-d", help="a name or a comma list (default: all)")


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.errors import UserError
    from mtlbench.leaderboard.loading import load
    from mtlbench.leaderboard.rank_changes import as_text, rank_changes

    names = {part.strip() for part in arguments.dataset.split(",")} if arguments.dataset else None
    sides = []
    for folder in (arguments.before, arguments.after):
        records, refused = load(folder)
        for line in refused:
            print(f"left out: {line}", file=sys.stderr)
        sides.append([record for record in records if names is None or record.dataset in names])
    if not sides[0] and not sides[1]:
        raise UserError(f"Neither {arguments.before} nor {arguments.after} has a record to compare.")
    print(as_text(rank_changes(*sides)), end="")
    return 0
