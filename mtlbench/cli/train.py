"""`mtlbench train`: one trial in this process, without a scheduler."""

from __future__ import annotations

import argparse

from rich.console import Console

from mtlbench.cli.options import add_folders, add_trial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train and evaluate one method on one dataset with one seed, in this process. The record is the one that "
        "`mtlbench bench` would have written. A trial that was interrupted goes on where it was."
    )
    parser.add_argument("--method", "-m", required=True, help="a method; a+s combines an architecture and a strategy")
    parser.add_argument("--dataset", "-d", required=True, help="a dataset")
    parser.add_argument("--seed", type=int, default=0, help="the seed (default: 0)")
    parser.add_argument("--force", action="store_true", help="run again although the record is there, and replace it")
    add_trial(parser)
    add_folders(parser)


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.cli.experiments import experiment_from_arguments, trials_from_arguments
    from mtlbench.config.plugins import Registry
    from mtlbench.running.disk_faults import require_writable
    from mtlbench.running.display import Display
    from mtlbench.running.finished import check_places, find_record
    from mtlbench.running.run_trial import forget, run_trial

    console = Console()
    experiment = experiment_from_arguments(
        arguments, methods=[arguments.method], datasets=[arguments.dataset], seeds=[arguments.seed], reference=False
    )
    (trial,) = trials_from_arguments(arguments, experiment, Registry(arguments.plugins))
    require_writable({"--results": arguments.results, "--runs": arguments.runs})
    record = find_record(trial, arguments.results)
    if record is not None and not arguments.force:
        console.print(f"The record is there: {record} (--force runs the trial again).", highlight=False, soft_wrap=True)
        return 0
    for line in [] if arguments.force else check_places([trial], arguments.results):
        console.print(line, highlight=False, soft_wrap=True)
    if arguments.force:
        forget(trial, arguments.runs)
    with Display(1, console) as display:
        path = run_trial(
            trial,
            arguments.runs,
            arguments.results,
            lambda progress: display.epoch(trial, progress.__dict__),
            arguments.keep_checkpoints,
            arguments.force,
            note=lambda text: display.note(trial, text),
        )
        display.done(trial, path)
    console.print(f"written: {path}", highlight=False, soft_wrap=True)
    return 0
