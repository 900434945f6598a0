"""`mtlbench submit`: records, checked and packed for a pull request."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from mtlbench.cli.options import add_plugins
from mtlbench.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Check records as a reviewer would, and copy them into a folder with the text of a pull request. The single-task "
        "networks that Δ is measured against are added. Nothing is sent."
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="rows, ids or files of records (default: all in --results)")
    parser.add_argument("--dataset", "-d", help="only this dataset")
    parser.add_argument("--results", type=Path, default=Path("results"), help="records (default: results)")
    parser.add_argument("--out", type=Path, default=Path("submission"), help="a new folder (default: submission)")
    parser.add_argument("--min-seeds", type=int, default=3, help="refuse rows with fewer seeds (default: 3)")
    add_plugins(parser)


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.config.plugins import Registry
    from mtlbench.leaderboard.find_records import find
    from mtlbench.leaderboard.loading import read_checked
    from mtlbench.leaderboard.record_files import record_files
    from mtlbench.leaderboard.submission import PLACE, pack

    paths = record_files(arguments.results)
    good, refused = read_checked(paths)
    if arguments.names:
        path_of = {record.id: path for path, record in good}
        chosen = []
        for name in arguments.names:
            if name.endswith(".json"):
                chosen.append(Path(name))
            else:
                chosen += [path_of[record.id] for record in find(arguments.results, name, arguments.dataset)]
    elif refused:
        raise UserError(f"{refused[0]}. Nothing was packed: mend or remove it, or name what to send.")
    else:
        chosen = [path for path, record in good if arguments.dataset in (None, record.dataset)]
    if not chosen:
        raise UserError(
            f"There is no record{f' of {arguments.dataset}' if arguments.dataset else ''} in {arguments.results}."
        )
    registry = Registry(arguments.plugins)
    sources = {plugin.name: plugin.source for plugin in registry.plugins.values()}
    packed = pack(list(dict.fromkeys(chosen)), good, arguments.out, sources, arguments.min_seeds)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{len(packed.files)} records of {packed.rows} rows are fit, and lie in {packed.folder / 'records'}.")
    for remark in packed.remarks:
        console.print(f"note: {remark}", markup=False)
    console.print(
        f"To send them: copy {packed.folder / 'records'}/* into {PLACE}/ of a fork, and open a pull request with the text "
        f"of {packed.folder / 'PULL_REQUEST.md'}. What it changes in the ranks: mtlbench diff OLD/{PLACE} NEW/{PLACE}"
    )
    return 0
