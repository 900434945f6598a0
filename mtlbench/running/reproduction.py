"""A record's trial, run again: planned from what the record says with the plugins, data and versions that are here now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import ValidationError

from mtlbench.config.plugins import Registry
from mtlbench.data.fingerprint import Progress
from mtlbench.errors import UserError
from mtlbench.planning.expansion import expand
from mtlbench.planning.experiment import make_experiment
from mtlbench.planning.trial_spec import Specification, TrialSpec
from mtlbench.planning.tuned_trial import part_of_search
from mtlbench.records import Record, read
from mtlbench.records.files import first_problem
from mtlbench.running.exclusive import RECORD
from mtlbench.running.run_trial import forget, run_trial
from mtlbench.running.trained import read_spec
from mtlbench.running.trial import device_of, open_dataset
from mtlbench.training.report import EpochReport


def specification_of(record: Record, runs: Path) -> Specification:
    """What a record says that was run; of older records, what the folder of its run says.

    Args:
        runs: the folder of trials' checkpoints.

    Raises:
        UserError: neither says it.
    """
    if not record.specification:
        if not (runs / record.id / "spec.json").is_file():
            raise UserError(
                f"Record {record.id} does not hold its trial's specification, and {runs} has no folder {record.id}: name "
                "the folder that has it with --runs."
            )
        return read_spec(runs / record.id).specification()
    try:
        return Specification.model_validate(record.specification)
    except ValidationError as error:
        raise UserError(f"Record {record.id}: specification, {first_problem(error)}. It cannot be run again.") from None


def plan_again(
    record: Record,
    runs: Path,
    registry: Registry,
    *,
    cache: Path,
    root: Path | None = None,
    progress: Callable[[str], Progress] | None = None,
) -> TrialSpec:
    """The trial of a record, with the plugins and data as they are here now. Its data are prepared where they are missing.

    Args:
        runs: the folder of trials' checkpoints, for records that do not hold their specification.
        cache: the folder of prepared data.
        root: the folder of raw files; None for the dataset's default.
        progress: for a dataset's name, what is told how far its preparation is.

    Raises:
        UserError: the record does not say what was run, or that cannot be run here.
    """
    said = specification_of(record, runs)
    experiment = make_experiment(
        {
            "name": f"record {record.id}",
            "methods": [{"name": said.method, "label": said.label, "set": said.hypers, "settings": said.settings}],
            "datasets": [{"name": said.dataset, "set": said.options, "root": None if root is None else str(root)}],
            "seeds": [said.seed],
            "reference": False,
            "diagnose": list(said.diagnose),
        },
        f"record {record.id}",
    )
    (trial,) = expand(
        experiment,
        registry,
        lambda data, plugin: open_dataset(data, plugin.cls, progress(data.name) if progress is not None else None),
        cache=cache,
        threads=said.threads,
        skip_bad=said.skip_bad,
        bf16=lambda: said.precision == "bf16",
    )
    card = record.protocol.get("tuning")
    if record.tuning is not None and isinstance(card, dict):
        return part_of_search(trial, record.tuning.model_copy(update={"stopped_after": None}), card)
    return trial


def run_again(trial: TrialSpec, record: Record, folder: Path, watch: Callable[[EpochReport], None] | None = None) -> Record:
    """Run a planned trial in a folder of its own, on the kind of device that the record is from.

    A run that was interrupted there is taken up; one that was finished is repeated.
    """
    work = folder / "runs"
    if (work / trial.id / RECORD).exists():
        forget(trial, work)
    return read(run_trial(trial, work, folder / "results", watch, force=True, device=device_of_record(record)))


def device_of_record(record: Record) -> torch.device:
    """The CPU where a record's networks were trained on one, else a GPU if there is one."""
    machine = record.provenance.machine
    return device_of(0 if machine.get("device") == machine.get("processor") else 1)
