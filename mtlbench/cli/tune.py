"""`mtlbench tune`: every method's hyper-parameters searched with the same number of trials, and the winners compared."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mtlbench.cli import bench
from mtlbench.cli.options import add_folders, add_trial
from mtlbench.errors import UserError

if TYPE_CHECKING:
    from mtlbench.config.plugins import Registry
    from mtlbench.planning.experiment import Experiment
    from mtlbench.planning.trial_spec import TrialSpec
    from mtlbench.records import Record
    from mtlbench.running.early_stopping import EarlyStopping
    from mtlbench.running.ray_session import Resources
    from mtlbench.tuning.study import Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Search the hyper-parameters of every method with the same number of trials, single-task networks included; choose "
        "on val; train each winner, and the defaults, again on fresh seeds; draw the leaderboards. What was run already is "
        "not run again. How it searches stands in the experiment file's `tune` (docs/tuning.md)."
    )
    contents = parser.add_argument_group("what to tune")
    contents.add_argument("--method", "-m", help="a name, a comma list, or `all`")
    contents.add_argument("--dataset", "-d", help="a name, a comma list, or `all` (those that need no files)")
    contents.add_argument("--experiment", "-e", type=Path, help="an experiment file (mtlbench list experiment)")
    contents.add_argument("--seeds", type=int, help="how many fresh seeds the winners are trained with (default: 3)")
    contents.add_argument("--no-reference", action="store_true", help="do not tune missing single-task networks")
    search = parser.add_argument_group("how to search")
    search.add_argument("--trials", type=int, help="trials per method and dataset, the defaults first (default: 20)")
    search.add_argument("--search", help="sobol, random, optuna, or another searcher of Ray Tune (default: sobol)")
    search.add_argument("--scheduler", help="none, or asha, which ends trials early (default: none)")
    search.add_argument("--search-seed", type=int, help="seed of the draws and of the trials (default: 1000)")
    search.add_argument("--dry-run", action="store_true", help="print what would be tried, and train nothing")
    add_trial(parser)
    bench.add_machines(parser)
    add_folders(parser)
    parser.add_argument("--out", type=Path, default=Path("leaderboards"), help="leaderboards (default: leaderboards)")
    parser.set_defaults(force=False)


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.config.plugins import Registry
    from mtlbench.running.disk_faults import require_writable
    from mtlbench.running.ray_session import Resources, ray_session
    from mtlbench.running.searchers import searcher_of
    from mtlbench.tuning.draws import FIXED
    from mtlbench.tuning.search import search

    console = Console()
    registry = Registry(arguments.plugins)
    experiment = experiment_of(arguments, registry)
    studies = studies_from_arguments(arguments, experiment, registry)
    for study in studies:
        if study.tune.search not in FIXED:
            searcher_of(study)  # refuses what Ray Tune does not have, before anything is trained
    if arguments.dry_run:
        for study in studies:
            console.print(draws_table(study))
        return 0
    require_writable({"--results": arguments.results, "--runs": arguments.runs, "--out": arguments.out})
    resources = Resources(arguments.cpus, bench.gpus_of(arguments), arguments.address, arguments.retries)
    runner = _Runner(arguments, resources, console, experiment.tune is not None and experiment.tune.scheduler == "asha")
    with ray_session(resources):
        runner.announce(studies, experiment.seed_list)
        trials = search(studies, experiment.seed_list, runner.run, runner.record_of, searcher_of)
    # Latencies are measured of what stands in tables, not of every trial.
    shown = [trial for trial in trials if trial.tuning is None or trial.tuning.role == "winner"]
    bench.draw(shown, arguments, console)
    if runner.failed:
        print(bench.failure_table(runner.failed, runner.started), file=sys.stderr)
    return 1 if runner.failed else 0


def experiment_of(arguments: argparse.Namespace, registry: Registry) -> Experiment:
    """The experiment that `tune` is asked for: `bench`'s, with how to search.

    Raises:
        UserError: half of it is missing, or a way to search is refused.
    """
    from mtlbench.planning.experiment import TuneEntry, make_experiment

    if arguments.experiment is None and not (arguments.method or arguments.dataset):
        raise UserError("Name what to tune: --method and --dataset, or an --experiment file.")
    experiment = bench.experiment_of(arguments, registry)
    raw = experiment.model_dump()
    if arguments.seeds is None and arguments.experiment is None:
        raw["seeds"] = 3
    named = {"trials": arguments.trials, "search": arguments.search, "scheduler": arguments.scheduler}
    given = {**named, "seed": arguments.search_seed}
    tune = (experiment.tune or TuneEntry()).model_dump()
    raw["tune"] = {**tune, **{name: value for name, value in given.items() if value is not None}}
    return make_experiment(raw, experiment.name)


def studies_from_arguments(arguments: argparse.Namespace, experiment: Experiment, registry: Registry) -> list[Study]:
    """One study per method and dataset; datasets are prepared first."""
    from mtlbench.cli.experiments import planner
    from mtlbench.cli.options import overrides
    from mtlbench.tuning.study import studies_of

    return studies_of(experiment, registry, planner(arguments, experiment, registry), overrides(arguments))


def draws_table(study: Study) -> Table:
    """What a study would try, as far as that is known before it runs."""
    from mtlbench.leaderboard.protocols import as_text

    ranges = study.space.describe()
    table = Table(title=escape(study.title), title_justify="left", box=None, pad_edge=False, header_style="dim")
    table.add_column("trial", justify="right")
    for name, words in ranges.items():
        table.add_column(escape(f"{name}\n{words}"), overflow="fold")
    for number in range(study.tune.trials):
        if number in study.drawn:
            values = study.values(number)
            note = " (defaults)" if number == 0 else ""
            table.add_row(f"{number}{note}", *(escape(as_text(values[name])) for name in ranges))
    later = study.tune.trials - len(study.drawn)
    if later:
        table.caption = f"{later} more, which depend on the results of the first."
    return table


class _Runner:
    """Runs trials that have no record within the open Ray session, and remembers what failed."""

    def __init__(self, arguments: argparse.Namespace, resources: Resources, console: Console, stops_early: bool) -> None:
        self.arguments, self.resources, self.console = arguments, resources, console
        self.stops_early = stops_early
        self.planned: list[TrialSpec] = []
        self.started = 0
        self.failed: dict[str, str] = {}

    def announce(self, studies: Sequence[Study], seeds: Sequence[int]) -> None:
        """Say what the search will cost, and ask before a long one.

        Raises:
            UserError: it should not start, or nobody is there to ask.
        """
        from mtlbench.running.estimate import estimate
        from mtlbench.running.finished import find_records
        from mtlbench.tuning.search import winners_of

        count = studies[0].tune.trials
        # What is not drawn yet, and the winner, is taken to cost what the defaults cost.
        trials = [study.trial(number if number in study.drawn else 0) for study in studies for number in range(count)]
        recorded = find_records(trials, self.arguments.results)
        finished = all(trial.id in recorded for trial in trials)
        for study in studies:
            trials += winners_of(study, seeds, self.record_of) if finished else study.winners(0, seeds)
            trials += study.untuned(seeds)
        recorded = find_records(trials, self.arguments.results)
        missing = [trial for trial in trials if trial.id not in recorded]
        self.console.print(
            f"{len(studies)} searches (methods × datasets) of {count} trials each; then {len(seeds)} seeds of each winner, "
            f"and as many of the defaults. {len(recorded)} of {len(trials)} trials have a record.",
            highlight=False,
            soft_wrap=True,
        )
        if not missing:
            return
        planned = estimate(missing, self.resources)
        self.console.print(planned.text, highlight=False, soft_wrap=True)
        if planned.hours > bench.ASK_HOURS and not self.arguments.yes:
            bench.ask(planned.hours)

    def run(self, trials: list[TrialSpec]) -> None:
        """Run those of the trials that have no record."""
        from mtlbench.running.display import Display
        from mtlbench.running.finished import find_records
        from mtlbench.running.scheduler import run_trials

        recorded = find_records(trials, self.arguments.results)
        self.planned += trials
        missing = list({trial.id: trial for trial in trials if trial.id not in recorded}.values())
        if not missing:
            return
        self.started += len(missing)
        with Display(len(missing), self.console) as display:
            arguments = self.arguments
            keep = arguments.keep_checkpoints
            early = self.early_stopping() if self.stops_early else None
            outcome = run_trials(
                missing, arguments.runs, arguments.results, self.resources, display, keep, early_stopping=early
            )
        self.failed |= outcome.failed

    def early_stopping(self) -> EarlyStopping:
        """Stop trials of searches early; what was recorded before counts."""
        from mtlbench.running.early_stopping import EarlyStopping

        return EarlyStopping([record for trial in self.planned if (record := self.record_of(trial)) is not None])

    def record_of(self, trial: TrialSpec) -> Record | None:
        """The record of a trial, None where it has none."""
        from mtlbench.records import read
        from mtlbench.running.finished import find_record

        path = find_record(trial, self.arguments.results)
        return None if path is None else read(path)
