"""`mtlbench bench`: from methods and datasets to a leaderboard."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from mtlbench.cli.options import add_folders, add_trial, announce, assignments, overrides, print_boards
from mtlbench.errors import UserError

QUICKSTART = Path("experiments") / "quickstart.yaml"
ASK_HOURS = 1.0
"""A sweep that is expected to take longer is only started after a question, or with --yes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run every method on every dataset, with every seed, and draw the leaderboard. Trials whose record is there "
        "are not run again; single-task networks, which Δ is measured against, are run by themselves when missing. "
        "Without --method and --dataset: the experiment file."
    )
    what = parser.add_argument_group("what to run")
    what.add_argument("--method", "-m", help="a name, a comma list, or `all`; a+s combines an architecture and a strategy")
    what.add_argument("--dataset", "-d", help="a name, a comma list, or `all` (those that need no files)")
    what.add_argument("--seeds", type=int, help="how many seeds (default: 1)")
    what.add_argument("--experiment", "-e", type=Path, help=f"an experiment file (default: {QUICKSTART})")
    what.add_argument("--no-reference", action="store_true", help="do not schedule missing single-task networks")
    add_trial(parser)
    where = parser.add_argument_group("where to run")
    where.add_argument("--gpus", type=float, help="GPUs of a trial, fractions allowed (default: 1 if there is one, else 0)")
    where.add_argument("--address", help="a running Ray cluster (`auto` for one on this machine)")
    where.add_argument("--retries", type=int, default=1, help="how often a crashed trial is tried again (default: 1)")
    where.add_argument("--yes", "-y", action="store_true", help=f"do not ask before sweeps of more than {ASK_HOURS:g} h")
    add_folders(parser)
    parser.add_argument("--out", type=Path, default=Path("leaderboards"), help="leaderboards (default: leaderboards)")


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.config.plugins import Registry
    from mtlbench.planning.experiment import expand
    from mtlbench.running.finished import find_record
    from mtlbench.running.trial import open_dataset

    console = Console()
    registry = Registry(arguments.plugins)
    experiment = make(arguments, registry)
    trials = expand(
        experiment,
        registry,
        lambda data, plugin: open_dataset(data, plugin.cls, announce(data.name)),
        cache=arguments.cache.expanduser().resolve(),
        overrides=overrides(arguments),
        threads=max(1, int(arguments.cpus)),
        skip_bad=arguments.skip_bad,
    )
    missing = [trial for trial in trials if find_record(trial, arguments.results) is None]
    console.print(f"{len(trials)} trials: {len(trials) - len(missing)} have a record, {len(missing)} to run.")
    failed: dict[str, str] = {}
    if missing:
        failed = _train(missing, arguments, console)
    _draw(trials, arguments, console)
    for title, reason in failed.items():
        print(f"mtlbench: {title} failed: {reason}", file=sys.stderr)
    return 1 if failed else 0


def make(arguments: argparse.Namespace, registry: Any) -> Any:
    """The experiment that the command line asks for."""
    from mtlbench.planning.experiment import load_experiment, make_experiment

    if arguments.seeds is not None and arguments.seeds < 1:
        raise UserError(f"--seeds {arguments.seeds} is refused: expected 1 or more.")
    if arguments.experiment or not (arguments.method or arguments.dataset):
        experiment = load_experiment(arguments.experiment or _quickstart())
        update: dict[str, Any] = {}
        if arguments.method:
            update["methods"] = [{"name": name} for name in _names(arguments.method, _all_methods(registry))]
        if arguments.dataset:
            update["datasets"] = _datasets(arguments, registry)
        if update or arguments.seeds is not None:
            raw = {**experiment.model_dump(), **update}
            raw["seeds"] = arguments.seeds or raw["seeds"]
            experiment = make_experiment(raw, "command line")
        if arguments.data and not arguments.dataset:
            raise UserError("--data names a folder for one dataset: give that dataset with --dataset.")
    else:
        if not (arguments.method and arguments.dataset):
            given, other = ("--method", "--dataset") if arguments.method else ("--dataset", "--method")
            raise UserError(f"{given} was given without {other}: name both, or an --experiment file.")
        experiment = make_experiment(
            {
                "name": "command line",
                "methods": [{"name": name} for name in _names(arguments.method, _all_methods(registry))],
                "datasets": _datasets(arguments, registry),
                "seeds": arguments.seeds or 1,
            },
            "command line",
        )
    if arguments.set:
        given_hypers = assignments(arguments.set)
        named = [one for one in experiment.methods]
        if len(named) != 1:
            raise UserError(
                "--set gives hyper-parameters to one method: name one with --method, or write an experiment file."
            )
        experiment.methods = [one.model_copy(update={"set": {**one.set, **given_hypers}}) for one in named]
    if arguments.no_reference:
        experiment.reference = False
    experiment.diagnose = [*experiment.diagnose, *arguments.diagnose]
    return experiment


def _train(missing: list[Any], arguments: argparse.Namespace, console: Console) -> dict[str, str]:
    from mtlbench.running.display import Display
    from mtlbench.running.estimate import estimate
    from mtlbench.running.scheduler import Resources, run_trials

    gpus = arguments.gpus
    if gpus is None:
        import torch

        gpus = 1.0 if torch.cuda.is_available() else 0.0
    planned = estimate(missing, arguments.cpus, gpus, arguments.address)
    console.print(planned.text, highlight=False)
    if planned.hours > ASK_HOURS and not arguments.yes:
        if not sys.stdin.isatty():
            raise UserError(f"The sweep would take about {planned.hours:.1f} h; start it with --yes, or plan less.")
        if input("Start? [y/N] ").strip().lower() not in ("y", "yes"):
            raise UserError("Nothing was started.")
    resources = Resources(arguments.cpus, gpus, arguments.address, arguments.retries)
    with Display(len(missing), console) as display:
        outcome = run_trials(
            planned.trials, arguments.runs, arguments.results, resources, display, arguments.keep_checkpoints
        )
    return outcome.failed


def _draw(trials: list[Any], arguments: argparse.Namespace, console: Console) -> None:
    from mtlbench.leaderboard.draw import draw_all
    from mtlbench.leaderboard.terminal import terminal
    from mtlbench.measure.latency import measure_missing
    from mtlbench.running.finished import find_record

    paths = [path for trial in trials if (path := find_record(trial, arguments.results)) is not None]
    if not paths:
        return
    measure_missing({trial.id: trial for trial in trials}, paths)
    datasets = sorted({trial.data.name for trial in trials})
    drawn = draw_all(arguments.results, arguments.out, datasets)
    console.print()
    print_boards(console, terminal(drawn.summaries))
    for line in drawn.refused:
        print(f"left out: {line}", file=sys.stderr)
    for path in drawn.files:
        console.print(f"written: {path}", highlight=False, soft_wrap=True)


def _quickstart() -> Path:
    if QUICKSTART.is_file():
        return QUICKSTART
    beside = Path(__file__).resolve().parents[2] / QUICKSTART
    if beside.is_file():
        return beside
    raise UserError("There is no experiments/quickstart.yaml here: name --method and --dataset, or an --experiment file.")


def _names(text: str, everything: list[str]) -> list[str]:
    names = [part.strip() for part in text.split(",") if part.strip()]
    return everything if names == ["all"] else list(dict.fromkeys(names))


def _all_methods(registry: Any) -> list[str]:
    """Every usable architecture and strategy, each on or with the default other half."""
    from mtlbench.config.method import resolve

    usable = [plugin for plugin in registry.group("methods").values() if not plugin.broken]
    return list(dict.fromkeys(resolve(plugin.name, {}, registry).name for plugin in usable))


def _datasets(arguments: argparse.Namespace, registry: Any) -> list[dict[str, Any]]:
    embedded = [name for name, one in registry.group("datasets").items() if not one.broken and one.cls.embedded]
    names = _names(arguments.dataset, embedded)
    if arguments.data and len(names) != 1:
        raise UserError("--data names a folder for one dataset: name one with --dataset.")
    root = str(arguments.data.expanduser().resolve()) if arguments.data else None
    return [{"name": name, "root": root, "set": assignments(arguments.option)} for name in names]
