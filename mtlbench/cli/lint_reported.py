"""`mtlbench lint-reported`: recompute published numbers."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Recompute Δ and ranks of every published row and flag what does not add up."
    parser.add_argument(
        "--reported",
        type=Path,
        default=Path("leaderboards/reported"),
        help="published tables (default: leaderboards/reported)",
    )


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.leaderboard.reported import lint, read

    findings = lint(arguments.reported)
    for line in findings:
        print(line)
    print(f"{len(read(arguments.reported))} rows, {len(findings)} findings.")
    return 0
