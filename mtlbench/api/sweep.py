"""Running trials from Python: what `mtlbench bench` does, with a data frame at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtlbench.api.record_frame import frame_of, named
from mtlbench.config.plugins import Registry
from mtlbench.data.cache_folder import default_cache
from mtlbench.discovery.shipped import experiment_file
from mtlbench.errors import UserError
from mtlbench.planning.expansion import expand
from mtlbench.planning.experiment import Experiment, load_experiment, make_experiment
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import read
from mtlbench.running.display import Display
from mtlbench.running.finished import find_records
from mtlbench.running.latencies import measure_missing
from mtlbench.running.ray_session import Resources
from mtlbench.running.run_trial import run_trial
from mtlbench.running.scheduler import run_trials
from mtlbench.running.trial import open_dataset
from mtlbench.training.report import EpochReport

if TYPE_CHECKING:
    import pandas as pd

Entries = str | Sequence[str | Mapping[str, Any]]
"""A name, a comma list, or a list of names and of entries as experiment files have them (`name`, `set`, `label`, …)."""


def bench(
    methods: Entries = (),
    datasets: Entries = (),
    *,
    experiment: str | Path | None = None,
    seeds: int | Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    reference: bool = True,
    results: str | Path = "results",
    runs: str | Path = "runs",
    cache: str | Path | None = None,
    plugins: Sequence[str | Path] = (),
    in_process: bool = False,
    cpus: float = 1.0,
    gpus: float | None = None,
    address: str | None = None,
) -> pd.DataFrame:
    """Run methods on datasets; trials that have a record are not run again, and one that was interrupted goes on.

    Args:
        methods, datasets: what to run on what; `{"name": "cross_stitch", "set": {"own_weight": 0.8}, "label": "gentle"}`
            gives hyper-parameters, or options of a dataset, and `"root"` its folder of raw files.
        experiment: an experiment file, or the name of one that comes with mtlbench; the other arguments change it.
        seeds: how many (3 stands for 0, 1 and 2), or a list of them; 1 by default.
        settings: what is equal for all methods (epochs, backbone, batch_size, …; `mtlbench list settings`).
        reference: run the single-task networks that Δ needs where their records are missing.
        results, runs: folders of records and of checkpoints.
        cache: the folder of prepared data; None: that of the command line.
        plugins: folders with further methods and datasets.
        in_process: train here, one trial after another, without Ray: for small things, and for a debugger.
        cpus, gpus: of one trial; gpus=None: 1 if there is one.
        address: of a running Ray cluster; None: this machine.

    Returns:
        One row per record of these trials, references included; see `load_records`.

    Raises:
        UserError: something that is refused (one line: what, where, and what to do), or trials that failed; the records of
            the others are in `results`, and the same call runs only what is missing.
    """
    registry = Registry([Path(folder) for folder in plugins])
    results, runs = Path(results), Path(runs)
    trials = expand(
        _experiment(methods, datasets, experiment, seeds, reference),
        registry,
        lambda data, plugin: open_dataset(data, plugin.cls),
        cache=Path(cache or default_cache()).expanduser().resolve(),
        overrides=settings,
        threads=max(1, int(cpus)),
    )
    recorded = find_records(trials, results)
    missing = [trial for trial in trials if trial.id not in recorded]
    if missing:
        resources = Resources(cpus, _gpus() if gpus is None else gpus, address)
        failed = _run_here(missing, runs, results) if in_process else _run_on_ray(missing, runs, results, resources)
        if failed:
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            title, reason = next(iter(failed.items()))
            raise UserError(f"{title} failed{more}: {reason}")
    paths = list(find_records(trials, results).values())
    measure_missing({trial.id: trial for trial in trials}, paths)
    return frame_of([(path, read(path)) for path in paths])


def _experiment(
    methods: Entries,
    datasets: Entries,
    file: str | Path | None,
    seeds: int | Sequence[int] | None,
    reference: bool,
) -> Experiment:
    """The experiment that the arguments describe.

    Raises:
        UserError: neither a file nor both of methods and datasets, or a value that is refused.
    """
    if file is None and not (methods and datasets):
        raise UserError("bench needs methods and datasets, or an experiment file.")
    raw: dict[str, Any] = {"name": "bench"} if file is None else load_experiment(experiment_file(Path(file))).model_dump()
    if methods:
        raw["methods"] = _entries(methods)
    if datasets:
        raw["datasets"] = _entries(datasets)
    if seeds is not None:
        raw["seeds"] = seeds if isinstance(seeds, int) else list(seeds)
    if not reference:
        raw["reference"] = False
    return make_experiment(raw, "bench")


def _entries(entries: Entries) -> list[Any]:
    if isinstance(entries, str):
        return list(named(entries))
    return [entry if isinstance(entry, str) else dict(entry) for entry in entries]


def _run_here(trials: Sequence[TrialSpec], runs: Path, results: Path) -> dict[str, str]:
    """Run trials one after another in this process. An error of a plugin is raised as it is, for its author to see."""
    failed = {}
    with Display(len(trials)) as display:
        for trial in trials:
            try:
                path = run_trial(trial, runs, results, partial(_show, display, trial))
            except UserError as error:
                failed[trial.title] = str(error)
                display.failed(trial, str(error))
                continue
            display.done(trial, path)
    return failed


def _show(display: Display, trial: TrialSpec, report: EpochReport) -> None:
    display.epoch(trial, dict(vars(report)))


def _run_on_ray(trials: Sequence[TrialSpec], runs: Path, results: Path, resources: Resources) -> dict[str, str]:
    with Display(len(trials)) as display:
        return run_trials(trials, runs, results, resources, display).failed


def _gpus() -> float:
    """GPUs of one trial where nothing is said."""
    import torch

    return 1.0 if torch.cuda.is_available() else 0.0
