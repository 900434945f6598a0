"""Arguments that several commands have in common, and what is made of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from mtlbench.cli.renamed import RenamedOption
from mtlbench.data.cache_folder import default_cache
from mtlbench.errors import UserError, shown

Arguments = argparse.ArgumentParser | argparse._ArgumentGroup


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Where records, checkpoints, leaderboards and prepared data are."""
    folders = parser.add_argument_group("folders")
    folders.add_argument("--results", type=Path, default=Path("results"), help="records (default: results)")
    folders.add_argument("--runs", type=Path, default=Path("runs"), help="checkpoints of trials (default: runs)")
    folders.add_argument("--cache", type=Path, default=default_cache(), help="prepared data (default: ~/.cache/mtlbench)")
    add_plugins(folders)


def add_plugins(parser: Arguments) -> None:
    """Extra plugin folders."""
    parser.add_argument(
        "--plugins",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a folder with further methods and datasets: files or packages",
    )


def add_method_args(parser: Arguments) -> None:
    """`arguments.method_arg`: texts NAME=VALUE."""
    parser.add_argument(
        "--method-arg",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a hyper-parameter of the method (mtlbench list METHOD)",
    )
    parser.add_argument("--set", action=RenamedOption, dest="method_arg")


def add_dataset_args(parser: Arguments) -> None:
    """`arguments.dataset_arg`: texts NAME=VALUE."""
    parser.add_argument(
        "--dataset-arg",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the dataset (mtlbench list DATASET)",
    )
    parser.add_argument("--option", action=RenamedOption, dest="dataset_arg")


def add_trial(parser: argparse.ArgumentParser) -> None:
    """What a trial's settings and hyper-parameters are."""
    trial = parser.add_argument_group("the trial")
    trial.add_argument("--data", type=Path, metavar="DIR", help="folder of the dataset's raw files")
    trial.add_argument("--epochs", type=int, help="passes over the training images")
    trial.add_argument("--backbone", help="resnet_tiny, resnet18, resnet34 or resnet50")
    trial.add_argument("--budget", help="what the epochs pay for: equal_total, equal_final or paper")
    trial.add_argument("--precision", help="fp32, bf16 or auto")
    trial.add_argument("--robustness", help="evaluate under corruptions: off, quick or full")
    trial.add_argument(
        "--setting", action="append", default=[], metavar="NAME=VALUE", help="any other setting (mtlbench list settings)"
    )
    add_method_args(trial)
    add_dataset_args(trial)
    trial.add_argument("--cpus", type=float, default=1.0, help="CPUs and threads of a trial (default: 1)")
    trial.add_argument(
        "--skip-bad", action="store_true", help="leave out samples that cannot be read (the protocol says so)"
    )
    trial.add_argument("--diagnose", action="append", default=[], metavar="NAME", help="measures during training: gradients")
    trial.add_argument(
        "--keep-checkpoints", action="store_true", help="keep every selectable epoch (for `mtlbench selection-bias`)"
    )


def overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Settings given on the command line."""
    named = {name: getattr(arguments, name) for name in ("epochs", "backbone", "budget", "precision", "robustness")}
    return {**{name: value for name, value in named.items() if value is not None}, **assignments(arguments.setting)}


def assignments(texts: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` texts, values read as YAML (numbers, true, [a, b], text).

    Raises:
        UserError: a text without "=".
    """
    from mtlbench.planning.yaml_text import read_yaml  # here, because `list` must not wait for it

    values: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise UserError(f"{shown(text)} is not understood: expected NAME=VALUE.")
        try:
            values[name.strip()] = read_yaml(value)
        except ValueError:
            values[name.strip()] = value
    return values


BOARD_WIDTH = 120
"""Columns that a leaderboard of four or five tasks needs."""


def print_boards(console: Console, boards: RenderableType) -> None:
    """Print leaderboards; where there is too little room, lines run over instead of losing columns."""
    if console.width < BOARD_WIDTH:
        console = Console(width=BOARD_WIDTH, soft_wrap=True)
    console.print(boards)


def announce(dataset: str) -> Callable[[str, int, int], None]:
    """A progress callback for the preparation of data: a line that counts in a terminal, one line per stage elsewhere."""
    is_terminal = sys.stderr.isatty()
    announced = ""

    def show(stage: str, done: int, total: int) -> None:
        nonlocal announced
        if is_terminal:
            end = "\n" if done >= total else ""
            print(f"\rpreparing {dataset}, {stage}: {done}/{total}   ", end=end, file=sys.stderr, flush=True)
        elif stage != announced:
            print(f"preparing {dataset}, {stage}: {total}", file=sys.stderr, flush=True)
            announced = stage

    return show
