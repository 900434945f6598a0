"""The command line. It parses, hands over to a command, and turns a user's mistake into one line and exit code 2."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Protocol, cast

import mtlbench
from mtlbench.errors import UserError, did_you_mean

COMMANDS = {
    "bench": "run methods on datasets and draw the leaderboard",
    "tune": "search every method's hyper-parameters with equal budgets, and draw the leaderboard of the winners",
    "train": "run one trial in this process, without a scheduler",
    "list": "list methods, datasets, backbones, settings and the fields of experiment files; describe one",
    "data": "describe, check, prepare or show a dataset",
    "new": "write a commented plugin file that passes the conformance properties",
    "check": "run the conformance properties on a method or dataset",
    "leaderboard": "draw leaderboards from records, or check records",
    "selection-bias": "say what selection on test would have claimed, from kept epochs",
    "show": "print a record",
    "reproduce": "run a record's trial again and say whether the result is the same",
    "compare": "say what differs between two records",
    "diff": "say what changes in the ranks between two folders of records",
    "status": "say how far the trials of a sweep are, from another terminal",
    "predict": "draw what a trained network predicts on images",
    "export": "write a trained network as a file that runs without mtlbench (PyTorch or ONNX)",
    "submit": "check records and pack them for a pull request",
    "corrupt": "draw an image under all corruptions",
    "replications": "set published rows beside our records of the same protocol",
    "lint-reported": "recompute published numbers and flag what does not add up",
    "doctor": "check the installation",
}
"""Command → what it does. The module of `some-command` is `mtlbench.cli.some_command`."""

OLD_NAMES: dict[str, str] = {"inflation": "selection-bias"}
"""Commands under a name that they had before, which still work for one release and are not listed → their name now."""


class Command(Protocol):
    """What a command's module holds."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


def parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the chosen command's own arguments are added, so that nothing needless is imported."""
    top = argparse.ArgumentParser(
        prog="mtlbench",
        description="Compare multi-task learning methods for computer vision under one protocol.",
        epilog="`mtlbench COMMAND --help` explains a command.",
    )
    top.add_argument("--version", action="version", version=f"mtlbench {mtlbench.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, help_text in COMMANDS.items():
        sub = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
        if name == chosen:
            command_module(name).add_arguments(sub)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 well, 1 a trial failed, 2 a user's mistake, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    position = next((i for i, word in enumerate(words) if not word.startswith("-")), None)
    name = None if position is None else words[position]
    if position is not None and name in OLD_NAMES:
        print(f"mtlbench: {name} is now {OLD_NAMES[name]}; the old name goes with the next release.", file=sys.stderr)
        words[position] = name = OLD_NAMES[name]
    if name is not None and name not in COMMANDS:
        print(f"mtlbench: there is no command {name!r}.{did_you_mean(name, COMMANDS)}", file=sys.stderr)
        return 2
    try:
        arguments = parser(name).parse_args(words)
        return command_module(arguments.command).run(arguments) or 0
    except UserError as error:
        print(f"mtlbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nmtlbench: stopped. What was trained is saved; the same command goes on from there.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


def command_module(name: str) -> Command:
    """The module of a command."""
    return cast(Command, importlib.import_module(f"mtlbench.cli.{name.replace('-', '_')}"))


if __name__ == "__main__":
    sys.exit(main())
