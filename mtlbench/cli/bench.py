"""`mtlbench bench`: from methods and datasets to a leaderboard."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from mtlbench.cli.options import add_folders, add_trial, print_boards
from mtlbench.discovery.shipped import experiment_file
from mtlbench.errors import UserError

if TYPE_CHECKING:
    from mtlbench.config.plugins import Registry
    from mtlbench.planning.experiment import Experiment
    from mtlbench.planning.trial_spec import TrialSpec

QUICKSTART = Path("experiments") / "quickstart.yaml"
ASK_HOURS = 1.0
"""A sweep that is expected to take longer is only started after a question, or with --yes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run every method on every dataset, with every seed, and draw the leaderboard. Trials whose record is there "
        "are not run again; single-task networks, which Δ is measured against, are run by themselves when missing. "
        "Without --method and --dataset: the experiment file."
    )
    contents = parser.add_argument_group("what to run")
    contents.add_argument(
        "--method", "-m", help="a name, a comma list, or `all`; a+s combines an architecture and a strategy"
    )
    contents.add_argument("--dataset", "-d", help="a name, a comma list, or `all` (those that need no files)")
    contents.add_argument("--seeds", type=int, help="how many seeds (default: 1)")
    contents.add_argument(
        "--experiment", "-e", type=Path, help=f"an experiment file (default: {QUICKSTART}; mtlbench list experiment)"
    )
    contents.add_argument(
        "--force", action="store_true", help="run trials again although their record is there, and replace it"
    )
    contents.add_argument("--no-reference", action="store_true", help="do not schedule missing single-task networks")
    add_trial(parser)
    add_machines(parser)
    add_folders(parser)
    parser.add_argument("--out", type=Path, default=Path("leaderboards"), help="leaderboards (default: leaderboards)")


def add_machines(parser: argparse.ArgumentParser) -> None:
    """Where trials run."""
    machines = parser.add_argument_group("where to run")
    machines.add_argument(
        "--gpus", type=float, help="GPUs of a trial, fractions allowed (default: 1 if there is one, else 0)"
    )
    machines.add_argument("--address", help="a running Ray cluster (`auto` for one on this machine)")
    machines.add_argument("--retries", type=int, default=1, help="how often a crashed trial is tried again (default: 1)")
    machines.add_argument("--yes", "-y", action="store_true", help=f"do not ask before sweeps of more than {ASK_HOURS:g} h")


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.cli.experiments import trials_from_arguments
    from mtlbench.config.plugins import Registry
    from mtlbench.running.disk_faults import require_writable
    from mtlbench.running.finished import check_places, find_records

    console = Console()
    registry = Registry(arguments.plugins)
    trials = trials_from_arguments(arguments, experiment_of(arguments, registry), registry)
    require_writable({"--results": arguments.results, "--runs": arguments.runs, "--out": arguments.out})
    recorded = find_records(trials, arguments.results)
    missing = trials if arguments.force else [trial for trial in trials if trial.id not in recorded]
    console.print(f"{len(trials)} trials: {len(recorded)} have a record, {len(missing)} to run.")
    for line in [] if arguments.force else check_places(missing, arguments.results):
        print(f"mtlbench: {line}", file=sys.stderr)
    failed = _train(missing, arguments, console) if missing else {}
    try:
        draw(trials, arguments, console)
    finally:
        if failed:
            print(failure_table(failed, len(missing)), file=sys.stderr)
    return 1 if failed else 0


def failure_table(failed: dict[str, str], run: int) -> str:
    """What failed and why, one trial per line.

    Args:
        failed: trial's title → reason.
        run: trials that were run.
    """
    width = max(map(len, failed))
    rows = [f"  {title:{width}}  {reason}" for title, reason in failed.items()]
    count = f"mtlbench: {len(failed)} of {run} trials failed:"
    return "\n".join([count, *rows, "The others have their records. The same command runs only what is missing."])


def experiment_of(arguments: argparse.Namespace, registry: Registry) -> Experiment:
    """The experiment that `bench` is asked for: a file's, named methods on named datasets, or a file with others of them.

    Raises:
        UserError: half of it is missing, or the file is.
    """
    from mtlbench.cli.experiments import experiment_from_arguments
    from mtlbench.planning.experiment import load_experiment

    if arguments.seeds is not None and arguments.seeds < 1:
        raise UserError(f"--seeds {arguments.seeds} is refused: expected 1 or more.")
    file = arguments.experiment
    if file is None and not (arguments.method or arguments.dataset):
        file = _quickstart()
    if file is None and not (arguments.method and arguments.dataset):
        given, absent = ("--method", "--dataset") if arguments.method else ("--dataset", "--method")
        raise UserError(f"{given} was given without {absent}: name both, or an --experiment file.")
    return experiment_from_arguments(
        arguments,
        methods=_names(arguments.method, _all_methods(registry)) if arguments.method else (),
        datasets=_names(arguments.dataset, _embedded_datasets(registry)) if arguments.dataset else (),
        seeds=arguments.seeds,
        reference=not arguments.no_reference,
        base=load_experiment(experiment_file(file)) if file is not None else None,
    )


def _train(missing: list[TrialSpec], arguments: argparse.Namespace, console: Console) -> dict[str, str]:
    """Run the trials; titles and reasons of those that failed."""
    from mtlbench.running.display import Display
    from mtlbench.running.estimate import estimate
    from mtlbench.running.ray_session import Resources, ray_session
    from mtlbench.running.run_trial import forget
    from mtlbench.running.scheduler import run_trials

    resources = Resources(arguments.cpus, gpus_of(arguments), arguments.address, arguments.retries)
    with ray_session(resources):
        planned = estimate(missing, resources)
        console.print(planned.text, highlight=False)
        if planned.hours > ASK_HOURS and not arguments.yes:
            ask(planned.hours)
        if arguments.force:
            for trial in missing:
                forget(trial, arguments.runs)
        with Display(len(missing), console, planned.seconds) as display:
            outcome = run_trials(
                planned.trials,
                arguments.runs,
                arguments.results,
                resources,
                display,
                arguments.keep_checkpoints,
                arguments.force,
            )
    return outcome.failed


def gpus_of(arguments: argparse.Namespace) -> float:
    """GPUs of one trial."""
    if arguments.gpus is not None:
        return float(arguments.gpus)
    import torch

    return 1.0 if torch.cuda.is_available() else 0.0


def ask(hours: float) -> None:
    """Ask whether a long sweep should start.

    Raises:
        UserError: it should not, or nobody is there to ask.
    """
    if not sys.stdin.isatty():
        raise UserError(f"The sweep would take about {hours:.1f} h; start it with --yes, or plan less.")
    if input("Start? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("Nothing was started.")


def draw(trials: list[TrialSpec], arguments: argparse.Namespace, console: Console) -> None:
    """Measure missing latencies, draw the leaderboards of the trials' datasets, and print them."""
    from mtlbench.leaderboard.draw import draw_all
    from mtlbench.leaderboard.terminal import terminal
    from mtlbench.running.finished import find_records
    from mtlbench.running.latencies import measure_missing

    paths = list(find_records(trials, arguments.results).values())
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
    path = experiment_file(QUICKSTART)
    if path.is_file():
        return path
    raise UserError("There is no experiments/quickstart.yaml here: name --method and --dataset, or an --experiment file.")


def _names(text: str, everything: list[str]) -> list[str]:
    names = [part.strip() for part in text.split(",") if part.strip()]
    return everything if names == ["all"] else list(dict.fromkeys(names))


def _all_methods(registry: Registry) -> list[str]:
    """Every usable architecture and strategy, each on or with the default other half."""
    from mtlbench.config.method import resolve

    usable = [*registry.architectures(), *registry.strategies()]
    return list(dict.fromkeys(resolve(name, {}, registry).name for name in sorted(usable)))


def _embedded_datasets(registry: Registry) -> list[str]:
    """Datasets that need no files."""
    return [name for name, dataset in registry.datasets().items() if dataset.embedded]
