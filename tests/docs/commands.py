"""Commands in documentation: parsed by the real parser, planned as the real command plans, and run where that is cheap."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import cast

from mtlbench.cli import tune
from mtlbench.cli.bench import experiment_of
from mtlbench.cli.experiments import experiment_from_arguments
from mtlbench.cli.main import main, parser
from mtlbench.cli.options import overrides
from mtlbench.config.plugins import Plugin, Registry
from mtlbench.contract import Dataset, UserError
from mtlbench.data.split import Split
from mtlbench.data.store import Prepared
from mtlbench.data.writing import StoreMeta
from mtlbench.planning.expansion import expand
from mtlbench.planning.experiment import Experiment
from mtlbench.planning.trial_spec import DataSpec, TrialSpec

REPOSITORY = Path(__file__).resolve().parents[2]

RUN = {"new", "list", "data", "check"}
"""Commands that are run, unless their arguments ask for much (see `is_cheap`). Those that train are planned, the others
parsed."""

PLANNED = {"bench", "tune", "train"}


class Refused(Exception):
    """A documented command does not work: says how."""


def execute(words: list[str], folder: Path, checked: Collection[str] = ()) -> str:
    """Try one command, in a working folder; returns what was done: "run", "planned" or "parsed".

    Args:
        checked: plugins whose conformance properties were checked already.

    Raises:
        Refused: it does not work, or is none of ours.
    """
    words = without_place(words)
    if words[0] == "make":
        commands = list(commands_of_make(words))
        return execute(commands[0], folder, checked) if commands else "parsed"
    if words[0] != "mtlbench":
        raise Refused(f"`{shlex.join(words)}` is no command of mtlbench or make: mark the block with the reason")
    arguments = parsed(words[1:])
    if arguments.command in PLANNED:
        if not plan(arguments):
            raise Refused(f"`{shlex.join(words)}` plans no trial")
        return "planned"
    if arguments.command in RUN and is_cheap(arguments, folder, checked):
        if (code := main(words[1:])) != 0:
            raise Refused(f"`{shlex.join(words)}` ends with exit code {code}")
        return "run"
    return "parsed"


def without_place(words: list[str]) -> list[str]:
    """`python -m mtlbench …` and `.venv/bin/mtlbench …` as `mtlbench …`."""
    if words[:3] == ["python", "-m", "mtlbench"]:
        return words[2:]
    return [Path(words[0]).name, *words[1:]]


def commands_of_make(words: list[str]) -> Iterator[list[str]]:
    """The commands of mtlbench that `make` would run, by its own word.

    Raises:
        Refused: there is no such target.
    """
    shown = subprocess.run(["make", "--dry-run", *words[1:]], cwd=REPOSITORY, capture_output=True, text=True)
    if shown.returncode != 0:
        raise Refused(f"`{shlex.join(words)}` is refused: {shown.stderr.strip()}")
    for line in shown.stdout.replace("\\\n", " ").splitlines():
        if re.match(r"\s*@?\S*bin/mtlbench\s", line):
            yield without_place(shlex.split(line))


def parsed(words: list[str]) -> argparse.Namespace:
    """The arguments, as the real parser understands them.

    Raises:
        Refused: it does not.
    """
    name = next((word for word in words if not word.startswith("-")), None)
    try:
        return parser(name).parse_args(words)
    except SystemExit:
        raise Refused(f"`mtlbench {shlex.join(words)}` is refused by the parser") from None


def is_cheap(arguments: argparse.Namespace, folder: Path, checked: Collection[str]) -> bool:
    """Whether a command takes seconds and leaves nothing but in the working folder."""
    if arguments.command == "check":
        # The repository's own plugins are checked elsewhere.
        return arguments.name not in checked and any(
            folder in plugin.path.parents for plugin in plugins_of(arguments, arguments.name)
        )
    if arguments.command == "data":
        return not (arguments.download or arguments.prepare or arguments.show)
    return True


def plugins_of(arguments: argparse.Namespace, name: str) -> list[Plugin[Dataset]]:
    """The plugins of a name in the folders that a command searches."""
    registry = Registry(arguments.plugins)
    found = (registry.group(group).get(name) for group in ("methods", "datasets"))
    return [cast("Plugin[Dataset]", plugin) for plugin in found if plugin is not None]


def plan(arguments: argparse.Namespace) -> list[TrialSpec]:
    """The trials of `bench`, `tune` (at the defaults) and `train`, without preparing any data.

    Raises:
        Refused: an unknown plugin, a refused hyper-parameter, option or setting.
    """
    registry = Registry(arguments.plugins)
    try:
        if arguments.command == "bench":
            experiment = experiment_of(arguments, registry)
        elif arguments.command == "tune":
            experiment = tune.experiment_of(arguments, registry)
        else:
            experiment = experiment_from_arguments(
                arguments, methods=[arguments.method], datasets=[arguments.dataset], seeds=[arguments.seed], reference=False
            )
        return trials(experiment, registry, arguments)
    except UserError as error:
        raise Refused(f"`mtlbench {arguments.command}`: {error}") from None


def trials(experiment: Experiment, registry: Registry, arguments: argparse.Namespace | None = None) -> list[TrialSpec]:
    """All trials of an experiment, up to the protocol card; files of datasets need not be there."""
    settings = overrides(arguments) if arguments is not None else {}
    return expand(experiment, registry, unprepared, cache=Path("cache"), overrides=settings)


def unprepared(data: DataSpec, plugin: Plugin[Dataset]) -> Prepared:
    """A dataset as the protocol card sees it, with splits of no samples."""
    dataset = plugin.cls(Path(data.root) if data.root else None, data.options)
    splits: dict[str, Split] = {name: cast(Split, range(1)) for name in ("train", "val", "test")}
    return Prepared(dataset, "0" * 64, splits, cast(StoreMeta, {}), Path("cache"))
