"""`mtlbench replications`: the page of published rows beside our records."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write the page that sets published rows beside our records of the same protocol, with gap, verdict and known cause."
    )
    parser.add_argument(
        "--presets",
        type=Path,
        default=Path("experiments/replications"),
        help="presets and their ledger (default: experiments/replications)",
    )
    parser.add_argument(
        "--reported",
        type=Path,
        default=Path("leaderboards/reported"),
        help="published tables (default: leaderboards/reported)",
    )
    parser.add_argument(
        "--results", type=Path, default=Path("replications"), help="records, in a folder per preset (default: replications)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("docs/replications.md"), help="the page (default: docs/replications.md)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; say whether the page is up to date (exit code 1)"
    )


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.errors import UserError
    from mtlbench.leaderboard.replications import page
    from mtlbench.records import write_text

    if not arguments.presets.is_dir():
        raise UserError(f"{arguments.presets}: no such folder of presets. Name it with --presets.")
    text = page(arguments.presets, arguments.reported, arguments.results)
    if arguments.check:
        current = arguments.out.read_text(encoding="utf-8") if arguments.out.is_file() else ""
        if current != text:
            print(f"{arguments.out} is not what its records give: run `mtlbench replications`.")
            return 1
        print(f"{arguments.out} is up to date.")
        return 0
    write_text(arguments.out, text)
    print(f"Wrote {arguments.out}.")
    return 0
